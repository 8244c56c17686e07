"""How a command ends: a full disk, a closed pipe, Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import PYTHON


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        command = [*PYTHON, "version"]
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr == "error: No space left on device\n"


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m shoestring list --json --help | head -c 1"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert result.stderr == ""


def test_ctrl_c_ends_with_130() -> None:
    code = """if True:
        import sys, time
        from shoestring.cli.models import run_command
        from shoestring.cli.app import run
        def load(name, **options):
            print("ready", flush=True)
            time.sleep(60)
        run_command.load_model = load
        sys.exit(run(["run", "m", "hi"]))
    """
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == "error: interrupted\n"


def test_ctrl_c_inside_generated_code_ends_with_130() -> None:
    """Python remembers a KeyboardInterrupt that left exec(), and would exit by the signal although it was handled."""
    code = """if True:
        import sys
        from shoestring import cli
        from shoestring.cli.models import run_command
        def load(name, **options):
            exec("raise KeyboardInterrupt")
        run_command.load_model = load
        sys.argv = ["shoestring", "run", "m", "hi"]
        cli.main()
    """
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (130, "error: interrupted\n")
