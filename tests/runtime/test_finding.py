"""`shoestring.load` takes every MODEL that the command line takes, with the same errors."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import random_checkpoints

import shoestring
from shoestring.cli import find as cli_find
from shoestring.errors import CheckpointError
from shoestring.runtime.finding import find


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache of the Hub, and a home without other stores."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("LLAMA_CACHE", "OLLAMA_MODELS", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "hub"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_checkpoints.write("llama4", "Q4_0", tmp_path_factory.mktemp("model") / "model.gguf")


def store(hub: Path, repo: str, file: str, checkpoint: Path) -> Path:
    snapshot = hub / f"models--{repo.replace('/', '--')}" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    return Path(shutil.copy(checkpoint, snapshot / file))


@pytest.mark.parametrize("name", ["org/tiny", "org/tiny:Q4_0", "org/tiny:q4_0"])
def test_a_pulled_model(name: str, hub: Path, checkpoint: Path) -> None:
    path = store(hub, "org/tiny", "tiny-Q4_0.gguf", checkpoint)
    assert find(name) == path
    with shoestring.load(name, context=64) as model:
        assert model.family == "llama4"


@pytest.mark.parametrize("name", ["qwen3.5:0.8b", "QWEN3.5:0.8B"])
def test_a_short_name(name: str, hub: Path, checkpoint: Path) -> None:
    path = store(hub, "unsloth/Qwen3.5-0.8B-GGUF", "Qwen3.5-0.8B-Q4_K_M.gguf", checkpoint)
    assert find(name) == path
    with shoestring.load(name, context=64) as model:
        assert model.context == 64


def test_a_path_comes_before_a_name(hub: Path, checkpoint: Path) -> None:
    store(hub, "org/tiny", "tiny-Q4_0.gguf", checkpoint)
    Path("org/tiny").mkdir(parents=True)
    assert find("org/tiny") == Path("org/tiny")
    assert find(Path("~/x.gguf")) == Path.home() / "x.gguf"
    Path("demo-llama4").mkdir()
    assert find(Path("demo-llama4")) == Path("demo-llama4")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("org/none", "run `shoestring pull org/none`"),
        ("scout", "run `shoestring pull scout` to download"),
        ("none.gguf", "none.gguf does not exist: give a .gguf file"),
        ("", "'' does not exist"),
        ("./org/none", "./org/none does not exist"),
        ("demo-lama4", "demo-llama4"),
    ],
)
def test_a_missing_model_says_what_to_do_in_python_and_in_commands(name: str, says: str, hub: Path) -> None:
    messages = []
    for use in (shoestring.load, find, cli_find.find):
        with pytest.raises(CheckpointError) as refused:
            use(name)
        messages.append(str(refused.value))
    assert says in messages[0]
    assert len(set(messages)) == 1


@pytest.mark.parametrize("wrong", [5, None, True, b"x", ["a"]])
def test_what_is_no_name_is_a_type_error(wrong: Any) -> None:
    with pytest.raises(TypeError, match="give a path or a name"):
        shoestring.load(wrong)
