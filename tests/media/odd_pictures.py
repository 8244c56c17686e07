"""Pictures of many formats and kinds, made from seeds, and what Pillow alone says that they show."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, features

UInt8 = npt.NDArray[np.uint8]


def noise(height: int, width: int, channels: int, seed: int) -> UInt8:
    """Coarse noise under fine noise, with edges of black and white: no filter and no rounding hides in it."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (height // 16 + 1, width // 16 + 1, channels))
    picture = coarse.repeat(16, 0).repeat(16, 1)[:height, :width] + random.integers(-60, 60, (height, width, channels))
    edges = random.random((height, width, 1)) < 0.1
    return np.where(edges, 255 * (picture > 128), np.clip(picture, 0, 255)).astype(np.uint8)


def rgb(height: int = 61, width: int = 83, seed: int = 0) -> Image.Image:
    return Image.fromarray(noise(height, width, 3, seed))


def rgba(height: int = 61, width: int = 83, seed: int = 0) -> Image.Image:
    return Image.fromarray(noise(height, width, 4, seed), "RGBA")


def grey(height: int = 61, width: int = 83, seed: int = 0) -> Image.Image:
    return Image.fromarray(noise(height, width, 1, seed)[:, :, 0])


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def turned(orientation: int) -> bytes:
    """An EXIF block with one entry."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


# --- PNG by hand: what Pillow does not write -----------------------------------------------------------------------


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int, height: int, bits: int, colour: int, lines: bytes, *chunks: bytes, interlaced: bool = False
) -> bytes:
    """lines: each scan line behind its filter byte."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    body = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def scan_lines(samples: npt.NDArray[Any]) -> bytes:
    return b"".join(b"\0" + line.tobytes() for line in samples)


def png16(channels: int, colour: int, *chunks: bytes, height: int = 61, width: int = 83) -> bytes:
    samples = np.random.default_rng(7).integers(0, 65536, (height, width, channels)).astype(">u2")
    return png(width, height, 16, colour, scan_lines(samples), *chunks)


def interlaced_png(height: int = 61, width: int = 83) -> bytes:
    picture = noise(height, width, 3, 8)
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    lines = b"".join(scan_lines(picture[y::dy, x::dx]) for y, x, dy, dx in passes)
    return png(width, height, 8, 2, lines, interlaced=True)


# --- the pictures ----------------------------------------------------------------------------------------------------


def _cmyk(**options: Any) -> bytes:
    return saved(Image.fromarray(noise(61, 83, 4, 5), "CMYK"), "JPEG", quality=95, **options)


def _palette(**options: Any) -> bytes:
    return saved(rgb().quantize(64), "PNG", **options)


def _gif_frames(count: int) -> bytes:
    frames = [rgb(40, 50, seed).quantize(32) for seed in range(count)]
    return saved(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=40)


def _transparent_gif() -> bytes:
    picture = rgb().quantize(32)
    return saved(picture, "GIF", transparency=5)


def _far_gif() -> bytes:
    """A frame beyond its screen, which viewers enlarge."""
    data = bytearray(saved(rgb(40, 50).quantize(32), "GIF"))
    struct.pack_into("<HH", data, 6, 20, 10)
    return bytes(data)


def _animated(format: str) -> bytes:
    frames = [rgb(40, 50, seed) for seed in range(3)]
    return saved(frames[0], format, save_all=True, append_images=frames[1:], duration=40, lossless=True)


