"""Rotary positions, chunks, mask and temperature at millions of tokens, compared with the float64 reference.

The state is set directly: every entry of the page table is the same page of keys and values, and the reference weights
that page's positions by the number of entries.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from run_steps import Loaded, Span, make_step, new_state, step_logits
from tiny_models import TINY, TinyModel, llama_config, llama_tensors, qwen_config, qwen_tensors

from shoestring.checkpoint.config.parse import parse_config
from shoestring.checkpoint.config.types import Config
from shoestring.checkpoint.names.bind import bind
from shoestring.checkpoint.open import open_checkpoint
from shoestring.models.shapes import wanted_shapes
from shoestring.models.state import PAGE_TOKENS, AttentionPages, DeltaNetSlots, State
from shoestring.models.weights import load_weights
from shoestring.reference import functions, qwen3_5
from shoestring.reference.functions import Array, Ints, KeysValues
from shoestring.reference.loading import Loaded as LoadedReference
from shoestring.reference.loading import load_weights as load_reference
from shoestring.reference.model import advance
from shoestring.reference.model import new_state as new_reference_state

TOKENS = TINY["qwen-dense"].tokens()[:5]


def both(model: TinyModel, folder: Path) -> tuple[Loaded, LoadedReference]:
    checkpoint = open_checkpoint(model.write(folder))
    config = parse_config(checkpoint)
    binding = bind(config, checkpoint, wanted_shapes(config))
    return load_weights(config, binding), load_reference(config, binding)


def fill(state: State, seed: int) -> None:
    """Fill every page and slot with random numbers, small ones in the memories."""
    rng = np.random.default_rng(seed)
    for layer in state.layers:
        if isinstance(layer, AttentionPages):
            layer.keys[:] = rng.normal(0, 1, layer.keys.shape)
            layer.values[:] = rng.normal(0, 1, layer.values.shape)
        else:
            layer.convolution[:] = rng.normal(0, 0.5, layer.convolution.shape)
            layer.memory[:] = rng.normal(0, 0.2, layer.memory.shape)


def weighted_attention(
    q: Array, cache: KeysValues, index: Ints, first_visible: Ints, scale: float, start: int
) -> Array:
    """functions.attention where the page at positions 0 … 63 represents all full pages before `start`'s own."""
    group = q.shape[1] // cache.keys.shape[1]
    times = np.where(cache.index < PAGE_TOKENS, start // PAGE_TOKENS, 1)
    hidden = cache.index > index[:, None]
    out = np.empty_like(q)
    for head in range(q.shape[1]):
        scores = scale * q[:, head] @ cache.keys[:, head // group].T + np.log(times)
        out[:, head] = functions.softmax(np.where(hidden, -np.inf, scores)) @ cache.values[:, head // group]
    return out


def reference_state(config: Config, state: State, start: int, local: dict[int, tuple[int, list[int]]]) -> list:
    """The same past for the reference: a shared page and the last page's tail, or a chunk's own pages.

    local: layer → (first position of the chunk, its pages).
    """
    copied = new_reference_state(config)
    for i, layer in enumerate(state.layers):
        if isinstance(layer, DeltaNetSlots):
            copied[i] = qwen3_5.Memory(layer.convolution[0].astype(float), layer.memory[0].astype(float))
            continue
        keys = layer.keys.astype(float).transpose(0, 3, 1, 2)  # [pages, 64, KV, D]
        values = layer.values.astype(float).transpose(0, 2, 1, 3)
        if i in local:
            begin, pages = local[i]
            places = np.arange(begin, start)
            page = np.array(pages)[places // PAGE_TOKENS - begin // PAGE_TOKENS]
        else:
            tail = np.arange(start // PAGE_TOKENS * PAGE_TOKENS, start)
            places = np.concatenate([np.arange(PAGE_TOKENS), tail])
            page = np.concatenate([np.zeros(PAGE_TOKENS, int), np.ones(len(tail), int)])
        copied[i] = KeysValues(keys[page, places % PAGE_TOKENS], values[page, places % PAGE_TOKENS], places)
    return copied


def error(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def test_qwen_at_a_million(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """YaRN over 262,144 by 4, five tokens at 1,000,000."""
    rope = qwen_config()["rope_parameters"] | {
        "rope_type": "yarn",
        "rope_theta": 1e7,
        "factor": 4.0,
        "original_max_position_embeddings": 262_144,
    }
    model = TinyModel(qwen_config(rope_parameters=rope, max_position_embeddings=1_048_576), qwen_tensors)
    weights, reference = both(model, tmp_path)
    config, start = weights[0].config, 1_000_000
    state = new_state(config, 3, "f32")
    fill(state, 1)
    past = reference_state(config, state, start, {})
    pages = (*[0] * (start // PAGE_TOKENS), 1, 2)
    span = Span(TOKENS, start, pages, read_slot=0, write_slot=1)
    ours = step_logits(weights, state, make_step(config, span))
    monkeypatch.setattr(functions, "attention", lambda *args: weighted_attention(*args, start))
    assert error(ours, advance(reference, past, TOKENS.tolist(), start)) < 1e-4


@pytest.mark.parametrize("offset", [5_757, 8_190], ids=["inside a chunk", "over a chunk's edge"])
def test_llama_at_ten_million(offset: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scout's rotary scaling, chunk and temperature, five tokens at about 10,000,000."""
    rope = {
        "rope_type": "llama3",
        "rope_theta": 5e5,
        "factor": 16.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 1.0,
        "original_max_position_embeddings": 8192,
    }
    scout = llama_config(
        attention_chunk_size=8192,
        floor_scale=8192,
        attn_scale=0.1,
        rope_parameters=rope,
        max_position_embeddings=10_485_760,
    )
    weights, reference = both(TinyModel(scout, llama_tensors), tmp_path)
    config = weights[0].config
    chunk_begin = 10_000_000 // 8192 * 8192
    start = chunk_begin + offset
    chunk_pages = list(range(3, 3 + 8192 // PAGE_TOKENS + 1))
    state = new_state(config, 4 + 8192 // PAGE_TOKENS, "f32")
    fill(state, 2)
    local = {i: (chunk_begin, chunk_pages) for i, chunked in enumerate(config.chunked_layers) if chunked}
    past = reference_state(config, state, start, local)
    pages = (*[0] * (start // PAGE_TOKENS), 1, 2)
    step = make_step(config, Span(TOKENS, start, pages, read_slot=0, write_slot=1))
    table = replace(step.chunk_pages, pages=np.array([chunk_pages], np.int32))
    assert table.first_page.tolist() == [chunk_begin // PAGE_TOKENS]
    ours = step_logits(weights, state, replace(step, chunk_pages=table))
    plain = functions.attention

    def attention(q: Array, cache: KeysValues, index: Ints, first_visible: Ints, scale: float) -> Array:
        if first_visible[0] == 0:
            return weighted_attention(q, cache, index, first_visible, scale, start)
        return plain(q, cache, index, first_visible, scale)

    monkeypatch.setattr(functions, "attention", attention)
    # Two layers add 156,250 pages in turn in float32: n · 2^-24 bounds the error at 9e-3; measured: 3e-4.
    assert error(ours, advance(reference, past, TOKENS.tolist(), start)) < 1e-3
