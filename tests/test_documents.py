"""What the documents say exists: links, paths, make targets, commands; and the version agrees everywhere."""

import re
from pathlib import Path

import pytest
import typer.main

import shoestring
from shoestring.cli.app import app

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]
TOP = "src|tests|kernels|docs|bench|models|checkpoint|engine|reference|planning|catalogue|cli"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
        assert (document.parent / target).exists(), f"{document.name}: {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_paths_exist(document: Path) -> None:
    for path in re.findall(rf"`((?:{TOP})/[\w./-]*)(?:::\w+)?`", document.read_text()):
        places = (ROOT / path, ROOT / "src" / "shoestring" / path)
        assert any(place.exists() for place in places), f"{document.name}: {path}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_make_targets_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for line in re.findall(r"(?:^|`)make ((?:[a-z-]+ ?)+)", document.read_text(), re.M):
        assert set(line.split()) <= targets, f"{document.name}: make {line}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_commands_exist(document: Path) -> None:
    known = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    for command in re.findall(r"(?:^|`|bin/)shoestring ([a-z]+(?:-[a-z]+)*)\b", document.read_text(), re.M):
        assert command in known, f"{document.name}: shoestring {command}"


def test_one_version() -> None:
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.M)
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert version is not None
    assert newest is not None
    assert version.group(1) == newest.group(1) == shoestring.__version__
