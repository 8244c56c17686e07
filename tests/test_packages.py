"""The command that an error gives to install what is missing."""

from __future__ import annotations

import importlib.metadata
import shlex
import sys

import pytest

from shoestring import packages


def test_it_installs_the_packages_for_this_python_in_the_versions_of_our_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    requires = ["numpy>=1.26", "llguidance>=1.0; extra == 'server'", 'fastapi>=0.115 ; extra == "server"']
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: requires)
    words = shlex.split(packages.install_command(["llguidance", "fastapi", "numpy", "x==1"], "--no-deps"))
    python = [sys.executable, "-m", "pip", "install", "--no-deps"]
    assert words == [*python, "llguidance>=1.0", "fastapi>=0.115", "numpy", "x==1"]


def test_a_source_tree_has_no_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", missing)
    assert packages.install_command(["llguidance"]).endswith(" -m pip install llguidance")


def test_no_command_names_this_project() -> None:
    """That name on PyPI is not ours."""
    assert "shoestring" not in " ".join(shlex.split(packages.install_command(list(packages.SERVER.values())))[3:])
