"""Fixtures: commands use a scripted model, and read stdin from a test."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import pytest

from shoestring.cli.models import chat, perplexity, run_command
from shoestring.runtime.model import Model


@pytest.fixture(autouse=True)
def _own_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Measurements of `bench` go to a folder of the test, not to the user's."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Model], None]:
    """Make every command load this model."""

    def install(model: Model) -> None:
        for module in (run_command, chat, perplexity):
            monkeypatch.setattr(module, "load_model", lambda name, **options: model)

    return install


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | bytes], None]:
    """Set the text on stdin, which is not a terminal."""

    def install(text: str | bytes) -> None:
        data = text.encode() if isinstance(text, str) else text
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))

    return install
