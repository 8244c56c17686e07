"""Pictures and videos on the command line: `run --image --video`, /image and /video in chat, also with --url."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import clips
import pytest
from commands import failed
from odd_pictures import rgb, saved
from running import running

from shoestring.cli import progress
from shoestring.cli.app import run
from shoestring.media.source import Source
from shoestring.runtime.model import Model
from shoestring.server.http.app import create_app
from shoestring.server.service import Service
from shoestring.testing import Asked, Reply, scripted_model


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Two pictures and a video, by their first letter."""
    made = {"a": saved(rgb(90, 120), "PNG"), "b": saved(rgb(60, 60, seed=1), "PNG"), "v": clips.clip("h264.mp4")}
    paths = {name: tmp_path / f"{name}.{'mp4' if name == 'v' else 'png'}" for name in made}
    for name, path in paths.items():
        path.write_bytes(made[name])
    return {name: str(path) for name, path in paths.items()}


def animals(asked: Asked) -> Reply:
    """Timestamps of a video stand in the text."""
    return Reply("a cat" if asked.text.endswith("what?") else "a dog")


def kinds(messages: Any) -> list[Any]:
    """Of the last message's content: the files that pictures and videos come from, and texts."""
    return [part.get("text") or Path(str(part.get(part["type"]))).stem for part in messages[-1]["content"]]


def test_the_order_of_the_command_line_is_kept(
    files: dict[str, str], use: Callable[[Model], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = scripted_model()
    asked: list[Any] = []
    generate = model.generate
    monkeypatch.setattr(model, "generate", lambda **given: asked.append(given["messages"]) or generate(**given))
    use(model)
    assert run(["run", "m", "--image", files["b"], f"--video={files['v']}", "what?", "--image", files["a"]]) == 0
    assert run(["run", "m", "--video", files["v"], "--image", files["a"], "--image", files["b"], "--", "--image"]) == 0
    assert [kinds(messages) for messages in asked] == [["b", "v", "a", "what?"], ["v", "a", "b", "--image"]]


def test_an_answer_about_a_picture(
    files: dict[str, str], use: Callable[[Model], None], capsys: pytest.CaptureFixture[str]
) -> None:
    use(scripted_model({"what?": "a cat"}))
    assert run(["run", "m", "what?", "--image", files["a"], "--json"]) == 0
    seen = json.loads(capsys.readouterr().out)
    assert run(["run", "m", "what?", "--chat", "--json"]) == 0
    blind = json.loads(capsys.readouterr().out)
    assert seen["text"] == blind["text"] == "a cat"
    assert seen["prompt_tokens"] >= blind["prompt_tokens"] + 64


def test_the_encoding_shows_its_progress(
    files: dict[str, str],
    use: Callable[[Model], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("_SILENT_SECONDS", "_LINE_SECONDS"):
        monkeypatch.setattr(progress, name, 0.0)
    use(scripted_model())
    assert run(["run", "m", "what?", "--image", files["a"], "--image", files["b"]]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("reading the pictures: ")]
    shares = [int(line.split()[3].rstrip("%,")) for line in lines]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert len(set(shares)) > 2
    assert lines[0].endswith("of 134 rows")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--image", "{v}"], "v.mp4 is a video (MP4)"),
        (["--video", "{a}"], "a.png is a picture (PNG)"),
        (["--image", "{none}"], "No such file"),
        (["--image", "{a}", "--reference"], "--reference reads no pictures"),
    ],
)
def test_wrong_files_are_one_line(
    arguments: list[str],
    says: str,
    files: dict[str, str],
    tmp_path: Path,
    use: Callable[[Model], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    use(scripted_model())
    given = [word.format(**files, none=tmp_path / "none.png") for word in arguments]
    assert run(["run", "m", "what?", *given]) == 2
    assert says in failed(capsys)


def test_pictures_in_a_chat(
    files: dict[str, str],
    use: Callable[[Model], None],
    typed: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    use(scripted_model(animals))
    kept, again = tmp_path / "kept.json", tmp_path / "again.json"
    typed(
        f"/image\n/image {files['v']}\n/image {files['a']}\n/video {files['v']}\nwhat?\nand now?\n"
        f"/save {kept}\n/clear\n/load {kept}\n/again\n/save {again}\n"
    )
    assert run(["chat", "m", "--no-thinking"]) == 0
    out, err = capsys.readouterr()
    assert out.index("a cat") < out.index("a dog")
    for line in ("error: /image needs a file name", "is a video (MP4)", "a.png (72 tokens)", "v.mp4 ("):
        assert line in err
    first, _, second, _ = json.loads(kept.read_text())
    assert [part["type"] for part in first["content"]] == ["image", "video", "text"]
    assert all(part[part["type"]].startswith("data:") for part in first["content"][:2])
    assert second["content"] == "and now?", "a picture is shown once"
    assert json.loads(again.read_text()) == json.loads(kept.read_text())


def test_pictures_in_a_chat_with_a_server(
    files: dict[str, str],
    typed: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = scripted_model(animals, context=4096)
    seen: list[Source] = []
    prepare = model.vision.prepare
    monkeypatch.setattr(model.vision, "prepare", lambda source: seen.append(source) or prepare(source))
    with running(create_app(Service(model))) as url:
        typed(f"/image {files['a']}\n/image {files['v']}\n/video {files['v']}\nwhat?\n")
        assert run(["chat", "--url", url, "--no-thinking"]) == 0
    out, err = capsys.readouterr()
    assert "a cat" in out
    assert "a.png (72 tokens)" in err
    assert "v.mp4 is video/mp4: /image shows pictures, /video videos" in err
    assert int(err.split("v.mp4 (")[1].split()[0].replace(",", "")) > 4
    assert [source.kind for source in seen[-2:]] == ["image", "video"]
    assert [source.data for source in seen[-2:]] == [Path(files[name]).read_bytes() for name in ("a", "v")]


def test_a_server_that_reads_no_pictures_says_why(
    files: dict[str, str], typed: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    blind = scripted_model({"hi": "hello"}, blind="m.gguf reads text alone: its vision tower is mmproj-….gguf")
    with running(create_app(Service(blind))) as url:
        typed(f"/image {files['a']}\nhi\n")
        assert run(["chat", "--url", url]) == 0
    out, err = capsys.readouterr()
    assert "its vision tower is mmproj-….gguf" in err
    assert "hello" in out, "the chat goes on without it"
