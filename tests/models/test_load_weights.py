"""From bound sources to kernels' weights: nothing is forgotten, the file's pages are let go, progress adds up."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_models import TINY

from shoestring.checkpoint.config.parse import parse_config
from shoestring.checkpoint.config.types import Config
from shoestring.checkpoint.formats.mapping import mapping_of, release_pages
from shoestring.checkpoint.names.bind import Binding, bind
from shoestring.checkpoint.open import open_checkpoint
from shoestring.models.constants import divided, inverse_square_root
from shoestring.models.shapes import wanted_shapes
from shoestring.models.weights import load_weights, region, stored_bytes


def opened(name: str, folder: Path) -> tuple[Config, Binding]:
    checkpoint = open_checkpoint(TINY[name].write(folder))
    config = parse_config(checkpoint)
    return config, bind(config, checkpoint, wanted_shapes(config))


@pytest.mark.parametrize("name", TINY)
def test_a_model_wants_exactly_what_is_bound(name: str, tmp_path: Path) -> None:
    config, binding = opened(name, tmp_path)
    shapes = {}
    for key, shape in wanted_shapes(config).items():
        head, _, role = key.rpartition(".")
        names = [f"{head}.{e}.{role}" for e in range(shape.count)] if head.endswith(".experts") else [key]
        shapes |= dict.fromkeys(names, (shape.rows, shape.columns))
    assert shapes == {key: (source.rows, source.columns) for key, source in binding.sources.items()}


@pytest.mark.parametrize("name", TINY)
def test_a_region_holds_all_of_a_source(name: str, tmp_path: Path) -> None:
    """Regions of one tensor cover it whole, however it is cut; strided ones may overlap."""
    _, binding = opened(name, tmp_path)
    covered: dict[str, np.ndarray] = {}
    for source in binding.sources.values():
        begin, end = region(source)
        mark = covered.setdefault(source.tensor.name, np.zeros(source.tensor.nbytes, bool))
        assert 0 <= begin < end <= source.tensor.nbytes
        mark[begin:end] = True
    assert all(mark.all() for mark in covered.values())


def test_released_pages_come_back(tmp_path: Path) -> None:
    """Letting pages go changes no byte that is read later, in the tensor or beside it."""
    _, binding = opened("llama-scout", tmp_path)
    tensors = {source.tensor.name: source.tensor for source in binding.sources.values()}
    before = {name: tensor.data.copy() for name, tensor in tensors.items()}
    for source in binding.sources.values():
        assert mapping_of(source.tensor.data) is not None
        release_pages(source.tensor.data, *region(source))
    assert all(np.array_equal(tensor.data, before[name]) for name, tensor in tensors.items())


def test_pages_are_really_let_go(tmp_path: Path) -> None:
    """The process's share of the mapped file falls to nothing."""

    def resident() -> int:
        """kB of the file in this process, from /proc/self/smaps."""
        total, inside = 0, False
        for line in Path("/proc/self/smaps").read_text().splitlines():
            if "-" in line.split(" ")[0] and not line.startswith(("Vm", "Rss")):
                inside = line.endswith(str(tmp_path / "model.safetensors"))
            elif inside and line.startswith("Rss:"):
                total += int(line.split()[1])
        return total

    if not Path("/proc/self/smaps").exists():
        pytest.skip("needs /proc")
    _, binding = opened("llama-scout", tmp_path)
    for source in binding.sources.values():
        source.tensor.data.sum()
    assert resident() > 100
    for source in binding.sources.values():
        release_pages(source.tensor.data, *region(source))
    assert resident() <= 8  # the header's page


def test_memory_that_is_no_file_is_left_alone(tmp_path: Path) -> None:
    _, binding = opened("qwen-dense", tmp_path)
    source = binding.sources["norm"]
    loose = replace(source.tensor, data=source.tensor.data.copy())
    assert mapping_of(loose.data) is None
    release_pages(loose.data, *region(source))


@pytest.mark.parametrize("threads", [1, 3])
def test_progress_adds_up(threads: int, tmp_path: Path) -> None:
    config, binding = opened("qwen-mixture", tmp_path)
    seen: list[tuple[int, int]] = []
    load_weights(config, binding, lambda done, total: seen.append((done, total)), threads)
    total = sum(stored_bytes(source) for source in binding.sources.values())
    assert {t for _, t in seen} == {total}
    assert seen[-1] == (total, total)
    assert seen == sorted(seen)


def test_the_scale_of_attention_is_the_double_nearest_to_it() -> None:
    for n in range(1, 1025):
        assert abs(inverse_square_root(n) * n**0.5 - 1) < 2.3e-16
    assert inverse_square_root(64) == 0.125
    assert inverse_square_root(256) == 0.0625


def test_divided_frequencies_are_correctly_rounded() -> None:
    rng = np.random.default_rng(0)
    frequencies, divisors = rng.uniform(1e-8, 1, 64), rng.uniform(1, 40, 64)
    assert np.array_equal(divided(frequencies, tuple(divisors.tolist())), frequencies / divisors)
