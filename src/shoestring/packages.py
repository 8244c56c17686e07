"""The packages that only some features need: which are missing, and the command that installs them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shlex
import sys
from collections.abc import Sequence

#: Import name → package, of the extra [server].
SERVER = {
    "fastapi": "fastapi",
    "uvicorn": "uvicorn",
    "pydantic": "pydantic",
    "llguidance": "llguidance",
    "prometheus_client": "prometheus-client",
}


def missing_server_packages() -> list[str]:
    """Packages of the extra that are not installed."""
    return [package for name, package in SERVER.items() if importlib.util.find_spec(name) is None]


def install_command(packages: Sequence[str], *options: str) -> str:
    """The command that installs packages for this Python, in the versions that we ask for.

    It names the packages themselves: an extra would need to know where this program was installed from.
    """
    words = [sys.executable or "python3", "-m", "pip", "install", *options, *map(_required, packages)]
    return shlex.join(words)


def _required(package: str) -> str:
    """The requirement of our own metadata for a package; its name where there is none, as in a source tree."""
    try:
        requirements = importlib.metadata.requires("shoestring") or []
    except importlib.metadata.PackageNotFoundError:
        return package
    for requirement in requirements:
        text, _, marker = requirement.partition(";")
        name = re.match(r"[\w.-]+", text)
        if "extra" in marker and name is not None and name[0].lower() == package.lower():
            return text.strip()
    return package
