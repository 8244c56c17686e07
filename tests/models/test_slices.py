"""Any cut of a step gives the bits and the state of the whole: as steps of its rows, and as chunks inside a layer."""

from __future__ import annotations

import copy
from itertools import pairwise
from unittest import mock

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from run_steps import Loaded, Span, make_step, new_state, step_logits
from tiny_models import TINY

from shoestring.checkpoint.config.parse import parse_config
from shoestring.checkpoint.names.bind import bind
from shoestring.checkpoint.open import open_checkpoint
from shoestring.models import slices
from shoestring.models.shapes import wanted_shapes
from shoestring.models.slices import chunks_of, slice_step
from shoestring.models.state import State
from shoestring.models.step import Step
from shoestring.models.weights import load_weights

SEQUENCES, SLOTS = 3, 12


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Loaded]:
    loaded = {}
    for name, model in TINY.items():
        checkpoint = open_checkpoint(model.write(tmp_path_factory.mktemp(name)))
        config = parse_config(checkpoint)
        loaded[name] = load_weights(config, bind(config, checkpoint, wanted_shapes(config)))
    return loaded


def arrays(state: State) -> list[np.ndarray]:
    return [array for layer in state.layers for array in vars(layer).values()]


def same(a: State, b: State) -> bool:
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(arrays(a), arrays(b), strict=True))


@st.composite
def steps(draw: st.DrawFn, name: str) -> tuple[list[Span], list[Span], bool]:
    """Sequences of some tokens, and a step that continues each, with snapshots inside; whether rows are embeddings."""
    before, spans, slots = [], [], iter(range(SEQUENCES, SLOTS))
    for i in range(draw(st.integers(1, SEQUENCES))):
        start, rows = draw(st.integers(0, 70)), draw(st.integers(1, 70))
        tokens = np.tile(TINY[name].tokens(), 5)[i : i + start + rows]
        pages = (3 * i, 3 * i + 2, 3 * i + 1)
        if start:
            before.append(Span(tokens[:start], 0, pages, write_slot=i))
        inside = sorted(draw(st.sets(st.integers(0, rows - 1), max_size=2)))
        write = draw(st.sampled_from([i, next(slots)]))  # in place, or from one slot to another
        spans.append(
            Span(
                tokens[start:],
                start,
                pages,
                read_slot=i if start else -1,
                write_slot=write,
                snapshots=tuple((row, next(slots)) for row in inside),
            )
        )
    return before, spans, draw(st.booleans())


def build(loaded: Loaded, spans: list[Span], embedded: bool) -> Step:
    if not embedded:
        return make_step(loaded[0].config, *spans)
    rows, hidden = sum(len(span.tokens) for span in spans), loaded[0].config.hidden_size
    masked = np.arange(rows) % 3 == 1
    step = make_step(loaded[0].config, *spans)
    step.token_ids[masked] = -1
    vectors = np.random.default_rng(rows).normal(size=(int(masked.sum()), hidden)).astype(np.float32)
    return Step(**{**vars(step), "embeddings": vectors})


@pytest.mark.parametrize("name", TINY)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_cut_has_the_bits_and_the_state_of_the_whole(
    name: str, data: st.DataObject, weights: dict[str, Loaded]
) -> None:
    loaded = weights[name]
    before, spans, embedded = data.draw(steps(name))
    state = new_state(loaded[0].config, 3 * SEQUENCES, "f16", slots=SLOTS)
    if before:
        step_logits(loaded, state, make_step(loaded[0].config, *before))
    cut, chunked = copy.deepcopy(state), copy.deepcopy(state)
    step = build(loaded, spans, embedded)
    whole = step_logits(loaded, state, step)
    assert np.isfinite(whole).all()

    rows = len(step.index)
    cuts = sorted({0, rows, *data.draw(st.sets(st.integers(0, rows), max_size=5))})
    parts = [slice_step(step, begin, end) for begin, end in pairwise(cuts)]
    assert sum(len(part.snapshots) for part in parts) == len(step.snapshots)
    assert np.array_equal(np.concatenate([step_logits(loaded, cut, part) for part in parts]), whole)
    assert same(cut, state)

    with mock.patch.object(slices, "CHUNK_ROWS", data.draw(st.sampled_from([1, 5, 32]))):
        assert len(chunks_of(step)) == -(-rows // slices.CHUNK_ROWS)
        assert max(len(part.index) for (part,) in chunks_of(step)) <= slices.CHUNK_ROWS
        assert np.array_equal(step_logits(loaded, chunked, step), whole)
    assert same(chunked, state)


def test_a_slice_of_a_slice_is_a_slice(weights: dict[str, Loaded]) -> None:
    tokens = TINY["qwen-mixture"].tokens()
    first = Span(tokens[:9], 0, (0,), write_slot=1, snapshots=((2, 4), (7, 5)))
    step = make_step(weights["qwen-mixture"][0].config, first, Span(tokens[:6], 0, (1,), write_slot=2))
    twice, once = slice_step(slice_step(step, 2, 14), 3, 10), slice_step(step, 5, 12)
    for name in ("token_ids", "index", "rotary_positions", "span_starts", "read_slots", "write_slots", "snapshots"):
        assert np.array_equal(getattr(twice, name), getattr(once, name)), name
    assert np.array_equal(twice.global_pages.pages, once.global_pages.pages)
    assert once.read_slots.tolist() == [1, -1]
    assert once.snapshots.tolist() == [[2, 5]]


def test_a_step_of_a_model_in_memory_is_one_chunk() -> None:
    """Its speed is that of whole operations."""
    rows = slices.CHUNK + slices.ANSWER_ROWS
    assert slices.row_slices(rows) == [slice(0, rows)]
    assert len(slices.row_slices(rows + 1)) == 2
