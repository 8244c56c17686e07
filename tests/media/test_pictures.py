"""Decoding: every format and kind of picture shows what Pillow alone shows, and its header says so beforehand."""

from __future__ import annotations

import io
import sys
import tracemalloc

import numpy as np
import odd_pictures
import pytest
from odd_pictures import chunk, noise, picture, png, saved, scan_lines, shown
from PIL import Image, features

from shoestring.errors import RequestError
from shoestring.media import picture as decoding
from shoestring.media.headers import probe_picture
from shoestring.media.picture import decode_picture, resized_picture
from shoestring.media.resize import resized


@pytest.mark.parametrize("name", odd_pictures.NAMES)
def test_a_picture_shows_what_pillow_shows(name: str) -> None:
    data = picture(name)
    expected = shown(data)
    info = probe_picture(data, name)
    assert (info.height, info.width) == expected.shape[:2]
    pixels = decode_picture(data, name)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert (pixels == expected.transpose(2, 0, 1)).all()


@pytest.mark.parametrize("name", [n for n in odd_pictures.NAMES if "animated" in n])
def test_frames_are_counted_without_decoding(name: str) -> None:
    data = picture(name)
    with Image.open(io.BytesIO(data)) as image:
        assert probe_picture(data).frames == image.n_frames > 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["rgb.png", "16 bits, rgb.png", "lossless.webp", "interlaced.png"])
def test_lossless_pictures_are_the_samples(name: str) -> None:
    if name.startswith("16"):
        samples = np.random.default_rng(7).integers(0, 65536, (61, 83, 3)) >> 8
    else:
        samples = noise(61, 83, 3, 8 if name == "interlaced.png" else 0)
    assert (decode_picture(picture(name)) == samples.transpose(2, 0, 1)).all()


@pytest.mark.parametrize("transparent", [None, 500])
def test_grey_of_16_bits_is_scaled_not_clipped(transparent: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's convert("RGB") makes everything above 255 white."""
    samples = np.random.default_rng(3).integers(0, 65536, (40, 50))
    samples[:, ::7] = 500
    chunks = [] if transparent is None else [chunk(b"tRNS", transparent.to_bytes(2, "big"))]
    data = png(50, 40, 16, 0, scan_lines(samples.astype(">u2")), *chunks)
    expected = samples >> 8
    if transparent is not None:
        expected = np.where(samples == transparent, 255, expected)
    assert (decode_picture(data) == expected).all()
    monkeypatch.setattr(decoding, "OWN_PIXELS", 0)
    assert (decode_picture(data) == expected).all()


def test_transparent_pixels_are_white() -> None:
    samples = noise(20, 30, 4, 1)
    samples[:10, :, 3] = 0
    assert (decode_picture(saved(Image.fromarray(samples, "RGBA"), "PNG"))[:, :10] == 255).all()


@pytest.mark.parametrize(
    "name",
    ["palette, alpha.png", "16 bits, grey and alpha.png", "wide.png", "cmyk.jpg", "orientation 6.jpg", "alpha.webp",
     "animated.webp", "transparent.gif"],
)  # fmt: skip
def test_a_large_picture_is_the_same_from_a_child_process(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows come in blocks, and are resized as they come."""
    data = picture(name)
    expected = decode_picture(data, name)
    sizes = [(32, 64), expected.shape[1:], (expected.shape[1], 40)]
    monkeypatch.setattr(decoding, "OWN_PIXELS", 0)
    assert (decode_picture(data, name) == expected).all()
    for ours, (height, width) in zip(resized_picture(data, sizes, "bicubic", name), sizes, strict=True):
        assert ours.flags.c_contiguous
        assert (ours == resized(expected, height, width, "bicubic")).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP"])
def test_memory_has_no_large_picture(kind: str) -> None:
    """Only blocks of its rows are here."""
    image = Image.fromarray(noise(18, 24, 3, 0)).resize((2400, 1800), Image.Resampling.NEAREST)
    data = saved(image, kind, **({"lossless": True, "method": 0} if kind == "WebP" else {}))
    small = resized(np.stack([np.asarray(band) for band in image.split()]), 96, 128, "bicubic")
    tracemalloc.start()
    try:
        (ours,) = resized_picture(data, [(96, 128)], "bicubic")
        traced = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    if kind != "JPEG":
        assert (ours == small).all()
    assert traced < 10_000_000 < image.width * image.height * 3


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif_never_reaches_a_decoder_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import AvifImagePlugin

    data = picture("rgb.avif")
    expected = shown(data)
    monkeypatch.setattr(AvifImagePlugin.AvifImageFile, "_open", None)
    assert (decode_picture(data) == expected.transpose(2, 0, 1)).all()


def test_without_pillow_one_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    data = picture("rgb.png")
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    assert probe_picture(data).width == 83  # the size needs no package
    with pytest.raises(RequestError, match=r"pictures need Pillow: run `.* -m pip install .*pillow") as caught:
        decode_picture(data)
    assert "\n" not in str(caught.value)
