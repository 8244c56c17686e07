"""Matrices that are read around the page cache are the matrices that loading through a map gives."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from shoestring import ops
from shoestring.errors import CheckpointError
from shoestring.models.weights import load_matrix
from shoestring.runtime.finding import find
from shoestring.runtime.opening import open_model
from shoestring.streaming.resident import read_matrices, resident_bytes, resident_sources
from shoestring.streaming.store import open_store


@pytest.mark.parametrize("name", ["demo-qwen3.5", "demo-llama4"])
def test_the_bytes_of_a_map(name: str) -> None:
    opened = open_model(find(name))
    sources = resident_sources(opened.config, opened.binding, embedding=True)
    assert sources
    store = open_store(opened.expert_sources, resident_bytes(sources) + 64, warnings.warn)
    steps: list[int] = []
    try:
        matrices = read_matrices(store, sources, 64, steps.append)
        for key, source in sources.items():
            mapped, read = load_matrix(source), matrices[key]
            assert (read.type, read.rows, read.columns, read.nbytes) == (
                mapped.type,
                mapped.rows,
                mapped.columns,
                mapped.nbytes,
            )
            a, b = (np.empty(mapped.nbytes, np.uint8) for _ in range(2))
            mapped.copy_packed(a)
            read.copy_packed(b)
            assert a.tobytes() == b.tobytes(), key
    finally:
        store.close()
    assert steps == sorted(steps)
    assert steps[-1] > 0


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(find("demo-qwen3.5").read_bytes())
    opened = open_model(path)
    sources = resident_sources(opened.config, opened.binding, embedding=True)
    store = open_store(opened.expert_sources, resident_bytes(sources), warnings.warn)
    try:
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size // 4)
        with pytest.raises(CheckpointError, match=r"model\.gguf.*it cannot be loaded"):
            read_matrices(store, sources, 0, lambda done: None)
    finally:
        store.close()


def test_a_matrix_lies_inside_its_arena() -> None:
    arena = ops.arena(4096)
    with pytest.raises(ValueError, match="inside the arena"):
        ops.matrix_at(arena, 64, "F32", 16, 64)
    with pytest.raises(ValueError, match="64 bytes"):
        ops.matrix_at(arena, 32, "F32", 16, 4)
    with pytest.raises(ValueError, match="block"):
        ops.matrix_at(arena, 0, "Q4_K", 16, 100)
    matrix = ops.matrix_at(arena, 0, "F32", 16, 64)
    del arena
    assert matrix.nbytes == 4096
