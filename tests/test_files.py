"""files.py: regular files only, bounded, written whole or not at all."""

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shoestring.errors import CheckpointError, RequestError
from shoestring.files import (
    locked,
    named_path,
    open_locked,
    open_regular,
    read_bytes,
    read_input,
    read_input_text,
    read_text,
    remove_unlocked,
    write_whole,
)


def test_a_path_that_a_user_writes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert named_path("~/x") == tmp_path / "x"
    assert named_path("a/~b") == Path("a/~b")
    with pytest.raises(RequestError, match=r"^~no-such-user/x is not a path: its ~ names no user"):
        named_path("~no-such-user/x")
    with pytest.raises(CheckpointError, match="has a zero byte"):
        named_path("a\0b", CheckpointError)


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


def test_a_new_file_has_the_permissions_that_the_user_chose(tmp_path: Path) -> None:
    """Threads beside it see no other umask meanwhile."""
    stop = threading.Event()
    modes = set()

    def create() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            path = tmp_path / f"beside-{number}"
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o666))
            modes.add(stat.S_IMODE(path.stat().st_mode))
            path.unlink()

    before = os.umask(0o027)
    thread = threading.Thread(target=create)
    try:
        thread.start()
        for number in range(300):
            with write_whole(tmp_path / f"file-{number}") as file:
                file.write(b"x")
        assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("file-*")} == {0o640}
    finally:
        stop.set()
        thread.join()
        os.umask(before)
    assert modes == {0o640}


HALF = """
import sys, time
from pathlib import Path
from shoestring.files import write_whole
with write_whole(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    time.sleep(100)
"""


def test_a_killed_writer_leaves_nothing_for_long(tmp_path: Path) -> None:
    """The next writer of the same file removes what it left, but nothing of a running writer or of another file."""
    target, other = tmp_path / "target", tmp_path / "target.more"
    unrelated = [tmp_path / ".target.part", tmp_path / ".target.notes.part", tmp_path / f".target.{'g' * 16}.part"]
    for path in unrelated:
        path.write_bytes(b"mine")
    children = [
        subprocess.Popen([sys.executable, "-c", HALF, str(path)], stdout=subprocess.PIPE)
        for path in (target, target, other)
    ]
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == b"writing\n"
        for child in (children[0], children[2]):
            child.send_signal(signal.SIGKILL)
            child.wait()
        parts = {path for path in tmp_path.iterdir() if path not in unrelated}
        assert len(parts) == 3
        with write_whole(target) as file:
            file.write(b"whole")
        left = {path for path in tmp_path.iterdir() if path not in unrelated} - {target}
        assert left < parts
        assert len(left) == 2  # of the running writer, and of the other file
        with write_whole(other) as file:
            file.write(b"whole")
        children[1].send_signal(signal.SIGKILL)
        children[1].wait()
        with write_whole(target) as file:
            file.write(b"whole")
        assert set(tmp_path.iterdir()) == {target, other, *unrelated}
    finally:
        for child in children:
            child.kill()
            child.wait()
            assert child.stdout is not None
            child.stdout.close()


def test_many_writers_of_one_file(tmp_path: Path) -> None:
    """Each of them succeeds, and the file is always one of theirs: none removes what another one is writing."""
    target = tmp_path / "target"

    def write(number: int) -> None:
        with write_whole(target) as file:
            file.write(b"%d" % number * 1000)

    with ThreadPoolExecutor(8) as executor:
        for _ in executor.map(write, range(200)):
            data = target.read_bytes()
            assert len(set(data.split(data[:4]))) <= 4
            assert len(data) in (1000, 2000, 3000)
    assert os.listdir(tmp_path) == ["target"]


def test_a_lock_lets_one_in_and_leaves_nothing(tmp_path: Path) -> None:
    inside, most = 0, 0

    def enter(_: int) -> None:
        nonlocal inside, most
        with locked(tmp_path / "target"):
            inside += 1
            most = max(most, inside)
            time.sleep(0.001)
            inside -= 1

    with ThreadPoolExecutor(8) as executor:
        list(executor.map(enter, range(100)))
    assert most == 1
    assert os.listdir(tmp_path) == []


def test_only_unlocked_regular_files_are_removed(tmp_path: Path) -> None:
    path, pipe = tmp_path / "file", tmp_path / "pipe"
    descriptor = open_locked(path)
    remove_unlocked(path)
    assert path.exists()
    os.close(descriptor)
    remove_unlocked(path)
    assert not path.exists()
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to(pipe)
    for other in (pipe, tmp_path / "link"):
        remove_unlocked(other)
        with pytest.raises(OSError, match=r"not a file|symbolic"):
            open_locked(other)
    assert pipe.is_fifo()
    assert (tmp_path / "link").is_symlink()


# --- inputs, which may be pipes ------------------------------------------------------------------------------------

READ = """
import sys
from pathlib import Path
from shoestring.files import read_input_text
from shoestring.errors import RequestError
try:
    print(repr(read_input_text(Path(sys.argv[1]), 1 << 20)[:20]))
except RequestError as error:
    print(error)
"""


def read_by(shell: str) -> str:
    """What READ prints in a shell's command; $READ is the program."""
    environment = {**os.environ, "READ": READ, "PYTHON": sys.executable}
    done = subprocess.run(
        ["bash", "-c", shell], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert not done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("shell", "says"),
    [
        ('echo hi | $PYTHON -c "$READ" -', r"'hi\n'"),
        ('echo hi | $PYTHON -c "$READ" /dev/stdin', r"'hi\n'"),
        ('$PYTHON -c "$READ" <(echo hi)', r"'hi\n'"),
        ('$PYTHON -c "$READ" /dev/null', "/dev/null is a device, not a file"),
        ('$PYTHON -c "$READ" - < /dev/null', "''"),
        ('yes | $PYTHON -c "$READ" - ', "stdin has more than 1,048,576 bytes, the most that such a file may have"),
        ('$PYTHON -c "$READ" - < /dev/zero', "stdin is a device, not a file or a pipe"),
        ('$PYTHON -c "$READ" /dev/fd/9 9< /', "/dev/fd/9 cannot be read (Is a directory)"),
        ('$PYTHON -c "$READ" /dev/fd/77', "/dev/fd/77 cannot be read (Bad file descriptor)"),
        ('$PYTHON -c "$READ" - <&-', "stdin is closed: give a file"),
        ("printf '\\377' | $PYTHON -c \"$READ\" -", "stdin is not UTF-8 text (byte 0): convert it to UTF-8 first"),
    ],
)
def test_descriptors_may_be_pipes_but_have_a_bound(shell: str, says: str) -> None:
    assert read_by(shell) == says


def test_named_pipes_and_large_files_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RequestError, match="is a pipe, not a file"):
        read_input(tmp_path / "pipe", 10)
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 40)  # a hole
    with pytest.raises(RequestError, match="more than 10 bytes"):
        read_input(tmp_path / "large", 10)
    with pytest.raises(RequestError, match="No such file"):
        read_input_text(tmp_path / "none", 10)
