"""`shoestring bench --disk`: what it reads, prints and keeps."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import random_models
from commands import failed

from shoestring.cli.advise import bench_disk
from shoestring.cli.app import run
from shoestring.planning.hardware import disk, kept
from shoestring.planning.hardware.detect import this_key
from shoestring.samples.synthetic import write_synthetic


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(disk, "SECONDS", 0.1)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def measured(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["bench", "--disk", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_a_mixture_is_read_as_its_experts_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.gguf"
    config = replace(random_models.qwen3_5(), moe_intermediate_size=256)
    write_synthetic(config, path, "F32")
    facts = json.loads(measured(capsys, str(path), "--json"))
    assert facts["read_bytes"] == 4 * 256 * config.hidden_size
    assert facts["in_flight"] == config.num_experts_per_tok
    (known,) = kept.kept_disks(this_key())
    assert known.bytes_per_second == facts["bytes_per_second"]
    assert known.mount_point == facts["disk"]


def test_any_file_tells_the_speed_of_its_disk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "noise"
    path.write_bytes(os.urandom(16 << 20))
    assert " GB/s from the disk at " in measured(capsys, str(path))
    assert f"{bench_disk.READ_BYTES / 1e6:.2f} MB, {bench_disk.IN_FLIGHT} at once" in measured(capsys, str(path))


def test_without_a_file_a_temporary_one_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_disk, "FILE_BYTES", 16 << 20)
    assert json.loads(measured(capsys, "--json"))["reads"] > 0
    assert not list((tmp_path / "data").rglob("bench-disk-*"))


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["no-such-model"], "no-such-model"),
        (["m", "--synthetic", "c"], "--disk measures a file on this machine"),
        (["m", "--url", "http://localhost:1"], "--disk measures a file on this machine"),
    ],
)
def test_refusals(arguments: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "--disk", *arguments]) == 2
    assert why in failed(capsys)
