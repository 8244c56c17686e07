"""Model.hidden_states: the same bits in any chunks and batch, and the input of the head."""

from __future__ import annotations

import numpy as np
import pytest
from random_checkpoints import FAMILIES, tokens, write

import shoestring
from shoestring.errors import CapacityError, RequestError
from shoestring.runtime.model import Model

#: Longer than two pages and than an attention chunk.
IDS = tokens(150, seed=3)


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = write(request.param, "Q8_0", tmp_path_factory.mktemp("models") / "model.gguf")
    return shoestring.load(path, threads=2, context=256, parallel=3)


@pytest.fixture(scope="module")
def whole(model: Model) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return model.hidden_states(IDS)


def test_all_layers_of_all_tokens(model: Model, whole: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
    layers, rows, _ = whole.shape
    assert (layers, rows, whole.dtype) == (5, len(IDS), np.float32), "four layers and the embeddings"
    assert np.isfinite(whole).all()
    assert len({layer.tobytes() for layer in whole}) == layers
    same = [i for i in range(len(IDS)) if IDS[i] == IDS[0]]
    assert all(np.array_equal(whole[0, i], whole[0, 0]) for i in same), "embeddings know no position"


@pytest.mark.parametrize("chunk", [1, 7, 64, 150])
def test_chunks_change_no_bit(
    model: Model, whole: np.ndarray[tuple[int, ...], np.dtype[np.float32]], chunk: int
) -> None:
    assert np.array_equal(model.hidden_states(IDS, chunk=chunk), whole)


def test_other_requests_in_the_same_steps_change_no_bit(
    model: Model, whole: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
) -> None:
    streams = [model.generate(tokens(60, seed=n), max_tokens=100, ignore_eos=True, chunk=9) for n in (1, 2)]
    assert np.array_equal(model.hidden_states(IDS, chunk=11), whole)
    for stream in streams:
        stream.close()


def test_a_prefix_in_the_cache_is_computed_all_the_same(
    model: Model, whole: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
) -> None:
    list(model.generate(IDS, max_tokens=1))
    assert np.array_equal(model.hidden_states(IDS), whole)
    assert np.array_equal(model.hidden_states(IDS[:90]), whole[:, :90])


def test_the_head_makes_logits_of_the_last(
    model: Model, whole: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
) -> None:
    runner = model.engine.runner
    with runner.frame():
        logits = runner.head(whole[-1].copy()).copy()
    assert np.array_equal(logits, model.logits(IDS))


def test_layers_by_number(model: Model, whole: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
    assert np.array_equal(model.hidden_states(IDS, layers=[-1, 2, 0, 2]), whole[[4, 2, 0, 2]])
    for wrong in (5, -6):
        with pytest.raises(RequestError, match=f"layer {wrong}"):
            model.hidden_states(IDS, layers=[wrong])
    for tokens_, error in (([], RequestError), ([10**6], RequestError), ([1] * 257, CapacityError)):
        with pytest.raises(error):
            model.hidden_states(tokens_)
    assert model.engine.idle
