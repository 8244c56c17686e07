"""Read format, size, orientation and number of frames of a picture from its header. Decodes nothing, needs no package.

The size is the one that a viewer shows, after rotation. A hostile header costs at most a walk over its blocks, whose
number is bounded.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from shoestring.errors import RequestError
from shoestring.media import avif
from shoestring.media.kinds import PICTURE_FORMATS, PictureFormat, format_of
from shoestring.media.limits import LIMITS, Limits, check_bytes, check_size

#: Blocks of a picture that are walked over: a GIF of 64 MB has 260,000.
_MOST_BLOCKS = 1 << 19
#: Passes over a progressive JPEG; encoders write about ten. Each takes the time of a whole picture.
_MOST_SCANS = 100
#: Segments between the scans; a scan has a few tables before it.
_MOST_SEGMENTS = 1 << 14
#: A marker inside the data of scans, where 0xFF is otherwise followed by 0 or a restart's code.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_EXIF = b"Exif\0\0"
#: The code of a JPEG marker, after as many 0xFF as a writer likes.
_NOT_FILL = re.compile(rb"[^\xff]")


@dataclass(frozen=True)
class PictureInfo:
    """What a picture's header says. width, height: as shown, after rotation. orientation: EXIF's number, 1 to 8."""

    format: PictureFormat
    width: int
    height: int
    frames: int = 1
    orientation: int = 1

    @property
    def stored_size(self) -> tuple[int, int]:
        """Width and height before rotation."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


@dataclass
class _Header:
    """width, height: as stored."""

    width: int = 0
    height: int = 0
    frames: int = 1
    orientation: int = 1


def probe_picture(data: bytes, name: str = "the picture", limits: Limits = LIMITS) -> PictureInfo:
    """What the header says. Raises RequestError for another kind of file, a broken header, or a picture too large."""
    check_bytes(name, len(data), limits.picture_bytes)
    found = format_of(data, name)
    if found not in PICTURE_FORMATS:
        raise RequestError(f"{name} is a video ({found}): give a picture here, and videos as videos")
    try:
        header = _READERS[found](data, limits)
    except _DamagedError as problem:
        raise RequestError(f"{name} is a damaged {found} file ({problem}): save it again") from None
    except (IndexError, struct.error):
        raise RequestError(f"{name} is a damaged {found} file (its header ends early): save it again") from None
    if header.frames < 1:
        raise RequestError(f"{name} is a {found} file without a frame: it shows nothing")
    if header.frames > limits.picture_frames:
        raise RequestError(
            f"{name} has more than {limits.picture_frames:,} frames: give one picture, or a video as a video"
        )
    check_size(name, header.width, header.height, limits, limits.pixels)
    width, height = (header.height, header.width) if header.orientation >= 5 else (header.width, header.height)
    return PictureInfo(found, width, height, header.frames, header.orientation)


class _DamagedError(Exception):
    pass


def _jpeg(data: bytes, limits: Limits) -> _Header:
    header, at = _Header(), 2
    for _ in range(_MOST_BLOCKS):
        if data[at] != 0xFF:  # rubbish between segments, which decoders skip too
            at = data.find(b"\xff", at)
        code = _NOT_FILL.search(data, at) if at >= 0 else None
        if code is None:
            raise _DamagedError("its header ends early")
        at = code.start()
        marker = data[at]
        at += 1
        if marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:
            continue
        if marker in (0xD9, 0xDA):  # the end, or the first scan
            break
        (length,) = struct.unpack_from(">H", data, at)
        segment = data[at + 2 : at + length]
        if marker == 0xE1 and segment.startswith(_EXIF) and header.orientation == 1:
            header.orientation = _exif_orientation(segment[len(_EXIF) :])
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            header.height, header.width = struct.unpack_from(">HH", data, at + 3)
        at += length
    if not header.width:
        raise _DamagedError("it has no picture")
    if _scans(data, at) > _MOST_SCANS:
        raise _DamagedError(f"it has more than {_MOST_SCANS} scans")
    return header


