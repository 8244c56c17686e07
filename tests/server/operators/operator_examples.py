"""The files of examples/operators, with the places that a test has to change."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parents[3] / "examples" / "operators"


def text_of(name: str, **changes: str) -> str:
    """An example, each key of `changes` replaced by its value. Raises AssertionError unless it occurs."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    for old, new in changes.items():
        assert old in text, f"{name} has no {old!r}"
        text = text.replace(old, new)
    return text
