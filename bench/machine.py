"""What a table of measurements says about its machine, and commands that answer with JSON."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    model = ", ".join(f"{key} {facts[name]}" for key, name in _FAMILY if name in facts)
    return f"{facts.get('model name', platform.processor())}{f' ({model})' if model else ''}, {os.cpu_count()} threads"


_FAMILY = (("family", "cpu family"), ("model", "model"))


def version() -> str:
    report = output([sys.executable, "-m", "shoestring", "version", "--json"])
    return f"{report['version']} ({report['isa']})"


class Failed(Exception):
    """A command ended with an error."""


def output(command: list[str], environment: Mapping[str, str] | None = None) -> Any:
    """The JSON that a command prints. environment: beside this process's own. Raises Failed."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **(environment or {})}
    )
    if done.returncode:
        raise Failed(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)
