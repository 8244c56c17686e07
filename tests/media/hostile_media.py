"""Files that lie, end early, or are larger than they look."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import cache

from odd_pictures import chunk, picture, png, rgb, saved


def _png_of(width: int, height: int, *chunks: bytes) -> bytes:
    return png(width, height, 1, 0, b"\0", *chunks)


def _jpeg_of(width: int, height: int) -> bytes:
    """A small JPEG whose header says another size."""
    data = bytearray(saved(rgb(), "JPEG"))
    at = data.index(b"\xff\xc0")
    struct.pack_into(">HH", data, at + 5, height, width)
    return bytes(data)


def _webp_of(width: int, height: int) -> bytes:
    """An extended WebP whose canvas is large."""
    data = bytearray(picture("animated.webp"))
    at = data.index(b"VP8X") + 8
    data[at + 4 : at + 10] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(data)


def _gif_of(frames: int) -> bytes:
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6) + frame * frames + b";"


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("evil.class", b"x" * 100)
    return file.getvalue()


def _scans(count: int) -> bytes:
    """A progressive JPEG that repeats its last scan."""
    data = saved(rgb(), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


def _avif_of(width: int, height: int) -> bytes:
    data = bytearray(picture("rgb.avif"))
    struct.pack_into(">II", data, data.index(b"ispe") + 8, width, height)
    return bytes(data)


def _text_bomb() -> bytes:
    text = b"Comment\0\0" + zlib.compress(bytes(200_000_000), 9)
    return _png_of(8, 8, chunk(b"zTXt", text))


def _two_headers() -> bytes:
    """Pillow believes the second one."""
    return _png_of(8, 8, chunk(b"IHDR", struct.pack(">IIBBBBB", 9000, 9000, 1, 0, 0, 0, 0)))


_FTYP = b"\0\0\0\x18ftyp%s\0\0\0\0mif1heic"
#: name → (the file, what the error says)
_BUILDERS: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (bytes, "is empty"),
    "text": (lambda: b"hello", "no picture or video"),
    "pdf": (lambda: b"%PDF-1.7\n%\xe2\xe3", "is a PDF document"),
    "svg": (lambda: b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "is an SVG drawing"),
    "bare svg": (lambda: b"  <svg width='9'></svg>", "is an SVG drawing"),
    "html": (lambda: b"<!DOCTYPE html><html></html>", "is an HTML or XML text"),
    "heic": (lambda: _FTYP % b"heic" + bytes(50), "is an HEIC picture"),
    "heif of mif1": (lambda: _FTYP % b"mif1" + bytes(50), "is an HEIC picture"),
    "docx": (_zip, "is a ZIP archive or an office document"),
    "doc": (lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(50), "is an office document"),
    "tiff": (lambda: saved(rgb(), "TIFF"), "is a TIFF picture"),
    "bmp": (lambda: saved(rgb(), "BMP"), "is a BMP picture"),
    "sound": (lambda: b"RIFF\0\0\0\0WAVE", "is a sound file"),
    "gif and zip": (lambda: picture("still.gif") + _zip(), "is a GIF file and a ZIP archive at once"),
    "png and zip": (lambda: picture("rgb.png") + _zip(), "is a PNG file and a ZIP archive at once"),
    "jpeg and pdf": (
        lambda: saved(rgb(), "JPEG", comment=b"%PDF-1.4 "), "is a JPEG file and a PDF document at once"
    ),
    "1 × 100,000.png": (lambda: _png_of(1, 100_000), "a side may have at most 65,535"),
    "60,000 × 60,000.png": (lambda: _png_of(60_000, 60_000), "60,000 × 60,000 pixels: at most 64,000,000"),
    "0 × 5.png": (lambda: _png_of(0, 5), "0 × 5 pixels: it shows nothing"),
    "large.jpg": (lambda: _jpeg_of(65_000, 65_000), "at most 64,000,000"),
    "1,000 scans.jpg": (lambda: _scans(1000), "more than 100 scans"),
    "large canvas.webp": (lambda: _webp_of(16_383, 16_383), "at most 64,000,000"),
    "small canvas.webp": (lambda: _webp_of(30, 20), "is a damaged WebP file"),
    "100,000 frames.gif": (lambda: _gif_of(100_000), "more than 10,000 frames"),
    "no frame.gif": (lambda: _gif_of(0), "without a frame"),
    "100,000 frames.png": (
        lambda: _png_of(8, 8, chunk(b"acTL", struct.pack(">II", 100_000, 0))), "more than 10,000 frames"
    ),
    "no frames.png": (lambda: _png_of(8, 8, chunk(b"acTL", struct.pack(">II", 0, 0))), "without a frame"),
    "no data.png": (lambda: picture("rgb.png")[:33] + chunk(b"IEND", b""), "it has no picture"),
    "a million chunks.png": (lambda: picture("rgb.png")[:33] + chunk(b"aaAa", b"") * 1_000_000, "too many chunks"),
    "text bomb.png": (_text_bomb, "is a damaged PNG file"),
    "two headers.png": (_two_headers, "its header says .8, 8., its data .9000, 9000."),
    "a million segments.jpg": (
        lambda: saved(rgb(), "JPEG")[:-2] + b"\xff\xfe" * 1_000_000, "it has too many segments"
    ),
    "no picture.jpg": (lambda: b"\xff\xd8\xff\xd9", "it has no picture"),
    "64 MB of 0xff.jpg": (lambda: b"\xff\xd8" + b"\xff" * ((64 << 20) - 2), "bytes|header ends early"),
    "large.avif": (lambda: _avif_of(60_000, 60_000), "at most 64,000,000"),
    "no meta.avif": (lambda: b"\0\0\0\x10ftypavif\0\0\0\0" + b"\0\0\0\x08free" * 9, "it has no picture"),
}  # fmt: skip
for _name in ("rgb.png", "photo.jpg", "lossy.webp", "still.gif", "rgb.avif", "progressive.jpg", "lossless.webp"):
    for _part in (0.4, 0.9):
        _BUILDERS[f"{_part:.0%} of {_name}"] = (
            lambda n=_name, p=_part: picture(n)[: int(p * len(picture(n)))],  # type: ignore[misc]
            "is a damaged|cannot be decoded",
        )

NAMES = tuple(_BUILDERS)


@cache
def hostile(name: str) -> tuple[bytes, str]:
    build, said = _BUILDERS[name]
    return build(), said
