"""`shoestring tokens --image --video`: what pictures and videos cost, without a checkpoint."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
import small_vocabulary
import vocabularies

from shoestring.checkpoint.text.tokenizer import Tokenizer
from shoestring.cli.advise import media_tokens
from shoestring.cli.advise.media_tokens import Reader, media_costs
from shoestring.cli.app import run
from shoestring.media.pieces import timestamp_tokens
from shoestring.media.settings import QwenSettings, Wishes
from shoestring.media.video import VideoInfo


def png(path: Path, width: int, height: int) -> str:
    """A PNG's header and no more than counting needs."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    return str(path)


@pytest.fixture
def photo(tmp_path: Path) -> str:
    return png(tmp_path / "photo.png", 4000, 3000)


def counted(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    assert run(["tokens", *arguments, "--json"]) == 0
    media: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["media"]
    return media


def test_both_families_count_a_picture_from_its_header(photo: str, capsys: pytest.CaptureFixture[str]) -> None:
    qwen, llama = counted(["--image", photo], capsys)
    assert (qwen["width"], qwen["height"], qwen["format"], qwen["kind"]) == (4000, 3000, "PNG", "image")
    assert (qwen["model"], qwen["tokens"], qwen["shape"]) == ("Qwen 3.5", 125 * 94 + 2, "read as 4,000 × 3,008")
    assert (llama["model"], llama["tokens"], llama["shape"]) == ("Llama 4", 144 * 13 + 15, "3 × 4 tiles")
    assert run(["tokens", "--image", photo]) == 0
    out = capsys.readouterr().out
    assert f"{photo}: 4,000 × 3,000 PNG\n" in out
    assert "11,752 tokens" in out


def test_models_of_the_catalogue_need_no_checkpoint(photo: str, capsys: pytest.CaptureFixture[str]) -> None:
    costs = counted(["qwen3.5-0.8b", "llama-4-scout", "--image", photo, "--max-image-tokens", "1k"], capsys)
    assert [cost["model"] for cost in costs] == ["qwen3.5-0.8b", "llama-4-scout"]
    assert all(0 < cost["tokens"] <= 1024 for cost in costs)


def test_a_folder_says_its_own_limits(photo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    small_vocabulary.write_folder(folder)
    (folder / "config.json").write_text('{"model_type": "qwen3_5"}')
    (folder / "preprocessor_config.json").write_text('{"max_pixels": 102400, "patch_size": 16, "merge_size": 2}')
    assert counted([str(folder), "--image", photo], capsys)[0]["tokens"] <= 102
    assert run(["tokens", str(folder), "--image", photo, "--compare", "hello", "--json"]) == 0
    both = json.loads(capsys.readouterr().out)
    assert len(both["models"]) == len(both["media"]) == 1
    (folder / "preprocessor_config.json").write_text('{"sharpen": 1}')
    assert run(["tokens", str(folder), "--image", photo]) == 2
    assert "unknown fields could change the answer: sharpen" in capsys.readouterr().err


def test_a_video_is_counted_with_its_timestamps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.mp4").write_bytes(b"video")
    clip = VideoInfo("MP4", 1920, 1080, 1800, 30.0)
    monkeypatch.setattr("shoestring.media.video.probe_video", lambda data, name: clip)
    qwen, llama = counted(["--video", str(tmp_path / "a.mp4"), "--video-fps", "8"], capsys)
    assert (qwen["kind"], qwen["seconds"], qwen["frames"]) == ("video", 60.0, 1800)
    assert qwen["shape"].startswith("480 frames, read as ")
    assert 10_000 < qwen["tokens"] < 14_500
    assert llama["tokens"] is None
    fewer = counted(["--video", str(tmp_path / "a.mp4"), "--max-frames", "10"], capsys)[0]
    assert fewer["shape"].startswith("10 frames, read as ")


def test_timestamps_are_counted_as_qwen_s_own_tokenizer_does(tmp_path: Path) -> None:
    vocabularies.write_folder(vocabularies.qwen3_5(), tmp_path)
    tokenizer = Tokenizer.from_folder(tmp_path)
    for text in ("<0.2 seconds>", "<12.3 seconds>", "<3599.9 seconds>"):
        assert timestamp_tokens(text) == len(tokenizer.encode(text)) == len(text) - 7


def test_the_same_file_twice_costs_twice(photo: str) -> None:
    readers = [Reader("a", QwenSettings(), len)]
    costs = media_costs([Path(photo)] * 2, [], readers, Wishes(None, None, None))
    assert len(costs) == 2
    assert len(media_tokens.lines(costs)) == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--image", "nowhere.png"], "nowhere.png cannot be read"),
        (["--image", "/dev/zero"], "/dev/zero is a device"),
        (["--image", "PHOTO", "--max-image-tokens", "2"], "at least 3 tokens"),
        (["llama-4-scout", "--image", "PHOTO", "--max-image-tokens", "100"], "at least 147 tokens"),
        (["--image", "PHOTO", "--video-fps", "0"], "--video-fps is 0"),
        (["--image", "PHOTO", "--video-fps", "nan"], "--video-fps is nan"),
        (["--image", "PHOTO", "--max-frames", "1"], "--max-frames is 1"),
        (["nothing", "--image", "PHOTO"], "nothing does not exist"),
        (["qwen3.8-2.4t-a95b", "--image", "PHOTO"], "reads no pictures"),
        (["--video", "PHOTO"], "is a picture (PNG)"),
        (["--image", "PHOTO", "--compare", ""], "tokens needs a text"),
    ],
    ids=str,
)
def test_wrong_input_is_one_line(
    arguments: list[str], said: str, photo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["tokens", *(photo if word == "PHOTO" else word for word in arguments)]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
