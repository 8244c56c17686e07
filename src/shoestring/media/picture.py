"""Decode a picture to upright RGB of 8 bits with Pillow, the reference's decoder. AVIF goes through a child process.

Alpha and transparent colours are blended on white. 16-bit samples become their high byte, as Pillow does for RGB (it
would clip grey ones). Colour profiles are not applied, as the reference does not.
"""

from __future__ import annotations

import importlib
import io
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from shoestring.errors import RequestError
from shoestring.media.children import run_child
from shoestring.media.headers import PictureInfo, probe_picture
from shoestring.media.limits import LIMITS, Limits
from shoestring.media.resize import UInt8
from shoestring.packages import install_command
from shoestring.printable import shortened

if TYPE_CHECKING:
    from PIL import Image

#: Bytes that decoding AVIF may take a pixel, and beside them.
_AVIF_PIXEL_BYTES, _AVIF_BYTES = 24, 256 << 20


def decode_picture(data: bytes, name: str = "the picture", limits: Limits = LIMITS) -> UInt8:
    """The picture as shown, its first frame where it is animated: [3, rows, columns], red, green, blue.

    Raises RequestError for what `probe_picture` refuses, for damaged data, and where Pillow is missing.
    """
    info = probe_picture(data, name, limits)
    need_pillow()
    try:
        image = _from_child(data, info, name, limits) if info.format == "AVIF" else _opened(data, info)
        return _upright_rgb(image, info.orientation)
    except RequestError:
        raise
    except Exception as problem:  # decoders raise anything for damaged data: OSError, SyntaxError, TypeError, …
        why = shortened(" ".join(str(problem).split()), 120) or type(problem).__name__
        raise RequestError(f"{name} is a damaged {info.format} file ({why}): save it again") from None


def need_pillow() -> None:
    """Raise RequestError with the pip command if Pillow is missing."""
    try:
        importlib.import_module("PIL.Image")
    except ImportError:
        raise RequestError(f"pictures need Pillow: run `{install_command(['pillow'])}`") from None


def _opened(data: bytes, info: PictureInfo) -> Image.Image:
    from PIL import Image

    plugin = {"JPEG": "Jpeg", "PNG": "Png", "GIF": "Gif", "WebP": "WebP"}[info.format]
    importlib.import_module(f"PIL.{plugin}ImagePlugin")
    image = Image.open(io.BytesIO(data), formats=(info.format.upper(),))
    if image.size != info.stored_size:
        raise ValueError(f"its header says {info.stored_size}, its data {image.size}")
    image.load()
    return image


def _from_child(data: bytes, info: PictureInfo, name: str, limits: Limits) -> Image.Image:
    from PIL import Image

    width, height = info.stored_size
    memory = _AVIF_BYTES + _AVIF_PIXEL_BYTES * width * height
    request = {"do": "avif", "memory": memory, "cpu_seconds": limits.picture_cpu_seconds}
    with run_child(data, request, name) as child:
        answer = child.answer()
        if answer["size"] != [width, height] or answer["mode"] not in ("RGB", "RGBA"):
            raise ValueError(f"its header says {width} × {height}, its data {answer['size']}")
        pixels = child.read(width * height * len(answer["mode"]))
    return Image.frombytes(answer["mode"], (width, height), pixels)


def _upright_rgb(image: Image.Image, orientation: int) -> UInt8:
    from PIL import Image

    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    transparency = image.info.get("transparency")
    turned = image.transpose(turns[orientation]) if orientation in turns else image
    if image.mode.startswith("I"):
        return _from_16_bits(np.asarray(turned), transparency)
    if "A" in image.getbands() or transparency is not None:
        turned = turned.convert("RGBA")
        turned = Image.alpha_composite(Image.new("RGBA", turned.size, (255, 255, 255, 255)), turned)
    return np.stack([np.asarray(band) for band in turned.convert("RGB").split()])


def _from_16_bits(grey: npt.NDArray[np.uint16], transparency: object) -> UInt8:
    """Grey of 16 bits. transparency: the value that is transparent, if any."""
    values = (grey >> 8).astype(np.uint8)
    if isinstance(transparency, int):
        values[grey == transparency] = 255
    return np.stack([values] * 3)
