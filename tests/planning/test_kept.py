"""The bandwidth of this machine is measured once, and kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from shoestring.catalogue.load import builtin_catalogue
from shoestring.planning.hardware import kept
from shoestring.planning.hardware.detect import detect


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def test_it_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = iter([48e9, 12e9, 50e9])
    monkeypatch.setattr(kept, "measure", lambda threads: next(rates))
    assert [detect(builtin_catalogue()).ram_bandwidth for _ in range(3)] == [48e9] * 3
    assert kept.bandwidth("other", 2)[0] == 12e9
    assert kept.bandwidth("other", 2, again=True)[0] == 50e9
    assert kept.bandwidth("other", 2)[0] == 50e9


@pytest.mark.parametrize("text", ["", "{", "[]", '{"bytes_per_second": -1, "date": "x"}', '{"bytes_per_second": "x"}'])
def test_a_broken_file_is_measured_again(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(kept, "measure", lambda threads: 7e9)
    file = kept.folder("here") / kept.FILE
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert kept.bandwidth("here", 2)[0] == 7e9


def test_an_unwritable_folder_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(kept, "measure", lambda threads: 7e9)
    assert kept.bandwidth("here", 2)[0] == 7e9


def test_copying_is_plausible() -> None:
    assert 1e8 < kept.measure(2) < 1e13
