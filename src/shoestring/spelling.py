"""How errors spell an option: as a keyword of Python's API, or as an option of the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

#: Keywords whose option has another name.
_OPTIONS = {"use": "for", "budget_usd_month": "budget-usd"}

_as_option = False


def option(keyword: str) -> str:
    """The name of an option for an error: `cache_memory`, or `--cache-memory` on the command line."""
    return f"--{_OPTIONS.get(keyword, keyword).replace('_', '-')}" if _as_option else keyword


@contextmanager
def command_line() -> Iterator[None]:
    """Inside the block, this process is the command line. Holds for all its threads."""
    global _as_option
    before, _as_option = _as_option, True
    try:
        yield
    finally:
        _as_option = before
