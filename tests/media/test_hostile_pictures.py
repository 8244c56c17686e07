"""Hostile files: one clear error each, before memory or time are spent."""

from __future__ import annotations

import resource
import time
import tracemalloc

import hostile_media
import pytest
from hostile_media import hostile
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_pictures import picture, saved
from PIL import Image

from shoestring.errors import RequestError
from shoestring.media.headers import probe_picture
from shoestring.media.limits import Limits
from shoestring.media.picture import decode_picture


@pytest.mark.parametrize("name", hostile_media.NAMES)
def test_it_is_refused_by_name_in_one_line_with_little_memory_and_time(name: str) -> None:
    data, said = hostile(name)
    decode_picture(picture("rgb.png"))  # imports
    tracemalloc.start()
    peak_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.process_time()
    try:
        with pytest.raises(RequestError, match=said) as caught:
            decode_picture(data, "file x")
        seconds = time.process_time() - begin
        traced = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith("file x ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
    # A decoder's own memory is not traced; the process's peak shows it (in KiB on Linux).
    assert traced < 8 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak_before < 64 << 10
    assert seconds < 5


def one_line(error: RequestError) -> None:
    assert "\n" not in str(error)


SAMPLES = ("rgb.png", "photo.jpg", "lossy.webp", "animated.webp", "animated.gif", "orientation 6.jpg", "animated.png")


@pytest.mark.filterwarnings("ignore")  # Pillow's, of damaged metadata
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damage_is_an_error_or_a_picture_of_the_size_that_the_header_says(data: st.DataObject) -> None:
    damaged = bytearray(picture(data.draw(st.sampled_from(SAMPLES))))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, min(len(damaged) - 1, data.draw(st.sampled_from([40, 600, 1 << 20])))))
        kind = data.draw(st.sampled_from(["change", "remove", "repeat"]))
        if kind == "change":
            damaged[at] = data.draw(st.integers(0, 255))
        elif kind == "remove":
            del damaged[at : at + data.draw(st.integers(1, 20))]
        else:
            damaged[at:at] = damaged[at : at + 30]
        if len(damaged) < 2:
            return
    limits = Limits(pixels=1_000_000)
    try:
        info = probe_picture(bytes(damaged), limits=limits)
        pixels = decode_picture(bytes(damaged), limits=limits)
    except RequestError as error:
        one_line(error)
    else:
        assert pixels.shape == (3, info.height, info.width)


@settings(max_examples=300, deadline=None)
@given(
    head=st.sampled_from(
        [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\x99\0\0\0WEBP", b"\0\0\0\x14ftypavif"]
    ),
    data=st.binary(max_size=400),
)
def test_rubbish_is_refused(head: bytes, data: bytes) -> None:
    try:
        info = probe_picture(head + data, limits=Limits(pixels=10_000))
    except RequestError as error:
        one_line(error)
    else:
        assert info.width * info.height <= 10_000


@pytest.mark.parametrize("name", ["orientation 6.avif", "animated.avif"])
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_damaged_boxes_are_an_error_or_a_size(name: str, data: st.DataObject) -> None:
    damaged = bytearray(picture(name))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, 500))] = data.draw(st.integers(0, 255))
    try:
        info = probe_picture(bytes(damaged))
    except RequestError as error:
        one_line(error)
    else:
        assert 1 <= info.width * info.height <= 64_000_000


def test_a_child_beyond_its_memory_or_time_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(Image.new("RGB", (2000, 1500), "red"), "AVIF", speed=10)
    monkeypatch.setattr("shoestring.media.picture._CHILD_BYTES", 1 << 20)
    monkeypatch.setattr("shoestring.media.picture._CHILD_PIXEL_BYTES", 0)
    with pytest.raises(RequestError, match="decoded"):
        decode_picture(data)
    monkeypatch.undo()
    monkeypatch.setattr("shoestring.media.children._PATIENCE", 1e9)
    with pytest.raises(RequestError, match="within its limits of memory and time"):
        decode_picture(data, limits=Limits(picture_cpu_seconds=1e-6))
    monkeypatch.setattr("shoestring.media.children._PATIENCE", 1e-9)  # it waits instead of working
    with pytest.raises(RequestError, match="within its limits of memory and time"):
        decode_picture(data)
    monkeypatch.undo()
    assert decode_picture(data).shape == (3, 1500, 2000)
