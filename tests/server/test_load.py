"""A short run of bench/mixed_load.py; `make deep` runs all of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import mixed_load
import pytest


@pytest.fixture(scope="module")
def file() -> Iterator[Path]:
    with mixed_load.tiny_model() as file:
        yield file


@pytest.mark.parametrize("requests", [80, pytest.param(500, marks=pytest.mark.deep)])
def test_a_mixed_load_breaks_nothing(file: Path, requests: int) -> None:
    assert mixed_load.check(file, requests, at_once=12, seed=1) == []
