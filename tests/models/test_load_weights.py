"""Loading weights: every source is used, the file's pages are dropped, progress adds up."""

from pathlib import Path

import numpy as np
import pytest
from tiny_models import TINY

from shoestring.checkpoint.config.parse import parse_config
from shoestring.checkpoint.config.types import Config
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
    """The regions of a tensor's sources cover it completely; strided ones may overlap."""
    _, binding = opened(name, tmp_path)
    covered: dict[str, np.ndarray] = {}
    for source in binding.sources.values():
        begin, end = region(source)
        mark = covered.setdefault(source.tensor.name, np.zeros(source.tensor.nbytes, bool))
        assert 0 <= begin < end <= source.tensor.nbytes
        mark[begin:end] = True
    assert all(mark.all() for mark in covered.values())


def test_progress_adds_up(tmp_path: Path) -> None:
    config, binding = opened("qwen-mixture", tmp_path)
    seen: list[tuple[int, int]] = []
    load_weights(config, binding, lambda done, total: seen.append((done, total)))
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
