"""files.py: regular files only, bounded, written whole or not at all."""

import os
import stat
from pathlib import Path

import pytest

from shoestring.errors import RequestError
from shoestring.files import open_regular, read_bytes, read_text, write_whole


def test_reading_follows_links_and_is_bounded(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    (tmp_path / "link").symlink_to(file)
    assert read_bytes(tmp_path / "link", 5) == b"12345"
    with pytest.raises(RequestError, match="more than 4 bytes"):
        read_bytes(file, 4)
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "none", 4)
    file.write_bytes(b"\xff")
    with pytest.raises(RequestError, match="not UTF-8"):
        read_text(file, 4)


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, kind in ((tmp_path / "pipe", "a pipe"), (tmp_path, "a folder"), (Path("/dev/zero"), "a device")):
        with pytest.raises(RequestError, match=f"is {kind}"):
            open_regular(path)
    with pytest.raises(RequestError, match="null"):
        open_regular(Path("a\0b"))


def test_writing_is_whole_and_keeps_permissions(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"old")
    file.chmod(0o640)

    def write_half() -> None:
        with write_whole(file) as out:
            out.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert file.read_bytes() == b"old"
    with write_whole(file) as out:
        out.write(b"new")
    assert file.read_bytes() == b"new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_only_regular_files_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.iterdir())
    for name in ("link", "dangling", "folder", "pipe"):
        with pytest.raises(RequestError, match=name), write_whole(tmp_path / name):
            raise AssertionError("the block ran")
    with pytest.raises(RequestError, match="a device"), write_whole(Path("/dev/null")):
        raise AssertionError("the block ran")
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "target").read_bytes() == b"old"
