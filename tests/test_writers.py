"""Every writer of a file that a user names: it replaces its own kind of file, and nothing else, whole or not at all."""

from __future__ import annotations

import ast
import json
import os
import resource
import socket
import stat
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_checkpoints import gguf_metadata, gguf_tensors, hugging_face_config, tiny, write_gguf_file

from shoestring.checkpoint.formats.gguf import open_gguf
from shoestring.checkpoint.formats.gguf_write import OutgoingTensor, write_gguf
from shoestring.cli.advise import bench, plan
from shoestring.cli.models import conversation
from shoestring.cli.serve import batch_files
from shoestring.errors import ShoestringError
from shoestring.files import write_whole
from shoestring.planning import measured
from shoestring.planning.report.page import BEGINNING
from shoestring.samples.demo_qwen3_5 import hugging_face
from shoestring.streaming.routes import MAGIC, RouteRecorder
from shoestring.streaming.slots import ExpertBytes

SOURCE = Path(__file__).parents[1] / "src" / "shoestring"
#: More than the small disk of these tests.
LARGE = 300_000


@dataclass(frozen=True)
class Writer:
    """write(path, folder): writes `path`; `folder` is for other files. own: contents that it may replace."""

    write: Callable[[Path, Path], Any]
    own: bytes = b""
    target: str = "target"


def whole(path: Path, folder: Path) -> None:
    with write_whole(path) as file:
        file.write(bytes(LARGE))


