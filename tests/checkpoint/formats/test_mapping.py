"""A mapped file gives its pages back to the system, and its bytes stay readable."""

import mmap
from pathlib import Path

import numpy as np
import pytest

from shoestring.checkpoint.formats.mapping import drop_pages, map_file, mapping_of, release_pages

SIZE = 100 * mmap.PAGESIZE + 123


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "weights.bin"
    path.write_bytes(np.random.default_rng(0).bytes(SIZE))
    return path


def resident_kilobytes(path: Path) -> int:
    """How much of a mapped file is in this process, from /proc/self/smaps."""
    total, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ")[0] and not line.startswith(("Vm", "Rss")):
            inside = line.endswith(str(path))
        elif inside and line.startswith("Rss:"):
            total += int(line.split()[1])
    return total


def test_released_pages_come_back(path: Path) -> None:
    """Whatever range is released, no byte that is read later changes, inside it or beside it."""
    data = map_file(path).data
    before = data.copy()
    tensor = data[1000 : SIZE - 77]
    for start, end in ((0, 1), (5000, 5001), (4096 * 3, 4096 * 7 + 5), (0, len(tensor))):
        release_pages(tensor, start, end)
        assert np.array_equal(data, before)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs /proc")
def test_released_pages_leave_the_process(path: Path) -> None:
    data = map_file(path).data
    data.sum()
    assert resident_kilobytes(path) * 1024 >= SIZE
    release_pages(data, 0, len(data))
    assert resident_kilobytes(path) == 0


def test_dropped_pages_come_back(path: Path) -> None:
    data = map_file(path).data
    before = data.copy()
    drop_pages(path, data[7:])
    assert np.array_equal(data, before)
    path.unlink()
    drop_pages(path, data)
    assert np.array_equal(data, before)


def test_memory_that_is_no_file_is_not_touched(path: Path) -> None:
    data = map_file(path).data
    assert mapping_of(data[10:20]) is not None
    loose = data.copy()
    assert mapping_of(loose) is None
    release_pages(loose, 0, len(loose))
    drop_pages(path, loose)
    assert np.array_equal(loose, data)
