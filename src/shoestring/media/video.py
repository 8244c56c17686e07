"""Probe and decode a video in a child process: H.264, HEVC, VP8, VP9, AV1 and others in MP4, MOV, WebM, MKV and AVI.

Frames become RGB by swscale in its bit-exact mode. They come one after the other, so memory holds one.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shoestring.errors import RequestError
from shoestring.media.children import run_child
from shoestring.media.kinds import PICTURE_FORMATS, VideoFormat, format_of
from shoestring.media.limits import LIMITS, Limits, check_bytes, check_size
from shoestring.media.resize import UInt8
from shoestring.packages import install_command

#: Where a file does not say how many frames a second has, as in the reference.
UNKNOWN_FPS = 24.0
#: Bytes that a decoder may take a pixel (reference frames of 16 bits, and the converted one), and beside them.
_PIXEL_BYTES, _BYTES = 64, 512 << 20


@dataclass(frozen=True)
class VideoInfo:
    """What a video's packets say. width, height: as shown, after rotation. rotation: degrees anticlockwise."""

    format: VideoFormat
    width: int
    height: int
    frames: int
    fps: float
    rotation: int = 0

    @property
    def seconds(self) -> float:
        return self.frames / self.fps


def probe_video(data: bytes, name: str = "the video", limits: Limits = LIMITS) -> VideoInfo:
    """Size, frames and rate. Raises RequestError for another kind of file, a damaged one, or one beyond a limit."""
    check_bytes(name, len(data), limits.video_bytes)
    found = format_of(data, name)
    if found in PICTURE_FORMATS:
        raise RequestError(f"{name} is a picture ({found}): give a video here, and pictures as pictures")
    need_pyav()
    request = _request("probe", found, limits, limits.frame_pixels) | {"frames": limits.video_frames}
    with run_child(data, request, name) as child:
        answer = child.answer()
    width, height = answer["size"]
    check_size(name, width, height, limits, limits.frame_pixels)
    if answer["frames"] < 1:
        raise RequestError(f"{name} is a {found} file without a frame: it shows nothing")
    fps = answer["fps"] or UNKNOWN_FPS
    rotation = round(answer["rotation"] / 90) * 90 % 360
    if rotation % 180:
        width, height = height, width
    info = VideoInfo(found, width, height, answer["frames"], fps, rotation)  # type: ignore[arg-type]
    if info.seconds > limits.video_seconds:
        raise RequestError(
            f"{name} lasts {info.seconds:,.0f} seconds: at most {limits.video_seconds:,.0f} are read: cut it"
        )
    return info


def decode_video(
    data: bytes, info: VideoInfo, indices: Sequence[int], name: str = "the video", limits: Limits = LIMITS
) -> Iterator[UInt8]:
    """The frames of these ascending indices, upright, one after the other: [3, rows, columns], red, green, blue.

    Raises RequestError for damaged data, and where PyAV is missing.
    """
    need_pyav()
    stored = [info.height, info.width] if info.rotation % 180 else [info.width, info.height]
    request = _request("frames", info.format, limits, info.width * info.height)
    request |= {"indices": list(map(int, indices)), "size": stored}
    with run_child(data, request, name) as child:
        child.answer()
        for _ in indices:
            child.answer()
            pixels = np.frombuffer(child.read(3 * stored[0] * stored[1]), np.uint8)
            upright = np.rot90(pixels.reshape(stored[1], stored[0], 3), info.rotation // 90)
            yield np.ascontiguousarray(upright.transpose(2, 0, 1))


def need_pyav() -> None:
    """Raise RequestError with the pip command if PyAV is missing."""
    if importlib.util.find_spec("av") is None:
        raise RequestError(f"videos need PyAV: run `{install_command(['av'])}`")


def _request(do: str, found: str, limits: Limits, pixels: int) -> dict[str, Any]:
    return {
        "do": do,
        "format": found,
        "memory": _BYTES + _PIXEL_BYTES * pixels,
        "cpu_seconds": limits.video_cpu_seconds,
        "pixels": limits.frame_pixels,
    }