_BUILDERS: dict[str, Callable[[], bytes]] = {
    "rgb.png": lambda: saved(rgb(), "PNG"),
    "rgba.png": lambda: saved(rgba(), "PNG"),
    "grey.png": lambda: saved(grey(), "PNG"),
    "grey and alpha.png": lambda: saved(Image.fromarray(noise(61, 83, 2, 3), "LA"), "PNG"),
    "bits.png": lambda: saved(grey().convert("1"), "PNG"),
    "palette.png": _palette,
    "palette of 4.png": lambda: saved(rgb().quantize(4), "PNG", bits=2),
    "palette, one transparent.png": lambda: _palette(transparency=3),
    "palette, alpha.png": lambda: _palette(transparency=bytes(range(0, 256, 4))),
    "rgb, one transparent.png": lambda: saved(rgb().point(lambda x: x & 0xC0), "PNG", transparency=(0, 0, 0)),
    "grey, one transparent.png": lambda: saved(grey().point(lambda x: x & 0xF0), "PNG", transparency=0),
    "16 bits, rgb.png": lambda: png16(3, 2),
    "16 bits, rgba.png": lambda: png16(4, 6),
    "16 bits, grey and alpha.png": lambda: png16(2, 4),
    "interlaced.png": interlaced_png,
    "animated.png": lambda: _animated("PNG"),
    "rotated.png": lambda: saved(rgb(), "PNG", exif=turned(6)),
    "1 × 1.png": lambda: saved(rgb(1, 1), "PNG"),
    "3 × 500.png": lambda: saved(rgb(500, 3), "PNG"),
    "500 × 3.png": lambda: saved(rgb(3, 500), "PNG"),
    "tall.png": lambda: saved(rgb(1100, 70), "PNG"),
    "wide.png": lambda: saved(rgb(80, 1700), "PNG"),
    "black and white.png": lambda: saved(grey(300, 211).point(lambda x: 255 * (x > 128)), "PNG"),
    "80 × 112.png": lambda: saved(rgb(112, 80), "PNG"),
    "336 × 336.png": lambda: saved(rgb(336, 336), "PNG"),
    "337 × 336.png": lambda: saved(rgb(336, 337), "PNG"),
    "700 × 1000.png": lambda: saved(rgb(1000, 700), "PNG"),
    "photo.jpg": lambda: saved(rgb(333, 517), "JPEG", quality=92),
    "4:4:4.jpg": lambda: saved(rgb(), "JPEG", quality=98, subsampling=0),
    "grey.jpg": lambda: saved(grey(), "JPEG"),
    "progressive.jpg": lambda: saved(rgb(), "JPEG", progressive=True),
    "cmyk.jpg": _cmyk,
    "restarts.jpg": lambda: saved(rgb(), "JPEG", restart_marker_blocks=3),
    "comment of 0xff.jpg": lambda: saved(rgb(), "JPEG", comment=b"\xff" * 500 + b"\xff\xda" * 3),
    "bytes behind.jpg": lambda: saved(rgb(), "JPEG") + b"\xff\xd8 a video \xff\xda" * 200,
    **{f"orientation {n}.jpg": lambda n=n: saved(rgb(), "JPEG", exif=turned(n)) for n in range(1, 9)},  # type: ignore[misc]
    "lossy.webp": lambda: saved(rgb(), "WEBP", quality=80),
    "lossless.webp": lambda: saved(rgb(), "WEBP", lossless=True),
    "alpha.webp": lambda: saved(rgba(), "WEBP", lossless=True, exact=True),
    "lossy alpha.webp": lambda: saved(rgba(), "WEBP", quality=60),
    "rotated.webp": lambda: saved(rgb(), "WEBP", lossless=True, exif=turned(8)),
    "animated.webp": lambda: _animated("WEBP"),
    "still.gif": lambda: saved(rgb().quantize(64), "GIF"),
    "animated.gif": lambda: _gif_frames(4),
    "transparent.gif": _transparent_gif,
    "beyond its screen.gif": _far_gif,
    "grey.gif": lambda: saved(grey(), "GIF"),
}  # fmt: skip
if features.check("avif"):
    _BUILDERS |= {
        "rgb.avif": lambda: saved(rgb(), "AVIF", quality=80, speed=10),
        "alpha.avif": lambda: saved(rgba(), "AVIF", quality=90, speed=10),
        "grey.avif": lambda: saved(grey(), "AVIF", speed=10),
        **{f"orientation {n}.avif": lambda n=n: saved(rgb(), "AVIF", exif=turned(n), speed=10) for n in range(1, 9)},  # type: ignore[misc]
        "animated.avif": lambda: _animated("AVIF"),
    }  # fmt: skip

NAMES = tuple(_BUILDERS)


@cache
def picture(name: str) -> bytes:
    return _BUILDERS[name]()


def shown(data: bytes) -> UInt8:
    """What Pillow shows of a file [rows, columns, 3], as transformers 5.24 makes RGB of it."""
    with Image.open(io.BytesIO(data)) as image:
        upright = ImageOps.exif_transpose(image)
    if "A" in upright.getbands() or upright.info.get("transparency") is not None:
        upright = upright.convert("RGBA")
        white = Image.new("RGBA", upright.size, (255, 255, 255, 255))
        upright = Image.alpha_composite(white, upright)
    return np.asarray(upright.convert("RGB"))