def _scans(data: bytes, at: int) -> int:
    """The scans of a JPEG from its first on, to its end; many phones append a video, which is not looked at."""
    scans = 1
    for _ in range(_MOST_SEGMENTS):
        found = _MARKER.search(data, at)
        if found is None or found[0] == b"\xff\xd9":
            return scans
        scans += found[0] == b"\xff\xda"
        at = found.end()
    raise _DamagedError("it has too many segments")


def _png(data: bytes, limits: Limits) -> _Header:
    if data[12:16] != b"IHDR":
        raise _DamagedError("it does not begin with IHDR")
    header = _Header(*struct.unpack_from(">II", data, 16))
    at, has_data = 8, False
    for _ in range(_MOST_BLOCKS):
        if at + 8 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"acTL" and not has_data:
            (header.frames,) = struct.unpack_from(">I", data, at + 8)
        elif kind == b"eXIf":
            header.orientation = _exif_orientation(data[at + 8 : at + 8 + length])
        elif kind == b"IDAT":
            has_data = True
        elif kind == b"IEND":
            break
        at += 12 + length
    else:
        raise _DamagedError("it has too many chunks")
    if not has_data:
        raise _DamagedError("it has no picture")
    return header


def _gif(data: bytes, limits: Limits) -> _Header:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    header = _Header(width, height, frames=0)
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    blocks = 0
    while at < len(data) and data[at] != 0x3B and header.frames <= limits.picture_frames:
        if data[at] == 0x21:
            at += 2
        elif data[at] == 0x2C:
            left, top, columns, rows, flags = struct.unpack_from("<HHHHB", data, at + 1)
            if header.frames == 0:  # a first frame beyond the screen enlarges it
                header.width, header.height = max(header.width, left + columns), max(header.height, top + rows)
            header.frames += 1
            at += 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
        else:
            break  # rubbish at the end; before a frame, the frames are none
        while at < len(data) and data[at]:
            at += data[at] + 1
            blocks += 1
            if blocks > _MOST_BLOCKS:
                raise _DamagedError("it has too many blocks")
        at += 1
    return header


def _webp(data: bytes, limits: Limits) -> _Header:
    header, frames, animated, extended = _Header(), 0, False, False
    for kind, at, length in _riff_chunks(data):
        if kind == b"VP8X":
            extended, animated = True, bool(data[at] & 2)
            header.width = 1 + int.from_bytes(data[at + 4 : at + 7], "little")
            header.height = 1 + int.from_bytes(data[at + 7 : at + 10], "little")
        elif kind == b"VP8 " and not extended:
            if data[at + 3 : at + 6] != b"\x9d\x01\x2a":
                raise _DamagedError("its picture does not begin")
            width, height = struct.unpack_from("<HH", data, at + 6)
            header.width, header.height = width & 0x3FFF, height & 0x3FFF
        elif kind == b"VP8L" and not extended:
            (bits,) = struct.unpack_from("<I", data, at + 1)
            header.width, header.height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        elif kind == b"ANMF":
            frames += 1
            if frames > limits.picture_frames:
                break
        elif kind == b"EXIF":
            header.orientation = _exif_orientation(data[at : at + length].removeprefix(_EXIF))
    if animated:
        header.frames = frames
    if not header.width:
        raise _DamagedError("it has no picture")
    return header


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, first byte and length of each chunk."""
    at, end = 12, min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    for _ in range(_MOST_BLOCKS):
        if at + 8 > end:
            return
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        yield data[at : at + 4], at + 8, length
        at += 8 + length + length % 2
    raise _DamagedError("it has too many chunks")


def _avif(data: bytes, limits: Limits) -> _Header:
    found = avif.read(data)
    if found is None:
        raise _DamagedError("it has no picture")
    return _Header(found.width, found.height, found.frames, found.orientation)


_READERS = {"JPEG": _jpeg, "PNG": _png, "GIF": _gif, "WebP": _webp, "AVIF": _avif}


def _exif_orientation(tiff: bytes) -> int:
    """The orientation of an EXIF block, 1 to 8; 1 where it has none or is broken: then viewers show it unrotated."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, at)
        for entry in range(entries):
            tag, kind, count, value = struct.unpack_from(f"{order}HHIH", tiff, at + 2 + 12 * entry)
            if tag == 0x0112:
                return value if kind == 3 and count == 1 and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
