"""How large a picture or a video may be. All of it is checked before a pixel is decoded."""

from __future__ import annotations

from dataclasses import dataclass

from shoestring.errors import RequestError
from shoestring.sizes import human


@dataclass(frozen=True)
class Limits:
    """Of one picture or video.

    A large picture is decoded in a child process (picture.py), at 32 bytes a pixel at most.
    """

    picture_bytes: int = 64 << 20
    video_bytes: int = 512 << 20
    pixels: int = 64_000_000
    #: of one frame of a video: 4096 × 4096
    frame_pixels: int = 1 << 24
    #: pixels of the longer side; JPEG has no more
    side: int = 65_535
    #: of an animated picture, whose first frame is read
    picture_frames: int = 10_000
    video_frames: int = 200_000
    video_seconds: float = 3600.0
    #: seconds of the processor that decoding may take, in the child process
    picture_cpu_seconds: float = 20.0
    video_cpu_seconds: float = 600.0


LIMITS = Limits()


def check_size(name: str, width: int, height: int, limits: Limits, pixels: int) -> None:
    """Raise RequestError if a picture or frame is empty, has a side beyond the limit or more than `pixels` pixels."""
    if width < 1 or height < 1:
        raise RequestError(f"{name} is {width} × {height} pixels: it shows nothing")
    if max(width, height) > limits.side:
        raise RequestError(
            f"{name} is {width:,} × {height:,} pixels: a side may have at most {limits.side:,}: cut or shrink it"
        )
    if width * height > pixels:
        raise RequestError(f"{name} is {width:,} × {height:,} pixels: at most {pixels:,} are read: make it smaller")


def check_bytes(name: str, size: int, most: int) -> None:
    if size > most:
        raise RequestError(f"{name} has {human(size, 'up')}: at most {human(most, 'down')} are read: make it smaller")
    if size == 0:
        raise RequestError(f"{name} is empty: give a picture or a video")
