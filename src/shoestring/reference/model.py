"""A reference model of either family: numpy weights and the state of one sequence, tokens in, logits out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from shoestring.checkpoint.config.types import Config, Qwen3_5Config
from shoestring.checkpoint.names.bind import Binding
from shoestring.kv_types import KVType
from shoestring.models import qwen3_5 as qwen3_5_model
from shoestring.reference import llama4, qwen3_5
from shoestring.reference.functions import Array, Ints, Observe, linear
from shoestring.reference.loading import Loaded, load_weights
from shoestring.reference.traps import NO_TRAPS, Traps

State = qwen3_5.State | llama4.State


def new_state(config: Config, kv_type: KVType | None = None) -> State:
    """The state before the first token. kv_type: keys and values are rounded to it; None: to nothing."""
    if isinstance(config, Qwen3_5Config):
        return qwen3_5.new_state(config, kv_type)
    return llama4.new_state(config, kv_type)


def advance(
    loaded: Loaded,
    state: State,
    tokens: Sequence[int],
    start: int = 0,
    rotary_positions: Ints | None = None,
    traps: Traps = NO_TRAPS,
    observe: Observe | None = None,
) -> Array:
    """Tokens at positions start, start + 1, … → their logits [R, V]; advances `state`.

    rotary_positions [R, 3]: positions of the rotary embedding, if they differ.
    observe: called with each layer's number and hidden state [R, H], counted as in models/step.py.
    """
    weights, experts = loaded
    ids = np.asarray(tokens, np.int64)
    index = start + np.arange(len(ids), dtype=np.int64)
    positions = np.repeat(index[:, None], 3, axis=1) if rotary_positions is None else rotary_positions
    if isinstance(weights, qwen3_5_model.Weights):
        hidden = qwen3_5.forward(weights, experts, state, ids, index, positions, traps, observe)  # type: ignore[arg-type]
    else:
        hidden = llama4.forward(weights, experts, state, ids, index, positions, traps, observe)  # type: ignore[arg-type]
    return linear(hidden, weights.head)


def logits(config: Config, binding: Binding, tokens: Sequence[int], traps: Traps = NO_TRAPS) -> Array:
    """Logits of every token of one sequence, [R, V] float64."""
    return advance(load_weights(config, binding), new_state(config), tokens, traps=traps)


def generate(
    config: Config, binding: Binding, tokens: Sequence[int], pick: Callable[[Array], int] | None = None
) -> Iterator[int]:
    """Yield one token after another without end. pick: chooses from logits [V]; default: the largest, lowest index."""
    loaded, state = load_weights(config, binding), new_state(config)
    start, new = 0, list(tokens)
    while True:
        last = advance(loaded, state, new, start)[-1]
        start += len(new)
        new = [int(np.argmax(last)) if pick is None else pick(last)]
        yield new[0]
