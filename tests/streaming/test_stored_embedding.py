"""Rows of an embedding read from disk have the bits of `ops.embed`, however often and in whatever order they come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import random_checkpoints
from streaming_models import Failing, old

from shoestring import ops
from shoestring.checkpoint.names.bind import Source
from shoestring.errors import CheckpointError, ReadError
from shoestring.models.weights import load_matrix
from shoestring.runtime.opening import open_model
from shoestring.streaming import embedding
from shoestring.streaming.embedding import StoredEmbedding, row_bytes
from shoestring.streaming.store import Store, open_store


def stored(path: Path) -> tuple[Store, Source]:
    opened = open_model(path)
    store = open_store((), 64, lambda text: None, others=opened.checkpoint.files)
    return store, opened.binding.sources["embedding"]


@pytest.mark.parametrize("kind", random_checkpoints.TYPES)
def test_the_bits_of_embed(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "RECENT_ROWS", 20)
    path = random_checkpoints.write("llama4", kind, tmp_path / "m.gguf")
    old(path)
    store, source = stored(path)
    matrix = load_matrix(source)
    rows = StoredEmbedding(store, source)
    draws = np.random.default_rng(1)
    for count in (1, 1, 17, 300, 5, 1):
        ids = draws.integers(0, 1024, count).astype(np.int32)
        ids[::7] = ids[0]
        for changed in (ids, np.where(draws.random(count) < 0.3, -1, ids).astype(np.int32), ids):
            with (ws := ops.Workspace()):
                expected = ops.embed(ws, matrix, changed).copy()
                result = rows.embed(ws, changed)
                assert result.shape == expected.shape
                assert result[changed >= 0].tobytes() == expected[changed >= 0].tobytes()
        assert len(rows._recent) <= 20
    store.close()


def test_recent_rows_are_not_read_again(tmp_path: Path) -> None:
    path = random_checkpoints.write("llama4", "Q8_0", tmp_path / "m.gguf")
    old(path)
    store, source = stored(path)
    assert row_bytes(source) == 256 // 32 * 34
    rows = StoredEmbedding(store, source)
    ids = np.array([5, 9, 5, 1023], np.int32)
    with (ws := ops.Workspace()):
        rows.embed(ws, ids)
        read = store.reader.counters.bytes_read
        assert read > 0
        rows.embed(ws, ids)
        assert store.reader.counters.bytes_read == read
    store.close()


class FailingRow(Failing):
    def read(self, file: object, offset: int, out: ops.Bytes, priority: str) -> int:
        ticket: int = self.reader.read(file, offset, out, priority)
        if self.broken is not None and self.broken(offset):  # type: ignore[arg-type]
            self.errors[ticket] = ReadError("m.gguf", offset, "Input/output error", ticket)
        return ticket


def test_a_row_that_cannot_be_read(tmp_path: Path) -> None:
    path = random_checkpoints.write("llama4", "Q8_0", tmp_path / "m.gguf")
    old(path)
    store, source = stored(path)
    byte = source.tensor.offset + 7 * row_bytes(source)
    failing = FailingRow(store.reader, lambda offset: offset == byte)  # type: ignore[arg-type,comparison-overlap]
    rows = StoredEmbedding(Store(store.arena, failing, store.files, store.watch), source)  # type: ignore[arg-type]
    ids = np.array([6, 7, 8], np.int32)
    with (ws := ops.Workspace()):
        for _ in range(2):
            with pytest.raises(CheckpointError, match=f"byte {byte}: Input/output error"):
                rows.embed(ws, ids)
        failing.broken = None
        assert rows.embed(ws, ids).tobytes() == ops.embed(ws, load_matrix(source), ids).tobytes()
    store.close()
