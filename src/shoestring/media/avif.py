"""Read size, rotation and number of frames of an AVIF file from its boxes (ISO/IEC 14496-12 and 23008-12)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

#: Boxes of one level, and properties of one picture, that are looked at.
_MOST_BOXES = 4096

#: (rotation by 90° anticlockwise, mirror axis or None) → EXIF's number of the same orientation
_ORIENTATIONS = {
    (0, None): 1, (0, 0): 4, (0, 1): 2,
    (1, None): 8, (1, 0): 5, (1, 1): 7,
    (2, None): 3, (2, 0): 2, (2, 1): 4,
    (3, None): 6, (3, 0): 7, (3, 1): 5,
}  # fmt: skip


class Found(NamedTuple):
    """width, height: as stored, before rotation."""

    width: int
    height: int
    orientation: int
    frames: int


def read(data: bytes) -> Found | None:
    """The primary picture; None if the file describes none. Raises struct.error or IndexError if it ends early."""
    boxes = {kind: (begin, end) for kind, begin, end in _boxes(data, 0, len(data))}
    if b"meta" not in boxes:
        return None
    begin, end = boxes[b"meta"]
    meta = {kind: span for kind, *span in _boxes(data, begin + 4, end)}
    if b"pitm" not in meta or b"iprp" not in meta:
        return None
    at = meta[b"pitm"][0]
    (primary,) = struct.unpack_from(">I" if data[at] else ">H", data, at + 4)
    inner = list(_boxes(data, *meta[b"iprp"]))
    properties = [box for kind, b, e in inner if kind == b"ipco" for box in _boxes(data, b, e)]
    width = height = turns = 0
    mirror: int | None = None
    for index in (i for kind, b, _ in inner if kind == b"ipma" for i in _associated(data, b, primary)):
        if not 1 <= index <= len(properties):
            continue
        kind, at, _ = properties[index - 1]
        if kind == b"ispe":
            width, height = struct.unpack_from(">II", data, at + 4)
        elif kind == b"irot":
            turns = data[at] & 3
        elif kind == b"imir":
            mirror = data[at] & 1
    if not width:
        return None
    frames = _samples(data, *boxes[b"moov"]) if b"moov" in boxes else 1
    return Found(width, height, _ORIENTATIONS[turns, mirror], frames)


def _boxes(data: bytes, begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, begin and end of the contents of each box in a span."""
    for _ in range(_MOST_BOXES):
        if begin + 8 > end:
            return
        size, kind = struct.unpack_from(">I4s", data, begin)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, begin + 8)
            head = 16
        stop = end if size == 0 else begin + size
        if stop > end or stop < begin + head:
            return
        yield kind, begin + head, stop
        begin = stop


def _associated(data: bytes, at: int, item: int) -> list[int]:
    """The numbers of an item's properties, in the order in which they apply."""
    version, flags = data[at], data[at + 3]
    (entries,) = struct.unpack_from(">I", data, at + 4)
    at += 8
    for _ in range(min(entries, _MOST_BOXES)):
        (this,) = struct.unpack_from(">I" if version else ">H", data, at)
        at += 4 if version else 2
        count = data[at]
        at += 1
        width = 2 if flags & 1 else 1
        if this == item:
            mask = 0x7FFF if flags & 1 else 0x7F
            return [int.from_bytes(data[at + width * i : at + width * (i + 1)], "big") & mask for i in range(count)]
        at += width * count
    return []


def _samples(data: bytes, begin: int, end: int) -> int:
    """The most samples of a track: the frames of a sequence. At least 1, for the still picture beside it."""
    most = 1
    for kind, b, e in _boxes(data, begin, end):
        if kind in (b"trak", b"mdia", b"minf", b"stbl"):
            most = max(most, _samples(data, b, e))
        elif kind == b"stsz":
            most = max(most, struct.unpack_from(">I", data, b + 8)[0])
    return most
