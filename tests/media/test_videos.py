"""Videos in the child process: what PyAV alone decodes, counted, bounded, and refused."""

from __future__ import annotations

import io
import resource
import sys
import threading
from typing import Any

import clips
import numpy as np
import pytest
from clips import av, clip
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_pictures import picture

from shoestring.errors import RequestError
from shoestring.media.limits import Limits
from shoestring.media.video import VideoInfo, decode_video, probe_video


@pytest.mark.parametrize("name", clips.CODECS)
def test_a_video_is_counted_and_decoded(name: str) -> None:
    data = clip(name)
    info = probe_video(data, name)
    assert (info.width, info.height, info.frames, info.fps, info.seconds) == (64, 48, 20, 10.0, 2.0)
    decoded = list(decode_video(data, info, [0, 3, 19], name))
    with av.open(io.BytesIO(data)) as container:
        plain = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    for pixels, index in zip(decoded, (0, 3, 19), strict=True):
        assert pixels.shape == (3, 48, 64)
        assert pixels.flags.c_contiguous
        distance = np.abs(pixels.transpose(1, 2, 0).astype(int) - plain[index]).mean()
        # swscale's fast paths round otherwise, and repeat colours instead of filtering them
        assert distance < (0.01 if name in clips.LOSSLESS else 9)


@pytest.mark.parametrize("name", clips.LOSSLESS)
def test_lossless_frames_are_the_samples(name: str) -> None:
    data = clip(name, 6)
    decoded = list(decode_video(data, probe_video(data), range(6)))
    for pixels, samples in zip(decoded, clips.frames(6), strict=True):
        assert (pixels == samples.transpose(2, 0, 1)).all()


