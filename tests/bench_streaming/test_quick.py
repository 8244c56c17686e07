"""The quick form of the table: every kind of run works and prints its lines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import shoestring

ROOT = Path(__file__).parents[2]
#: Not among them: shares of the limit and ratios, which other load on this machine changes.
CERTAIN = ("reads of an expert in a step", "answers equal those alone", "streamed == resident")


def test_every_row_is_printed(tmp_path: Path) -> None:
    package = str(Path(shoestring.__file__).parents[1])  # the installed one, or the source tree with an extension
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["bench", package]), "PYTHONWARNINGS": ""}
    command = [sys.executable, "-m", "streaming", "--quick", "--batches", "2", "--folder", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("| small")]
    for case in ("4 layers |", "512 tokens |", "8 sequences |", "one answer |", "peak |", "prediction |"):
        assert any(case in line for line in lines), done.stdout + done.stderr
    assert "failed" not in done.stdout, done.stdout + done.stderr
    assert "read_ahead_kb" in done.stdout
    for measure in CERTAIN:
        assert all(line.endswith("| yes |") for line in lines if measure in line), done.stdout
    assert list(tmp_path.iterdir()) == []
