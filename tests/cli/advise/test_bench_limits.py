"""`shoestring bench --machine` and `--profile`: what they print and keep, and that recording changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import random_models
from commands import failed

from shoestring import ops
from shoestring.catalogue.load import load_catalogue
from shoestring.cli.advise import bench_machine
from shoestring.cli.app import run
from shoestring.ops import limits
from shoestring.ops.recording import recorded
from shoestring.planning.hardware import disk, kept
from shoestring.planning.hardware.detect import detect, this_key
from shoestring.samples.synthetic import write_synthetic


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(disk, "SECONDS", 0.1)
    monkeypatch.setattr(bench_machine, "DISK_BYTES", 16 << 20)
    monkeypatch.setattr(limits, "READ_BYTES", 32 << 20)
    monkeypatch.setattr(limits, "_PEAK_SECONDS", 0.005)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def test_limits_are_kept_and_plan_uses_them(capsys: pytest.CaptureFixture[str]) -> None:
    threads = ops.num_threads()
    try:
        assert run(["bench", "--machine", "--threads", "2", "--json"]) == 0
    finally:
        ops.set_num_threads(threads)
    facts = json.loads(capsys.readouterr().out)
    assert facts["isa"] == ops.isa()
    assert min(facts[name] for name in ("read_bandwidth_one", "float_peak", "dot_peak", "signed_dot_peak")) > 1e6
    found = kept.kept_limits(this_key())
    assert found is not None
    assert found.read_bandwidth == facts["read_bandwidth"]
    assert kept.kept_disks(this_key())
    machine = detect(load_catalogue())
    assert machine.ram_bandwidth == facts["read_bandwidth"]
    assert any("measured here by reading" in note for note in machine.notes)


def test_a_damaged_record_counts_as_none() -> None:
    kept.folder(this_key()).mkdir(parents=True)
    for text in ("", "[]", "{}", '{"isa": "x", "threads": 1, "read_bandwidth": -1}'):
        (kept.folder(this_key()) / kept.LIMITS_FILE).write_text(text)
        assert kept.kept_limits(this_key()) is None


def test_a_profile_names_every_product(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.gguf"
    write_synthetic(random_models.qwen3_5(), path, "Q8_0")
    arguments = ["bench", str(path), "--profile", "-p", "8", "-g", "4"]
    assert run([*arguments, "--json"]) == 0
    phases = {phase["phase"]: phase for phase in json.loads(capsys.readouterr().out)["phases"]}
    for phase in phases.values():
        names = {row["op"] for row in phase["ops"]}
        assert {"attention", "delta_net", "rms_norm"} <= names
        assert any(name.startswith("experts ") for name in names)
        assert 0 <= phase["python_share"] < 1
        assert phase["parallel_regions"] > 0
        for row in phase["ops"]:
            assert row["calls"] > 0
            assert (row["share_of_limit"] is not None) == (row["operations"] > 0)
    assert run(arguments) == 0
    assert "Python" in capsys.readouterr().out


def test_recording_counts_products_and_ends() -> None:
    ws = ops.Workspace()
    x = np.ones((3, 64), np.float32)
    matrix = ops.pack(np.zeros(32 * 2 * 34, np.uint8), "Q8_0", 32, 64, offset=0, row_stride=68, column_stride=0)
    with ws:
        before = ops.matmul(ws, x, matrix).copy()
    with recorded() as works, ws:
        inside = ops.matmul(ws, x, matrix).copy()
    with ws:
        ops.matmul(ws, x, matrix)
    work = works["matmul Q8_0"]
    assert (work.calls, work.nbytes, work.operations) == (1, matrix.nbytes, 2 * 3 * 32 * 64)
    assert inside.tobytes() == before.tobytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["m", "--machine"], "--machine measures no model"),
        (["--machine", "--url", "http://localhost:1"], "--machine measures no model"),
        (["--synthetic", "c", "--profile"], "--profile needs a MODEL"),
    ],
)
def test_what_does_not_go_together(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", *arguments]) == 2
    assert words in failed(capsys)