def gguf_file(path: Path, folder: Path) -> None:
    write_gguf(path, {}, [OutgoingTensor("t", "F32", (LARGE // 4,), lambda: [bytes(LARGE)])])


def synthetic(path: Path, folder: Path) -> None:
    config = folder / "config.json"
    config.write_text(json.dumps(hugging_face_config(tiny("scout"), multimodal=False)))
    bench.write(config, None, "F32", path)


def saved(path: Path, folder: Path) -> None:
    conversation.save(path, [{"role": "user", "content": "x" * LARGE}])


def page(path: Path, folder: Path) -> None:
    plan._write(path, BEGINNING + "x" * LARGE)


def measurement(path: Path, folder: Path) -> None:
    facts = {"model": "m", "decode_tokens_per_second": 1.0, "prefill_tokens_per_second": 1.0, "samples": "x" * LARGE}
    if measured.remember(facts, Path("/models/m")) is None:
        raise ShoestringError("not saved")


def folder_of_safetensors(path: Path, folder: Path) -> None:
    model = tiny("qwen-mixture")
    source = open_gguf(write_gguf_file(folder / "m.gguf", gguf_metadata(model), gguf_tensors(model)))
    hugging_face.export(source, path)


def batch_output(path: Path, folder: Path) -> None:
    with batch_files.open_output(path, folder / "in", {"a"}) as (descriptor, _):
        answer = {"id": "batch_req_1", "custom_id": "a", "response": {"status_code": 200, "body": "x" * LARGE}}
        batch_files.append(descriptor, path, answer)


#: A GGUF file of version 3 without tensors, and one of its two names.
NAMED = "<4sIQQQ12sIQ{0}s"
SYNTHETIC = struct.pack(NAMED.format(12), b"GGUF", 3, 0, 1, 12, b"general.name", 8, 12, b"synthetic ab")
MODEL = struct.pack(NAMED.format(12), b"GGUF", 3, 0, 1, 12, b"general.name", 8, 12, b"my own model")


def routes(path: Path, folder: Path) -> None:
    recorder = RouteRecorder(path, "m", [ExpertBytes(0, 8, 64, 64)], 2, [].append)
    recorder.record(0, np.zeros((40_000, 2), np.int32))
    recorder.save()


WRITERS = {
    "--record-routes": Writer(routes, MAGIC),
    "files.write_whole": Writer(whole),
    "GGUF files, conversions": Writer(gguf_file, b"GGUF of before"),
    "bench --output": Writer(synthetic, SYNTHETIC),
    "/save": Writer(saved, b"[]"),
    "plan --html": Writer(page, BEGINNING.encode() + b"old"),
    "bench, for plan": Writer(measurement, b'{"old": 1}', "models-m.json"),
    "demo export": Writer(folder_of_safetensors),
    "batch OUT": Writer(batch_output, b'{"id": "batch_req_0", "custom_id": "a", "response": {"status_code": 200}}\n'),
}


@pytest.fixture(params=WRITERS)
def writer(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Writer:
    monkeypatch.setattr(measured, "folder", lambda: tmp_path / "there")
    (tmp_path / "there").mkdir()
    return WRITERS[request.param]


def contents(folder: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Name → kind and permissions, inode, device number, contents."""
    result = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        data = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        result[str(path)] = (status.st_mode, status.st_ino, status.st_rdev, data)
    return result


@contextmanager
def refused(writer: Writer, tmp_path: Path) -> Iterator[Path]:
    """The target, for an obstacle to be put there; then the writer has to refuse it, and change nothing."""
    target = tmp_path / "there" / writer.target
    yield target
    before = contents(tmp_path / "there")
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(ShoestringError) as caught:
        writer.write(target, other)
    assert "\n" not in str(caught.value)
    assert contents(tmp_path / "there") == before


@pytest.mark.parametrize("kind", ["link to a file", "link to nothing", "folder", "pipe", "socket"])
def test_other_kinds_of_files_are_refused(writer: Writer, kind: str, tmp_path: Path) -> None:
    with refused(writer, tmp_path) as target:
        (target.parent / "file").write_bytes(writer.own)
        if kind == "link to a file":
            target.symlink_to("file")
        elif kind == "link to nothing":
            target.symlink_to("nothing")
        elif kind == "folder":
            target.mkdir()
            (target / "file").write_bytes(b"x")
        elif kind == "pipe":
            os.mkfifo(target)
        else:
            with socket.socket(socket.AF_UNIX) as unix:
                unix.bind(os.path.relpath(target))


@pytest.mark.parametrize("minor", [3, 5, 7], ids=["null", "zero", "full"])
def test_a_device_is_refused(writer: Writer, minor: int, tmp_path: Path) -> None:
    with refused(writer, tmp_path) as target:
        try:
            os.mknod(target, stat.S_IFCHR | 0o666, os.makedev(1, minor))
        except PermissionError:
            pytest.skip("only root makes devices")


def test_a_read_only_file_is_refused(writer: Writer, tmp_path: Path) -> None:
    with refused(writer, tmp_path) as target:
        target.write_bytes(writer.own)
        target.chmod(0o444)


@pytest.mark.parametrize(
    "data",
    [b"my thesis\n", b"\x00\x01", b'["no messages"]', b'{"custom_id": "a"}\n', b"<!doctype html><p>my page", MODEL],
)
def test_an_unrelated_file_is_refused(writer: Writer, data: bytes, tmp_path: Path) -> None:
    if not writer.own and writer.write is whole:
        pytest.skip("this writer replaces any regular file")
    if writer.write is measurement and data.startswith(b"{"):
        pytest.skip("this writer has a folder of its own")
    if writer.write is gguf_file and data is MODEL:
        pytest.skip("each of its commands decides which GGUF file to replace")
    with refused(writer, tmp_path) as target:
        target.write_bytes(data)


def test_its_own_file_is_replaced_whole(writer: Writer, tmp_path: Path) -> None:
    if writer.write is folder_of_safetensors:
        pytest.skip("only into a new or an empty folder")
    target, other = tmp_path / "there" / writer.target, tmp_path / "other"
    other.mkdir()
    for data in (None, writer.own, b""):
        if data is not None:
            target.write_bytes(data)
            target.chmod(0o640)
        writer.write(target, other)
        assert target.stat().st_size > 10_000
        assert data is None or stat.S_IMODE(target.stat().st_mode) == 0o640
        assert os.listdir(target.parent) == [target.name]


@pytest.mark.parametrize("existed", [False, True])
def test_a_write_that_fails_half_way_changes_nothing(writer: Writer, existed: bool, tmp_path: Path) -> None:
    if writer.write is folder_of_safetensors:
        pytest.skip("the library writes; tests/samples has its failures")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with refused(writer, tmp_path) as target:
        if existed or writer.write is batch_output:
            target.write_bytes(writer.own)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))  # the first byte behind is refused, as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(autouse=True)
def usual_limit() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_changes_nothing(writer: Writer, tmp_path: Path) -> None:
    there = tmp_path / "there"
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(there)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root mounts a small disk")
    try:
        target = there / writer.target
        if writer.write is not folder_of_safetensors:
            target.write_bytes(writer.own)
        (tmp_path / "other").mkdir()
        before = contents(there)
        with pytest.raises(ShoestringError, match=r"disk|not saved"):
            writer.write(target, tmp_path / "other")
        assert contents(there) == before
    finally:
        subprocess.run(["umount", str(there)], check=True)


# --- nothing else writes or reads ----------------------------------------------------------------------------------

OPENERS = {"open", "fdopen", "read_text", "read_bytes", "write_text", "write_bytes", "mkstemp", "NamedTemporaryFile"}
REPLACERS = {"replace", "rename", "copyfile", "copy", "copymode", "move", "rmtree"}  # of os and shutil
#: (file, call) → why it is no file that a user names
ALLOWED = {
    ("files.py", "open"): "the one place",
    ("files.py", "fdopen"): "the one place",
    ("files.py", "replace"): "the one place",
    ("checkpoint/text/foreign_words_child.py", "read_text"): "/proc",
    ("cli/app.py", "open"): "os.devnull",
    ("cli/union.py", "read_text"): "/etc/timezone",
    ("cli/app.py", "fdopen"): "os.devnull",
    ("cli/advise/bench.py", "read_text"): "/proc",
    ("cli/advise/bench_disk.py", "NamedTemporaryFile"): "its own file, to read it back",
    ("cli/serve/batch_files.py", "fdopen"): "OUT",
    ("hub.py", "fdopen"): "partial downloads, under a lock",
    ("planning/candidates/candidates.py", "read_text"): "a file of the package",
    ("media/child.py", "fdopen"): "an inherited descriptor",
    ("media/child.py", "open"): "the same",
    ("media/child.py", "read_text"): "/proc",
    ("media/children.py", "fdopen"): "a file in memory",
    ("media/picture.py", "open"): "bytes",
    ("output/trials/child.py", "open"): "/proc",
    ("planning/hardware/detect.py", "read_text"): "/proc",
    ("planning/hardware/kept.py", "read_text"): "/sys",
    ("runtime/loading.py", "open"): "/sys",
    ("runtime/memory.py", "read_text"): "/sys and /proc",
    ("samples/demo_qwen3_5/hugging_face.py", "copymode"): "of what it wrote",
    ("samples/demo_qwen3_5/hugging_face.py", "serialize_file"): "after check_writable",
    ("server/http/run.py", "open"): "os.devnull",
    ("server/page/routes.py", "read_bytes"): "a file of the package",
}


def test_nothing_else_opens_files() -> None:
    seen = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            function, name = node.func, ""
            if isinstance(function, ast.Name) and function.id in ("open", "serialize_file", "save_file"):
                name = function.id
            elif isinstance(function, ast.Attribute) and function.attr in OPENERS:
                name = function.attr
            elif isinstance(function, ast.Attribute) and function.attr in REPLACERS:
                module = function.value.id if isinstance(function.value, ast.Name) else ""
                name = function.attr if module in ("os", "shutil") else ""
            if name:
                seen.add((path.relative_to(SOURCE).as_posix(), name))
    assert seen == set(ALLOWED)
