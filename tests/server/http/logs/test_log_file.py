"""--log-file: appended to, never somebody else's file, followed when it is rotated, and no reason to wait or stop."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from shoestring.errors import RequestError, ShoestringError
from shoestring.server.http.logs import log_writer
from shoestring.server.http.logs.lines import Style
from shoestring.server.http.logs.log_file import LogFile, check_log_file, open_log_file
from shoestring.server.http.logs.log_writer import LogWriter
from shoestring.server.http.record import Record
from shoestring.server.http.settings import Settings

STYLE = Style(dated=True)
#: How our lines begin.
LINE = "2026-11-29 14:02:11  "


def until(condition: Any) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.005)


def has(path: Path, text: str) -> bool:
    return path.exists() and text in path.read_text()


def writer_of(path: Path) -> LogWriter:
    return LogWriter(LogFile(path, STYLE).descriptor, STYLE)


@pytest.mark.parametrize("as_json", [False, True])
def test_a_log_is_continued(as_json: bool, tmp_path: Path) -> None:
    path = tmp_path / "log"
    style = Style(as_json, dated=True)
    for number in range(3):
        file = open_log_file(Settings(log_file=str(path), json_log=as_json))
        assert file is not None
        writer = LogWriter(file.descriptor, style)
        writer(style.request(Record(method="GET", path=f"/{number}", status=200)))
        writer(style.message("stopped"))
        assert writer.close(10)
    lines = path.read_text().splitlines()
    assert len(lines) == 6
    if as_json:
        assert [json.loads(line).get("path") for line in lines] == ["/0", None, "/1", None, "/2", None]
    else:
        assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ", line) for line in lines)


@pytest.mark.parametrize(
    "kind", ["folder", "pipe", "link", "device", "other", "binary", "read-only", "nowhere", "zero"]
)
def test_what_is_no_log_is_refused_and_unchanged(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    target: Path | str = path
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "link":
            (tmp_path / "file").write_text("")
            path.symlink_to("file")
        case "device":
            target = "/dev/null"
        case "other":
            path.write_text("my thesis\n")
        case "binary":
            path.write_bytes(b"GGUF\x03\x00" * 1000)
        case "read-only":
            path.write_text("")
            path.chmod(0o444)
        case "nowhere":
            target = tmp_path / "none" / "log"
        case "zero":
            target = "a\0b"
    before = path.read_bytes() if path.is_file() else None
    settings = Settings(log_file=str(target))
    for use in (check_log_file, open_log_file):
        with pytest.raises(ShoestringError) as caught:
            use(settings)
        assert "\n" not in str(caught.value)
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_check_creates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert check_log_file(Settings(log_file=str(path))) == str(path)
    assert not path.exists()


def test_a_renamed_file_is_followed(tmp_path: Path) -> None:
    """As logrotate does with `create`, and without it."""
    path = tmp_path / "log"
    writer = writer_of(path)
    writer(f"{LINE}one")
    until(lambda: has(path, "one"))
    path.rename(tmp_path / "log.1")
    writer(f"{LINE}two")
    until(lambda: has(path, "two"))
    path.rename(tmp_path / "log.2")
    path.touch()
    writer(f"{LINE}three")
    until(lambda: has(path, "three"))
    path.unlink()
    writer(f"{LINE}four")
    assert writer.close(10)
    texts = [(tmp_path / name).read_text() for name in ("log.1", "log.2", "log")]
    assert texts == [f"{LINE}{word}\n" for word in ("one", "two", "four")]


def test_a_truncated_file_goes_on_at_its_beginning(tmp_path: Path) -> None:
    """As logrotate does with `copytruncate`."""
    path = tmp_path / "log"
    writer = writer_of(path)
    writer(f"{LINE}one")
    until(lambda: has(path, "one"))
    os.truncate(path, 0)
    writer(f"{LINE}two")
    assert writer.close(10)
    assert path.read_text() == f"{LINE}two\n"


def test_a_rotation_that_fails_keeps_the_old_file(tmp_path: Path) -> None:
    path, old = tmp_path / "log", tmp_path / "log.1"
    writer = writer_of(path)
    writer(f"{LINE}one")
    until(lambda: has(path, "one"))
    path.rename(old)
    path.write_text("somebody else's\n")
    writer(f"{LINE}two")
    writer(f"{LINE}three")
    until(lambda: has(old, "three"))
    path.unlink()
    writer(f"{LINE}four")
    assert writer.close(10)
    first, problem, *more = old.read_text().splitlines()
    assert (first, more) == (f"{LINE}one", [f"{LINE}two", f"{LINE}three"])
    assert "is no log of `serve`" in problem
    assert path.read_text() == f"{LINE}four\n"


def test_a_full_disk_loses_lines_counts_them_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    free = [40]
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        if free[0] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        size = min(free[0], len(data))
        free[0] -= size
        return real(descriptor, data[:size])

    monkeypatch.setattr(log_writer.os, "write", write)
    writer = writer_of(path)
    for number in range(5):
        writer(f"{LINE}line {number}")
    until(lambda: free[0] == 0 and not writer._lines)
    free[0] = 1 << 20
    writer(f"{LINE}after")
    assert writer.close(10)
    whole, torn, note, after = path.read_text().splitlines()
    assert (whole, torn) == (f"{LINE}line 0", f"{LINE}line 1"[:12])
    assert note.endswith("  4 log lines could not be written (No space left on device)")
    assert after == f"{LINE}after"


def test_a_real_full_disk(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root mounts a small disk")
    try:
        file = LogFile(folder / "log", STYLE)
        writer = LogWriter(file.descriptor, STYLE)
        for number in range(900):
            writer(f"{LINE}{number} " + "x" * 400)
        until(lambda: not writer._lines)
        os.truncate(folder / "log", 0)
        writer(f"{LINE}after")
        assert writer.close(10)
        os.close(file.descriptor())
        text = (folder / "log").read_text()
        assert re.search(r"\d+ log lines could not be written \(No space left on device\)\n.*after\n$", text)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_process_rotates_and_survives_the_signal_of_tools(tmp_path: Path) -> None:
    """The whole command: its requests are in FILE and not on stderr, before and after a rotation with SIGHUP."""
    import httpx

    path = tmp_path / "log"
    command = [sys.executable, "-m", "shoestring", "serve", "demo-scripted", "--port", "0", "--log-file", str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stderr is not None
            while " open " not in (line := server.stderr.readline()):
                assert line
            url = line.split()[1]
            assert _asked(httpx, f"{url}/v1/nothing") == 404
            until(lambda: has(path, "/v1/nothing"))
            path.rename(tmp_path / "log.1")
            server.send_signal(signal.SIGHUP)
            assert _asked(httpx, f"{url}/v1/nobody") == 404
            until(lambda: has(path, "/v1/nobody"))
            server.terminate()
            assert server.wait(30) == 0
            assert "404" not in server.stderr.read()
        finally:
            server.kill()
    assert path.read_text().endswith("  stopped\n")
    assert "/v1/nobody" not in (tmp_path / "log.1").read_text()
    assert (tmp_path / "log.1").read_text().count("\n") == 1


def _asked(httpx: Any, url: str) -> int:
    end = time.monotonic() + 30
    while True:
        try:
            return int(httpx.get(url, timeout=30).status_code)
        except httpx.TransportError:
            assert time.monotonic() < end


def test_an_unreadable_setting_is_refused() -> None:
    with pytest.raises(RequestError, match="names no user"):
        open_log_file(Settings(log_file="~nobody-here/log"))
