"""Videos made from seeds with PyAV."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from odd_pictures import UInt8, noise

av: Any = pytest.importorskip("av", reason="needs PyAV: pip install av")

#: codec, container, pixel format; the last two lose nothing
CODECS = {
    "h264.mp4": ("libx264", "mp4", "yuv420p"),
    "h264.mov": ("libx264", "mov", "yuv420p"),
    "h264.mkv": ("libx264", "matroska", "yuv444p"),
    "vp9.webm": ("libvpx-vp9", "webm", "yuv420p"),
    "vp8.webm": ("libvpx", "webm", "yuv420p"),
    "mpeg4.avi": ("mpeg4", "avi", "yuv420p"),
    "mjpeg.avi": ("mjpeg", "avi", "yuvj420p"),
    "ffv1.mkv": ("ffv1", "matroska", "bgr0"),
    "raw.avi": ("rawvideo", "avi", "bgr24"),
}
LOSSLESS = ("ffv1.mkv", "raw.avi")


def frames(count: int, height: int = 48, width: int = 64) -> list[UInt8]:
    """[rows, columns, 3] each."""
    return [noise(height, width, 3, seed) for seed in range(count)]


def clip(name: str, count: int = 20, rate: int = 10, height: int = 48, width: int = 64, **stream_options: Any) -> bytes:
    codec, container_format, pixels = CODECS[name]
    file = io.BytesIO()
    with av.open(file, "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        if "rotation" in stream_options:
            if not hasattr(stream, "set_display_rotation"):
                pytest.skip("PyAV before 17 writes no rotation")
            stream.set_display_rotation(stream_options["rotation"])
        for picture in frames(count, height, width):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def sound() -> bytes:
    """An MP4 with sound alone."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()
