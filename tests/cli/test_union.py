"""The licence's line in the European Union: where, for which models, and how often."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable
from pathlib import Path

import pytest

from shoestring.cli.union import ZONES, licence_line, time_zone

BERLIN = {"TZ": "Europe/Berlin"}


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "kept"
    monkeypatch.setattr("platformdirs.user_data_dir", lambda *_, **__: str(folder))
    return folder


def test_it_is_said_once(kept: Path) -> None:
    line = licence_line("llama4", "scout.gguf", BERLIN)
    assert line is not None
    assert "\n" not in line
    assert "Europe/Berlin" in line
    assert "the rights granted under Section 1(a)" in line
    assert "does not apply to end users" in line
    assert licence_line("llama4", "scout.gguf", BERLIN) is None


@pytest.mark.parametrize(
    ("family", "name", "zone"),
    [
        ("qwen3_5", "qwen.gguf", "Europe/Berlin"), ("llama4", None, "Europe/Berlin"), ("llama4", "s", "Europe/London"),
        ("llama4", "demo-llama4", "Europe/Berlin"), ("llama4", "s", "Asia/Tokyo"), ("llama4", "s", "Europe/Zurich"),
    ],
)  # fmt: skip
def test_it_is_not_said_elsewhere(kept: Path, family: str, name: str | None, zone: str) -> None:
    assert licence_line(family, name, {"TZ": zone}) is None
    assert not kept.exists()


def test_a_folder_that_cannot_be_written_does_not_hide_it(kept: Path) -> None:
    kept.write_text("a file")
    assert all(licence_line("llama4", "scout.gguf", BERLIN) is not None for _ in range(2))


@pytest.mark.parametrize(
    ("made", "zone"),
    [
        (lambda etc: (etc / "localtime").symlink_to("/usr/share/zoneinfo/Europe/Vienna"), "Europe/Vienna"),
        (lambda etc: (etc / "timezone").write_text("Europe/Rome\n"), "Europe/Rome"),
        (lambda etc: (etc / "timezone").write_bytes(b"\xff"), ""),
        (lambda etc: None, ""),
    ],
)
def test_the_zone_of_the_machine(tmp_path: Path, made: Callable[[Path], object], zone: str) -> None:
    made(tmp_path)
    assert time_zone({}, tmp_path) == zone
    assert time_zone({"TZ": ":/usr/share/zoneinfo/Europe/Paris"}, tmp_path) == "Europe/Paris"


def test_every_zone_exists() -> None:
    known = zoneinfo.available_timezones()
    assert not known or known >= ZONES
