"""A model that streams leaves nothing of its file in the page cache: the kernel is no second budget."""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import shoestring
from shoestring.checkpoint.formats.mapping import drop_pages, map_file
from shoestring.runtime.finding import find
from shoestring.runtime.loading import least_memory
from shoestring.runtime.opening import open_model


def cached_bytes(path: Path) -> int:
    """Bytes of a file that are in the page cache, by mincore(2)."""
    mapped = map_file(path)
    pages = -(-len(mapped.data) // mmap.PAGESIZE)
    found = np.empty(pages, np.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    address = ctypes.c_void_p(mapped.data.ctypes.data)
    assert libc.mincore(address, ctypes.c_size_t(len(mapped.data)), ctypes.c_void_p(found.ctypes.data)) == 0
    return int((found & 1).sum()) * mmap.PAGESIZE


def test_a_loaded_model_leaves_it(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    shutil.copyfile(find("demo-llama4"), file)
    with file.open("rb") as copied:
        os.fsync(copied.fileno())
    assert cached_bytes(file) > 0
    drop_pages(file, map_file(file).data)
    if cached_bytes(file):
        pytest.skip("this file system keeps its files in memory")
    least = least_memory(open_model(file))
    assert least is not None
    with shoestring.load(file, memory=least + (45 << 20), context=256, threads=2) as model:
        assert model.streaming is not None
        assert cached_bytes(file) == 0
        assert "".join(piece.text for piece in model.generate("Once", max_tokens=8))
        assert cached_bytes(file) == 0
