"""Two processes read one file at once, one of them stopped and continued: both get the bits of resident experts."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from streaming_models import Mixture, applied, mixture, rows, write

from shoestring.models.experts import Experts

STEPS = 120

CHILD = """
import sys
from pathlib import Path
from test_processes_of_one_file import digest
from streaming_models import mixture, streamed
model = mixture(Path(sys.argv[1]))
with streamed(model, float(sys.argv[2])) as experts:
    print("begun", flush=True)
    print(digest(model, experts), experts.totals().reads)
"""


def digest(model: Mixture, experts: Experts) -> str:
    """Of the results of many steps, of one row, of a few and of many."""
    hashed = hashlib.sha256()
    for step in range(STEPS):
        r = rows(model, (1, 3, 70)[step % 3], step)
        hashed.update(applied(experts, step % 3, r, scale_input=False))
    return hashed.hexdigest()


def test_stopped_and_continued_beside_another(tmp_path: Path) -> None:
    file = write("qwen3_5", "Q4_K_M", tmp_path / "model.gguf")
    model = mixture(file)
    expected = digest(model, model.resident)
    search = os.pathsep.join(path for path in sys.path if path)
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(file), share],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": search},
        )
        for share in ("0.0", "0.2")
    ]
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "begun\n"
        for _ in range(10):
            children[0].send_signal(signal.SIGSTOP)
            time.sleep(0.03)
            children[0].send_signal(signal.SIGCONT)
            time.sleep(0.01)
        for child in children:
            output, _ = child.communicate(timeout=60)
            assert child.returncode == 0
            found, reads = output.split()
            assert found == expected
            assert int(reads) > STEPS
    finally:
        for child in children:
            child.kill()
            child.wait()
