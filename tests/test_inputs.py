"""Every file that the product reads: a pipe, a device, a folder or a file without an end is refused at once."""

from __future__ import annotations

import json
import os
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from small_vocabulary import write_folder
from tiny_checkpoints import (
    gguf_metadata,
    gguf_tensors,
    hugging_face_config,
    hugging_face_tensors,
    tiny,
    write_gguf_file,
    write_hugging_face,
)

from shoestring import stores
from shoestring.checkpoint.formats.gguf import read_architecture
from shoestring.checkpoint.open import open_checkpoint
from shoestring.checkpoint.text.chat_template import ChatTemplate
from shoestring.checkpoint.text.tokenizer import Tokenizer
from shoestring.cli.app import run
from shoestring.cli.models import conversation
from shoestring.errors import ShoestringError
from shoestring.runtime import memory

KINDS = ["pipe", "device", "link to a device", "folder", "file without an end"]


@pytest.fixture(autouse=True)
def at_once() -> Iterator[None]:
    """Ends a test that waits for a writer."""

    def stop(number: int, frame: object) -> None:
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def put(kind: str, path: Path) -> None:
    """Put a file of this kind in the place of `path`."""
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        try:
            os.mknod(path, stat.S_IFCHR | 0o444, os.makedev(1, 5))
        except PermissionError:
            pytest.skip("only root makes devices")
    elif kind == "link to a device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        with path.open("wb") as file:
            file.truncate(1 << 40)


def hugging_face_folder(folder: Path, shards: int) -> Path:
    model = tiny("scout")
    write_hugging_face(folder, hugging_face_config(model), hugging_face_tensors(model), shards)
    return folder


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "generation_config.json",
        "model.safetensors.index.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ],
)
def test_files_of_a_folder(kind: str, name: str, tmp_path: Path) -> None:
    folder = hugging_face_folder(tmp_path / "model", 2)
    open_checkpoint(folder)
    put(kind, folder / name)
    before = memory.own_memory()
    with pytest.raises(ShoestringError, match=name.partition(".")[0]):
        open_checkpoint(folder)
    assert memory.own_memory() - before < 256 << 20


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name",
    ["chat_template.jinja", "chat_template.json", "tokenizer_config.json", "generation_config.json", "config.json"],
)
def test_files_of_a_tokenizer(kind: str, name: str, tmp_path: Path) -> None:
    write_folder(tmp_path)
    tokenizer = Tokenizer.from_folder(tmp_path)
    put(kind, tmp_path / name)

    def read() -> None:
        Tokenizer.from_folder(tmp_path)
        ChatTemplate.from_folder(tmp_path, tokenizer, "qwen3_5")

    with pytest.raises(ShoestringError, match=name.partition(".")[0]):
        read()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["model.gguf", "model-00002-of-00002.gguf"])
def test_gguf_files(kind: str, name: str, tmp_path: Path) -> None:
    model = tiny("scout")
    first = tmp_path / name.replace("00002-of", "00001-of")
    write_gguf_file(first, gguf_metadata(model), gguf_tensors(model))
    put(kind, tmp_path / name)
    with pytest.raises(ShoestringError):
        open_checkpoint(first)
    assert read_architecture(tmp_path / name) is None


@pytest.mark.parametrize("kind", KINDS)
def test_stores_skip_what_is_no_file(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("OLLAMA_MODELS", "LLAMA_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    hub = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub))
    snapshot = hub / "models--org--model" / "snapshots" / "abc"
    for path in (
        tmp_path / ".lmstudio-home-pointer",
        tmp_path / "OLLAMA_MODELS" / "manifests" / "registry.ollama.ai" / "library" / "qwen3.5" / "latest",
        tmp_path / "LLAMA_CACHE" / "model.gguf",
        hub / "models--org--model" / "refs" / "main",
        snapshot / "config.json",
        snapshot / "model.safetensors.index.json",
        tmp_path / ".lmstudio" / "models" / "org" / "model" / "config.json",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        put(kind, path)
    (snapshot / "model.safetensors").write_bytes(b"x")
    assert stores.find_checkpoints() == []
    assert stores.find_checkpoint("org/model") is None


COMMANDS: dict[str, Callable[[str], list[str]]] = {
    "text": lambda path: ["perplexity", "m", "--file", path],
    "batch": lambda path: ["batch", path, "out.jsonl"],
    "measured": lambda path: ["plan", "--measured", path],
    "prices": lambda path: ["plan", "--prices", path],
    "machine.toml": lambda path: ["plan", "--hardware", path],
    "serve.toml": lambda path: ["serve", "--config", path],
    "keys": lambda path: ["serve", "--api-key-file", path],
    "server.crt": lambda path: ["serve", "demo-scripted", "--ssl-certfile", path],
    "server.log": lambda path: ["serve", "demo-scripted", "--log-file", path],
    "config": lambda path: ["bench", "--synthetic", path],
    "run.gguf": lambda path: ["run", path, "hi"],
    "plan.gguf": lambda path: ["plan", path],
    "inspect.gguf": lambda path: ["inspect", path],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", COMMANDS)
def test_files_that_commands_read(
    kind: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    put(kind, tmp_path / name)
    before = memory.own_memory()
    assert run(COMMANDS[name](name)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert name in err
    assert memory.own_memory() - before < 256 << 20
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("kind", KINDS)
def test_a_catalogue_and_a_conversation(kind: str, tmp_path: Path) -> None:
    put(kind, tmp_path / "prices.toml")
    assert run(["plan", "--catalogue", str(tmp_path)]) == 2
    with pytest.raises(ShoestringError, match="prices"):
        conversation.read(tmp_path / "prices.toml")


def test_links_to_files_are_followed(tmp_path: Path) -> None:
    """The caches of the Hub consist of links."""
    folder = hugging_face_folder(tmp_path / "blobs", 2)
    links = tmp_path / "snapshot"
    links.mkdir()
    for path in folder.iterdir():
        (links / path.name).symlink_to(path)
    assert open_checkpoint(links).metadata == json.loads((folder / "config.json").read_text())
