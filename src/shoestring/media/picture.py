"""Decode a picture to upright RGB of 8 bits with Pillow, the reference's decoder.

AVIF, and pictures that would take much memory, are decoded in a child process; their rows come in blocks and are made
smaller as they come. Alpha and transparent colours are blended on white. 16-bit samples become their high byte, as
Pillow does for RGB (it would clip grey ones). Colour profiles are not applied, as the reference does not.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterator, Sequence

import numpy as np

from shoestring.errors import RequestError
from shoestring.media.child import BLOCK_PIXELS, PLUGINS, upright
from shoestring.media.children import run_child
from shoestring.media.headers import PictureInfo, probe_picture
from shoestring.media.limits import LIMITS, Limits
from shoestring.media.resize import Filter, Resizer, UInt8
from shoestring.packages import install_command
from shoestring.printable import shortened

#: Most pixels of a picture that is decoded in this process, which takes at most 25 bytes for each.
OWN_PIXELS = 1 << 21
#: Bytes that the child may take a pixel, and beside them.
_CHILD_PIXEL_BYTES, _CHILD_BYTES = 32, 256 << 20


def decode_picture(data: bytes, name: str = "the picture", limits: Limits = LIMITS) -> UInt8:
    """The picture as shown, its first frame where it is animated: [3, rows, columns], red, green, blue.

    Raises RequestError for what `probe_picture` refuses, for damaged data, and where Pillow is missing.
    """
    info = probe_picture(data, name, limits)
    whole = np.empty((3, info.height, info.width), np.uint8)
    top = 0
    for block in _blocks(data, info, name, limits):
        whole[:, top : top + block.shape[1]] = block
        top += block.shape[1]
    return whole


def resized_picture(
    data: bytes,
    sizes: Sequence[tuple[int, int]],
    kind: Filter,
    name: str = "the picture",
    limits: Limits = LIMITS,
) -> list[UInt8]:
    """The picture as shown in other sizes, each [3, height, width]: what `resized` makes of it, in less memory.

    sizes: height and width of each. Raises RequestError as `decode_picture` does.
    """
    info = probe_picture(data, name, limits)
    resizers = [Resizer((info.height, info.width), size, kind) for size in sizes]
    for block in _blocks(data, info, name, limits):
        for resizer in resizers:
            resizer.add(block)
    return [np.ascontiguousarray(resizer.result()) for resizer in resizers]


def need_pillow() -> None:
    """Raise RequestError with the pip command if Pillow is missing."""
    try:
        importlib.import_module("PIL.Image")
    except ImportError:
        raise RequestError(f"pictures need Pillow: run `{install_command(['pillow'])}`") from None


def _blocks(data: bytes, info: PictureInfo, name: str, limits: Limits) -> Iterator[UInt8]:
    """The picture's rows in blocks, [3, rows, columns]."""
    need_pillow()
    own = info.format != "AVIF" and info.width * info.height <= OWN_PIXELS
    try:
        yield from _own_blocks(data, info) if own else _blocks_of_child(data, info, name, limits)
    except RequestError:
        raise
    except Exception as problem:  # decoders raise anything for damaged data: OSError, SyntaxError, TypeError, …
        why = shortened(" ".join(str(problem).split()), 120) or type(problem).__name__
        raise RequestError(f"{name} is a damaged {info.format} file ({why}): save it again") from None


def _own_blocks(data: bytes, info: PictureInfo) -> Iterator[UInt8]:
    from PIL import Image

    importlib.import_module(f"PIL.{PLUGINS[info.format]}ImagePlugin")
    image = Image.open(io.BytesIO(data), formats=(info.format.upper(),))
    _check_size(info, image.size)
    image.load()
    for block in upright(image, info.orientation):
        yield np.asarray(block).transpose(2, 0, 1)


def _blocks_of_child(data: bytes, info: PictureInfo, name: str, limits: Limits) -> Iterator[UInt8]:
    request = {
        "do": "picture",
        "format": info.format,
        "orientation": info.orientation,
        "memory": _CHILD_BYTES + _CHILD_PIXEL_BYTES * info.width * info.height,
        "cpu_seconds": limits.picture_cpu_seconds,
    }
    step = max(1, BLOCK_PIXELS // info.width)
    with run_child(data, request, name) as child:
        _check_size(info, tuple(child.answer()["size"]))
        child.answer()
        for top in range(0, info.height, step):
            rows = min(step, info.height - top)
            pixels = np.frombuffer(child.read(3 * rows * info.width), np.uint8)
            yield pixels.reshape(rows, info.width, 3).transpose(2, 0, 1)


def _check_size(info: PictureInfo, size: tuple[int, ...]) -> None:
    if size != info.stored_size:
        raise ValueError(f"its header says {info.stored_size}, its data {size}")
