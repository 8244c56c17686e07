"""`shoestring pull` and `shoestring list`: the size first, revisions, dry runs; the embedded models in the list."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import PYTHON
from hub_stand_in import SHA, StandIn

from shoestring import stores
from shoestring.cli.app import run

FILES = {"m-Q8_0-00001-of-00002.gguf": b"x" * 3000, "m-Q8_0-00002-of-00002.gguf": b"y" * 1096, "m-Q4_0.gguf": b"z"}


@pytest.fixture
def hub() -> Iterator[StandIn]:
    stand_in = StandIn()
    stand_in.repositories = {"org/ggufs": dict(FILES)}
    with stand_in.serving():
        yield stand_in


def pull(hub: StandIn, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, as the endpoint is read when huggingface_hub is imported."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    environment |= {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
    return subprocess.run(
        [*PYTHON, "pull", *arguments], env=environment, capture_output=True, text=True, timeout=100, check=False
    )


def gets(hub: StandIn) -> int:
    return sum(method == "GET" and "/resolve/" in path for method, path, _ in hub.requests)


def test_the_size_comes_before_the_download(hub: StandIn, tmp_path: Path) -> None:
    done = pull(hub, tmp_path, "org/ggufs:Q8_0")
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"org/ggufs at {SHA[:12]}: 4.00 KiB in 2 files, 4.00 KiB to download\n"
    assert done.stdout.strip().endswith("m-Q8_0-00001-of-00002.gguf")  # stdout is the path alone, for scripts
    assert Path(done.stdout.strip()).read_bytes() == FILES["m-Q8_0-00001-of-00002.gguf"]
    again = pull(hub, tmp_path, "org/ggufs:Q8_0")
    assert again.stderr.endswith("4.00 KiB in 2 files, all of it is here\n")


def test_the_vision_tower_comes_with_a_model(hub: StandIn, tmp_path: Path) -> None:
    hub.repositories["org/seeing"] = {"m-Q4_0.gguf": b"m" * 1024, "mmproj-BF16.gguf": b"t" * 1024}
    done = pull(hub, tmp_path, "org/seeing")
    assert "2.00 KiB in 2 files (with mmproj-BF16.gguf, its vision tower), 2.00 KiB to download" in done.stderr
    path = Path(done.stdout.strip())
    assert path.name == "m-Q4_0.gguf"
    assert (path.parent / "mmproj-BF16.gguf").is_file()
    blind = pull(hub, tmp_path, "org/seeing", "--no-mmproj", "--dry-run")
    assert "mmproj" not in blind.stdout


def test_a_dry_run_downloads_nothing(hub: StandIn, tmp_path: Path) -> None:
    done = pull(hub, tmp_path, "org/ggufs:Q8_0", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()[:2]] == [
        ["2.93", "KiB", "m-Q8_0-00001-of-00002.gguf"],
        ["1.07", "KiB", "m-Q8_0-00002-of-00002.gguf"],
    ]
    assert done.stdout.splitlines()[2].endswith("4.00 KiB in 2 files, 4.00 KiB to download")
    assert gets(hub) == 0
    assert not list(tmp_path.rglob("*.gguf"))


def test_a_revision_is_what_is_asked_for(hub: StandIn, tmp_path: Path) -> None:
    for revision in (SHA, "main"):
        hub.requests.clear()
        done = pull(hub, tmp_path, "org/ggufs:Q4_0", "--revision", revision)
        assert done.returncode == 0, done.stderr
        assert any(path.startswith(f"/api/models/org/ggufs/revision/{revision}") for _, path, _ in hub.requests)
        assert Path(done.stdout.strip()).parent.name == SHA
    assert "has no revision v1" in pull(hub, tmp_path, "org/ggufs:Q4_0", "--revision", "v1").stderr
    assert pull(hub, tmp_path, "org/ggufs", "--revision", "../x").returncode == 2


def test_the_embedded_models_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(stores, "find_checkpoints", list)
    assert run(["list"]) == 0
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == ["demo-llama4", "demo-qwen3.5", "demo-scripted"]
    assert "`shoestring pull` downloads one" in err
    assert run(["list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {entry["store"] for entry in listed} == {"embedded"}
    assert [entry["family"] for entry in listed] == ["llama4", "qwen3_5", "qwen3_5"]
