"""What a step reads, and the pass that reads nothing else."""

from __future__ import annotations

from math import prod
from pathlib import Path

import pytest
import random_models

import shoestring
from shoestring import ops
from shoestring.checkpoint.config.types import Config
from shoestring.cli.advise.roof import decode_reads, roof_seconds
from shoestring.models.families import state_layout
from shoestring.models.state import AttentionState, DeltaNetState
from shoestring.ops import limits
from shoestring.ops.limits import peaks, read_seconds, weight_types
from shoestring.ops.recording import recorded
from shoestring.samples.synthetic import write_synthetic


@pytest.mark.parametrize("config", [random_models.qwen3_5(), random_models.llama4()], ids=["qwen3_5", "llama4"])
def test_a_token_reads_what_its_profile_counts(config: Config, tmp_path: Path) -> None:
    write_synthetic(config, tmp_path / "m.gguf", "Q8_0")
    model = shoestring.load(str(tmp_path / "m.gguf"), threads=2, context=64)
    reads = decode_reads(model, 3, prompt=[1, 2, 3])
    assert len(reads) == 3
    pieces = model.generate([1, 2, 3], max_tokens=4, temperature=0, ignore_eos=True)
    next(pieces)
    with recorded() as works:
        list(pieces)
    products = ("matmul", "matmuls", "fused_matmuls", "feed_forward", "experts")
    counted = sum(work.nbytes for name, work in works.items() if name.split()[0] in products)
    assert sum(matrix.nbytes for step in reads for matrix in step.matrices) == counted
    for step in reads:
        assert step.arrays
        assert step.nbytes > sum(matrix.nbytes for matrix in step.matrices)
    assert roof_seconds(reads) > 0


def test_a_token_reads_its_states_and_pages(tmp_path: Path) -> None:
    """The counters know the places of a kernel's arguments: the figures here come from the layout of the state."""
    config = random_models.qwen3_5()
    write_synthetic(config, tmp_path / "m.gguf", "Q8_0")
    model = shoestring.load(str(tmp_path / "m.gguf"), threads=2, context=64)
    layout = state_layout(config)
    memories = [4 * prod(layer.memory) for layer in layout if isinstance(layer, DeltaNetState)]
    pages = [layer.bytes_per_page("f16") for layer in layout if isinstance(layer, AttentionState)]
    assert len(set(memories)) == 1
    assert pages
    (step,) = decode_reads(model, 1, prompt=[1, 2, 3])
    assert sum(array.nbytes for array in step.arrays) == sum(memories) + sum(pages)
    pieces = model.generate([1, 2, 3], max_tokens=2, temperature=0, ignore_eos=True)
    next(pieces)
    with recorded() as works:
        list(pieces)
    net = works["delta_net"]
    assert (net.calls, net.nbytes, net.operations) == (len(memories), 2 * sum(memories), 8 * sum(memories) // 4)


def test_reading_takes_matrices_and_arrays() -> None:
    memory = ops.arena(1 << 20)
    assert read_seconds((), (memory,)) > 0
    assert read_seconds((), ()) >= 0


def test_experts_on_disk_have_no_matrices() -> None:
    table = ops.empty_table(2, ("Q8_0", "Q8_0", "Q8_0"), 64, 32)
    with pytest.raises(ValueError, match="only resident ones"):
        table.matrices(0)


def test_every_type_has_a_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_PEAK_SECONDS", 0.005)
    found = peaks()
    assert set(found.signed_types) <= set(weight_types())
    assert all(found.of(name) > 0 for name in weight_types())
