"""docs/python.md: every block runs, one after the other, and prints what the page shows."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from shoestring.errors import CheckpointError
from shoestring.samples import smollm_as_llama4

PAGE = Path(__file__).parents[1] / "docs" / "python.md"
#: A Python block, and the block of its output where one follows at once.
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:^```\n(.*?)^```\n)?", re.M | re.S)


def run_page(text: str) -> list[tuple[str, str, str]]:
    """(code, shown output, printed output) of each block."""
    names: dict[str, Any] = {}
    found = []
    for block in BLOCK.finditer(text):
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(compile(block[1], f"{PAGE.name}: {block[1].splitlines()[0]}", "exec"), names)
        found.append((block[1], block[2] or "", printed.getvalue()))
    return found


def test_the_page_runs_and_shows_what_is_printed() -> None:
    pytest.importorskip("llguidance")
    try:
        smollm_as_llama4.ensure_demo()
    except CheckpointError as error:
        pytest.skip(str(error))
    blocks = run_page(PAGE.read_text(encoding="utf-8"))
    assert len(blocks) == PAGE.read_text(encoding="utf-8").count("```python\n")
    for code, shown, printed in blocks:
        if shown or "print" in code:
            assert printed.rstrip("\n") == shown.rstrip("\n"), code


if __name__ == "__main__":  # writes the printed outputs into the page
    text = PAGE.read_text(encoding="utf-8")
    for code, shown, printed in run_page(text):
        block = f"```python\n{code}```\n```\n"
        text = text.replace(f"{block}{shown}```\n", f"{block}{printed.rstrip()}\n```\n")
    PAGE.write_text(text, encoding="utf-8")
