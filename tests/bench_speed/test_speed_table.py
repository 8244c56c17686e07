"""The table of speeds: a whole run on tiny files beside engines that are played, and what its bars make of figures."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from speed import bars, compare
from speed.engines import AVX2, NATIVE, Ours, Peer, Speeds, Work, peer_speeds

import shoestring

ROOT = Path(__file__).parents[2]
#: A llama-bench that says how it was called, and answers with 100 and 10 tokens/s; with -rtr, with 50 and 20.
PLAYED = """#!{python}
import json, sys
with open({calls!r}, "a") as calls:
    print(*sys.argv[1:], file=calls)
prompt, answer = (int(sys.argv[sys.argv.index(name) + 1]) for name in ("-p", "-n"))
rates = (50.0, 20.0) if "-rtr" in sys.argv else (100.0, 10.0)
rows = [(prompt, 0, rates[0]), (0, answer, rates[1])]
print(json.dumps([{{"n_prompt": p, "n_gen": n, "avg_ts": rate}} for p, n, rate in rows if p or n]))
"""


def play(folder: Path, name: str) -> Path:
    file = folder / name
    file.write_text(PLAYED.format(python=sys.executable, calls=str(folder / f"{name}.calls")))
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


def quick(folder: Path, *options: str) -> str:
    """What a quick run prints. Its files are removed, and nothing in it fails."""
    package = str(Path(shoestring.__file__).parents[1])  # the installed one, or the source tree with an extension
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["bench", package]), "PYTHONWARNINGS": "",
                   "XDG_DATA_HOME": str(folder / "data")}  # fmt: skip
    files = folder / "files"
    files.mkdir()
    command = [sys.executable, "-m", "speed", "--quick", "--variants", "best", "--folder", str(files), *options]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert " failed |" not in done.stdout, done.stdout + done.stderr
    assert list(files.iterdir()) == []
    return done.stdout


def test_a_quick_run_compares_all_engines(tmp_path: Path) -> None:
    llama, ik = play(tmp_path, "llama"), play(tmp_path, "ik")
    given = ["--llama", str(llama), "--llama-options=--repack 0", "--ik", str(ik)]
    printed = quick(tmp_path, "--rows", "a", "--types", "Q4_K_M", *given)
    for measure in ("prefill 64 ÷ llama.cpp", "decode 8 ÷ ik_llama.cpp", "share of the roof", "experts' products"):
        assert measure in printed
    assert "÷ 100 =" in printed
    assert "÷ 20 =" in printed  # the faster of ik's two ways
    calls = (tmp_path / "llama.calls").read_text().splitlines()
    assert all("-t 2 -r 1 -o json --repack 0" in call for call in calls)
    assert ["-rtr 1" in call for call in (tmp_path / "ik.calls").read_text().splitlines()] == [False, True]


@pytest.mark.deep
def test_a_quick_run_has_every_other_row(tmp_path: Path) -> None:
    printed = quick(tmp_path, "--rows", "many", "long", "start", "float", "--llama", str(play(tmp_path, "llama")))
    for measure in ("8 sequences ÷ 1", "2 threads ÷ 1", "attention of 64", "prefill 64 ÷ llama.cpp", "prompt of 64",
                    "decode at 64 positions", "first token, s", "give --torch"):  # fmt: skip
        assert measure in printed


def test_a_peer_that_fails_is_a_line_and_is_started_once(tmp_path: Path) -> None:
    good, bad = Peer(bars.LLAMA_CPP, NATIVE, play(tmp_path, "good")), Peer(bars.IK, NATIVE, tmp_path / "none")
    work = Work(512, 64, 2)
    results = compare.measure(tmp_path / "f.gguf", [good, bad], work, 3)
    assert [len(result.starts) for result in results] == [3, 0]
    ours = compare.Measured(Ours("amx", NATIVE), [Speeds(400, 15, 0.8), Speeds(300, 12, 0.9), Speeds(350, 14, 0.97)])
    lines = [str(line) for line in compare.lines("case", "a", "Q4_K_M", [ours, *results], work)]
    assert lines[0] == "| case | prefill 512 ÷ llama.cpp, amx beside native | 350 ÷ 100 = 3.50 | ≥ 3.5 | yes |"
    assert "14 ÷ 10 = 1.40 | ≥ 1.4, or ≥ 95% of the roof | yes |" in lines[1]
    assert "does not run" in lines[2]
    assert lines[3].endswith("| 90% | ≥ 90% | yes |")


def test_rounds_alternate() -> None:
    order: list[str] = []

    class Engine:
        def __init__(self, name: str) -> None:
            self.name = name

        def start(self, file: Path, work: Work) -> Speeds:
            order.append(self.name)
            return Speeds(1, 1)

    compare.measure(Path("f"), [Engine("x"), Engine("y")], Work(1, 1, 1), 3)  # type: ignore[list-item]
    assert "".join(order) == "xyyxxy"


@pytest.mark.parametrize(
    ("peer", "build", "kind", "ratio", "share", "met"),
    [
        (bars.LLAMA_CPP, NATIVE, "Q8_0", 1.39, 0.94, False),
        (bars.LLAMA_CPP, NATIVE, "Q8_0", 1.39, 0.95, True),
        (bars.LLAMA_CPP, AVX2, "Q4_0", 1.2, None, True),
        (bars.IK, NATIVE, "Q4_K_M", 0.99, None, False),
        (bars.IK, AVX2, "BF16", 0.5, 0.9, True),
    ],
)
def test_decode_meets_its_ratio_or_the_roof(
    peer: str, build: str, kind: str, ratio: float, share: float | None, met: bool
) -> None:
    assert bars.decode(peer, build, kind).met(ratio, share) == met


def test_only_what_was_asked_for_counts() -> None:
    assert peer_speeds([{"n_prompt": 8192, "avg_ts": 7.5}]) == Speeds(7.5, 0.0)
    assert bars.prefill(bars.IK, NATIVE, "d", "Q4_K_M") is None
    assert bars.prefill(bars.IK, NATIVE, "a", "BF16") is None


def test_avx2_has_bars_of_its_own() -> None:
    assert [bars.large("Q8_0", build) for build in (NATIVE, AVX2)] == [0.70, 0.65]
    assert [bars.roof("Q4_K_M", build) for build in (NATIVE, AVX2)] == [0.90, 0.80]
    assert [bars.roof("BF16", build) for build in (NATIVE, AVX2)] == [0.85, 0.80]
