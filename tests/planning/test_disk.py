"""The speed of a disk: measured by random reads, kept, used by plan."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from shoestring import ops
from shoestring.catalogue.load import builtin_catalogue
from shoestring.errors import RequestError
from shoestring.planning.hardware import detect, kept
from shoestring.planning.hardware.disk import DiskSpeed, mount_point, read_speed


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(kept, "measure", lambda threads: 7e9)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(4 << 20))
    with path.open("rb") as opened:
        os.fsync(opened.fileno())
    return path


def test_all_bytes_of_all_reads_count(file: Path) -> None:
    speed = read_speed(file, 100_001, 3, seconds=0.2)  # neither offsets nor lengths are aligned
    assert speed.reads > 3
    assert 1e6 < speed.bytes_per_second < 1e12
    assert (speed.read_bytes, speed.in_flight) == (100_001, 3)


def test_a_file_system_without_direct_reads(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "File", partial(ops.File, buffered=True))
    speed = read_speed(file, 1 << 16, 2, seconds=0.1)
    assert not speed.direct
    assert speed.reads > 2


@pytest.mark.parametrize(("read_bytes", "in_flight"), [(5 << 20, 1), (1 << 20, 4)])
def test_a_short_file_is_refused(file: Path, read_bytes: int, in_flight: int) -> None:
    with pytest.raises(RequestError, match=r"has 4194304 bytes, too few for \d reads of \d+: name a larger file"):
        read_speed(file, read_bytes, in_flight)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="does not exist"):
        read_speed(tmp_path / "missing", 1, 1)


def test_plan_uses_the_disk_of_the_home_folder() -> None:
    assert not detect.detect(builtin_catalogue()).disk_known
    key = detect.this_key()
    kept.remember_disk(key, "/other disk", DiskSpeed(9e9, 1 << 20, 8, True, 100))
    assert detect.detect(builtin_catalogue()).disk_bandwidth == 9e9
    kept.remember_disk(key, mount_point(Path.home()), DiskSpeed(1e9, 1 << 20, 8, True, 100))
    kept.remember_disk(key, mount_point(Path.home()), DiskSpeed(2e9, 1 << 20, 8, True, 100))
    machine = detect.detect(builtin_catalogue())
    assert machine.disk_known
    assert machine.disk_bandwidth == 2e9
    assert any("reads 2 GB/s at random" in note for note in machine.notes)
    assert len(kept.kept_disks(key)) == 2


ROW = '[{"mount_point": "/", "bytes_per_second": %s, "read_bytes": 1, "in_flight": 1, "date": ""}]'


@pytest.mark.parametrize("text", ["", "{", "{}", "[1]", ROW % -1, ROW % '"x"', ROW % "[]"])
def test_a_broken_record_is_none(text: str) -> None:
    record = kept.folder("here") / kept.DISKS_FILE
    record.parent.mkdir(parents=True)
    record.write_text(text)
    assert kept.kept_disks("here") == ()
    kept.remember_disk("here", "/", DiskSpeed(1e9, 1 << 20, 8, True, 100))
    assert [disk.mount_point for disk in kept.kept_disks("here")] == (["/"] if text[:1] in ("[", "") else [])


def test_an_unwritable_folder_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "blocked").write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "blocked"))
    kept.remember_disk("here", "/", DiskSpeed(1e9, 1 << 20, 8, True, 100))
    assert kept.kept_disks("here") == ()


def test_mount_points() -> None:
    assert mount_point(Path("/")) == "/"
    assert os.path.ismount(mount_point(Path(__file__)))
