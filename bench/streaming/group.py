"""Run a command in a control group that limits its memory, page cache included.

Version 1 of control groups: memory.limit_in_bytes. Version 2: memory.max. Either needs root.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOTS = (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup"))


@dataclass(frozen=True)
class Finished:
    """A command's output; the most bytes that its group used, page cache included (0: unknown, not in a group)."""

    output: str
    peak_bytes: int


class Failed(Exception):
    """The command ended with an error."""


def unavailable() -> str:
    """Why control groups cannot be used; "" if they can."""
    try:
        with _group(1 << 30):
            return ""
    except OSError as error:
        return f"no control group with a memory limit ({error.strerror or error}; it needs root)"


def run(command: list[str], limit: int | None, environment: Mapping[str, str] | None = None) -> Finished:
    """Run a command, limited to `limit` bytes unless None. Raises Failed."""
    everything = {**os.environ, **(environment or {})}
    if limit is None:
        return Finished(_output(command, everything), 0)
    with _group(limit) as group:
        # The shell enters the group and becomes the command, so that nothing of it is outside.
        inside = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(group / "cgroup.procs"), *command]
        output = _output(inside, everything)
        return Finished(output, _peak(group))


def _output(command: list[str], environment: Mapping[str, str]) -> str:
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            output, errors = process.communicate()
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        how = (
            "was killed, perhaps for memory" if process.returncode in (-9, 137) else f"ended with {process.returncode}"
        )
        raise Failed(f"{' '.join(command[-4:])} {how}: {errors.strip()[-2000:]}")
    return output


@contextlib.contextmanager
def _group(limit: int) -> Iterator[Path]:
    root = ROOTS[0] if (ROOTS[0] / "memory.limit_in_bytes").exists() else ROOTS[1]
    first = root / "memory.limit_in_bytes"
    if not first.exists():
        (root / "cgroup.subtree_control").write_text("+memory")
    group = root / f"shoestring-bench-{os.getpid()}-{time.monotonic_ns()}"
    group.mkdir()
    try:
        if first.exists():
            (group / "memory.limit_in_bytes").write_text(str(limit))
        else:
            (group / "memory.max").write_text(str(limit))
            with contextlib.suppress(OSError):
                (group / "memory.swap.max").write_text("0")
        yield group
    finally:
        with contextlib.suppress(OSError):
            (group / "memory.force_empty").write_text("0")  # the page cache of files that only this group read
        for _ in range(50):
            try:
                group.rmdir()
                break
            except OSError:  # its processes are still ending
                time.sleep(0.1)


def _peak(group: Path) -> int:
    for name in ("memory.max_usage_in_bytes", "memory.peak"):
        with contextlib.suppress(OSError, ValueError):
            return int((group / name).read_text())
    return 0
