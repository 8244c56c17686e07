"""The GGUF writer: read back by the `gguf` package; whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gguf
import numpy as np
import pytest

from shoestring.checkpoint.formats.gguf_write import OutgoingTensor, write_gguf
from shoestring.errors import CapacityError, CheckpointError, ShoestringError

METADATA: dict[str, Any] = {
    "general.architecture": "llama4",
    "a.string": "žluťoučký 🐎",
    "a.empty": "",
    "a.true": True,
    "a.u32": 7,
    "a.i64": -7,
    "a.f32": 0.5,
    "a.f64": np.float64(0.1),
    "a.u64": np.uint64(1 << 40),
    "a.strings": ["x", "", "é"],
    "a.ints": [3, -1, 2],
    "a.floats": np.asarray([0.25, -1e30], dtype=np.float32),
    "a.bools": [True, False],
}


def tensor(name: str, kind: str, shape: tuple[int, ...], seed: int = 0) -> tuple[OutgoingTensor, bytes]:
    blank = OutgoingTensor(name, kind, shape, list)
    data = np.random.default_rng(seed).integers(0, 255, blank.nbytes, dtype=np.uint8)
    half = data.size // 2
    return OutgoingTensor(name, kind, shape, lambda: [data[:half], data[half:].tobytes()]), data.tobytes()


def test_read_back_by_the_gguf_package(tmp_path: Path) -> None:
    kinds = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q4_K", "Q5_K", "Q6_K"]
    pairs = [tensor(f"t.{kind}", kind, (3, 5, 256), i) for i, kind in enumerate(kinds)] + [tensor("v", "F32", (7,))]
    write_gguf(tmp_path / "m.gguf", METADATA, [t for t, _ in pairs])
    reader = gguf.GGUFReader(str(tmp_path / "m.gguf"))
    for key, value in METADATA.items():
        got = reader.fields[key].contents()
        assert got == (value.tolist() if isinstance(value, np.ndarray | np.generic) else value), key
    types = {key: reader.fields[key].types[-1].name for key in METADATA}
    assert types["a.u32"] == "UINT32"
    assert types["a.i64"] == "INT64"
    assert types["a.u64"] == "UINT64"
    assert (types["a.f32"], types["a.f64"]) == ("FLOAT32", "FLOAT64")
    assert types["a.ints"] == "INT32"
    assert types["a.floats"] == "FLOAT32"
    assert types["a.bools"] == "BOOL"
    assert [t.name for t in reader.tensors] == [t.name for t, _ in pairs]
    for read, (written, data) in zip(reader.tensors, pairs, strict=True):
        assert read.tensor_type.name == written.type
        assert tuple(int(n) for n in read.shape[::-1]) == written.shape
        assert np.asarray(read.data).tobytes() == data
        assert read.data_offset % 32 == 0


def test_progress_ends_at_the_files_size(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = tmp_path / "m.gguf"
    pairs = [tensor("a", "F32", (3, 5)), tensor("b", "Q4_0", (2, 64))]
    write_gguf(path, METADATA, [t for t, _ in pairs], lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (path.stat().st_size, path.stat().st_size)


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_fault_while_writing_leaves_the_old_file_and_nothing_else(tmp_path: Path, fault: BaseException) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF, the old one")

    def failing() -> Iterator[bytes]:
        yield bytes(16)
        raise fault

    with pytest.raises(CapacityError if isinstance(fault, OSError) else KeyboardInterrupt):
        write_gguf(path, {}, [OutgoingTensor("t", "F32", (2, 8), failing)])
    assert os.listdir(tmp_path) == ["m.gguf"]
    assert path.read_bytes() == b"GGUF, the old one"


def test_too_little_room_is_known_before_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=9, used=9, free=1))
    with pytest.raises(CapacityError, match=r"free [\d.]+ [KMGT]iB more on its disk"):
        write_gguf(tmp_path / "m.gguf", {}, [tensor("t", "F32", (64, 64))[0]])
    assert os.listdir(tmp_path) == []


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ShoestringError, match="cannot write"):
        write_gguf(tmp_path / "file" / "m.gguf", {}, [])


def test_wrong_sizes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not whole blocks of 256"):
        write_gguf(tmp_path / "m.gguf", {}, [OutgoingTensor("t", "Q4_K", (1, 128), list)])
    with pytest.raises(CheckpointError, match="needs 32 bytes, got 4"):
        write_gguf(tmp_path / "m.gguf", {}, [OutgoingTensor("t", "F32", (8,), lambda: [bytes(4)])])
    with pytest.raises(CheckpointError, match="no type for"):
        write_gguf(tmp_path / "m.gguf", {"k": object()}, [])
    assert os.listdir(tmp_path) == []