def test_colours_are_converted_in_the_bit_exact_mode() -> None:
    """swscale's exact arithmetic of BT.601 with full chroma; without the flags some pixels differ."""
    data = clip("h264.mp4", 3)
    info = probe_video(data)
    flags = 0x4 | 0x2000 | 0x40000 | 0x80000  # bicubic, full chroma, accurate rounding, bit-exact
    with av.open(io.BytesIO(data)) as container:
        decoded_frames = list(container.decode(video=0))
    expected = [frame.reformat(format="rgb24", interpolation=flags).to_ndarray() for frame in decoded_frames]
    assert (expected[0] != decoded_frames[0].to_ndarray(format="rgb24")).any()
    decoded = list(decode_video(data, info, range(3)))
    assert (np.stack(decoded).transpose(0, 2, 3, 1) == np.stack(expected)).all()


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_phone_s_rotation_is_applied(rotation: int) -> None:
    data = clip("h264.mp4", 4, rotation=rotation)
    upright = clip("h264.mp4", 4)
    info = probe_video(data)
    assert (info.width, info.height) == ((48, 64) if rotation % 180 else (64, 48))
    plain = next(decode_video(upright, probe_video(upright), [2]))
    turned = next(decode_video(data, info, [2]))
    assert (turned == np.rot90(plain, info.rotation // 90, axes=(1, 2))).all()


def test_frames_are_counted_where_the_header_says_none() -> None:
    data = clip("vp9.webm", 7)
    with av.open(io.BytesIO(data)) as container:
        assert container.streams.video[0].frames == 0
    assert probe_video(data).frames == 7


def test_frames_come_one_by_one() -> None:
    """The first frame is there before the last is decoded, and leaving early ends the child."""
    data = clip("ffv1.mkv", 20)
    children = threading.active_count()
    video = decode_video(data, probe_video(data), range(20))
    assert (next(video) == clips.frames(1)[0].transpose(2, 0, 1)).all()
    video.close()  # type: ignore[attr-defined]
    assert threading.active_count() == children


def test_memory_is_one_frame_s() -> None:
    """100 frames of 1.2 MB; the process's peak grows by few of them. In KiB on Linux."""
    data = clip("mjpeg.avi", 100, height=480, width=832)
    info = probe_video(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seen = sum(int(frame[0, 0, 0]) >= 0 for frame in decode_video(data, info, range(100)))
    assert seen == 100
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40 << 10


def _without_frames() -> bytes:
    data = clip("raw.avi", 3)
    return data[: data.index(b"movi") + 4]


REFUSED: dict[str, tuple[Any, Limits, str]] = {
    "picture": (lambda: picture("rgb.png"), Limits(), "is a picture"),
    "sound": (clips.sound, Limits(), "no video in it"),
    "ends early.mp4": (lambda: clip("h264.mp4")[:3000], Limits(), "cannot be decoded"),
    "rubbish.mp4": (lambda: b"\0\0\0\x18ftypisom" + bytes(range(256)) * 20, Limits(), "cannot be decoded"),
    "rubbish.mkv": (lambda: b"\x1aE\xdf\xa3" + bytes(range(256)) * 20, Limits(), "cannot be decoded"),
    "no frames.avi": (lambda: _without_frames(), Limits(), "without a frame"),
    "many frames": (lambda: clip("mpeg4.avi", 30), Limits(video_frames=29), "more than 29 frames"),
    "hours": (lambda: clip("mpeg4.avi", 30, rate=1), Limits(video_seconds=29), "lasts 30 seconds: at most 29"),
    "large frames": (lambda: clip("mpeg4.avi", 3), Limits(frame_pixels=3000), "too large"),
    "large file": (lambda: clip("raw.avi"), Limits(video_bytes=5000), "at most 4.88 KiB are read"),
    "slow": (lambda: clip("h264.mp4"), Limits(video_cpu_seconds=1e-6), "within its limits of memory and time"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_in_one_line(name: str) -> None:
    build, limits, said = REFUSED[name]
    with pytest.raises(RequestError, match=said) as caught:
        probe_video(build(), "file x", limits)
    assert str(caught.value).startswith("file x ")
    assert "\n" not in str(caught.value)


def test_a_codec_that_nobody_records_is_refused() -> None:
    data = clip("raw.avi", 3)
    at = data.index(b"strf") + 24
    with pytest.raises(RequestError, match="its codec is cinepak, which is not read"):
        probe_video(data[:at] + b"cvid" + data[at + 4 :])


def test_a_video_that_ends_early_is_an_error_not_fewer_frames() -> None:
    data = clip("ffv1.mkv", 20)
    info = probe_video(data)
    with pytest.raises(RequestError, match="cannot be decoded"):
        list(decode_video(data[: len(data) // 2], info, [0, 19]))
    with pytest.raises(RequestError, match="ends after 20 of 31 frames"):
        list(decode_video(data, info, [0, 30]))


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_damage_is_an_error_or_frames_of_the_size_that_was_said(data: st.DataObject) -> None:
    damaged = bytearray(clip(data.draw(st.sampled_from(["h264.mp4", "vp9.webm", "mpeg4.avi"])), 5))
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, min(len(damaged) - 1, data.draw(st.sampled_from([600, 1 << 20])))))
        damaged[at] = data.draw(st.integers(0, 255))
    limits = Limits(frame_pixels=1 << 20, video_cpu_seconds=10)
    try:
        info = probe_video(bytes(damaged), limits=limits)
        for frame in decode_video(bytes(damaged), info, range(min(info.frames, 3)), limits=limits):
            assert frame.shape == (3, info.height, info.width)
    except RequestError as error:
        one_line(error)


def one_line(error: RequestError) -> None:
    assert "\n" not in str(error)


def test_a_child_beyond_its_memory_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    data = clip("mjpeg.avi", 3, height=1600, width=2400)
    info = probe_video(data)
    monkeypatch.setattr("shoestring.media.video._BYTES", 4 << 20)
    monkeypatch.setattr("shoestring.media.video._PIXEL_BYTES", 0)
    with pytest.raises(RequestError, match=r"it needs too much memory|within its limits"):
        list(decode_video(data, info, [0, 1, 2]))


def test_without_pyav_one_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    data = clip("raw.avi", 3)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for work in (lambda: probe_video(data), lambda: list(decode_video(data, VideoInfo("AVI", 8, 8, 1, 1.0), [0]))):
        with pytest.raises(RequestError, match=r"videos need PyAV: run `.* -m pip install .*av") as caught:
            work()
        assert "\n" not in str(caught.value)
    assert sys.modules["av"]
