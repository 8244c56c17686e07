"""How a command ends: a full disk, a closed pipe, Ctrl-C."""

from __future__ import annotations

import os
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


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["version", "list", "plan --hardware 64g", "inspect nowhere.gguf"])
def test_closed_streams_are_no_error(command: str, closed: str, tmp_path: Path) -> None:
    """Programs start others so. No file gets the number of a closed stream, nor the output."""
    line = f"{' '.join(PYTHON)} {command} {closed}"
    environment = {**os.environ, "HOME": str(tmp_path), "HF_HOME": str(tmp_path)}
    result = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == (2 if "nowhere" in command else 0), result.stderr
    assert "bug in shoestring" not in result.stderr
    assert bool(result.stdout) == (">&-" not in closed.split() and command != "inspect nowhere.gguf")


@pytest.mark.parametrize(
    "line",
    [
        "inspect {}", "run {} hi", "chat {}", "serve {}", "serve m --config {}", "serve demo-llama4 --api-key-file {}",
        "batch {} out", "bench {}", "perplexity m --file {}", "compare {} {}",
        "plan --hardware {}.toml",
    ],
)  # fmt: skip
def test_the_home_of_an_unknown_user_is_one_line(line: str) -> None:
    command = [*PYTHON, *line.format(*["~no-such-user/x"] * 2).split()]
    result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "~no-such-user/x" in result.stderr
