"""Calls the family that a config or its weights belong to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from shoestring import ops
from shoestring.checkpoint.config.types import Config, Qwen3_5Config
from shoestring.models import llama4, qwen3_5
from shoestring.models.constants import RotaryConstants
from shoestring.models.experts import ExpertLayer, Experts
from shoestring.models.state import LayerState, State
from shoestring.models.step import Observe, Step

M = TypeVar("M")
A = TypeVar("A")

KernelWeights = qwen3_5.KernelWeights | llama4.KernelWeights


def state_layout(config: Config) -> tuple[LayerState, ...]:
    """The state of a sequence in each layer, as data. Needs no compiled code."""
    if isinstance(config, Qwen3_5Config):
        return qwen3_5.state_layout(config)
    return llama4.state_layout(config)


def expert_layers(config: Config) -> tuple[ExpertLayer, ...]:
    """The layers with routed experts, and their shapes."""
    if isinstance(config, Qwen3_5Config):
        return qwen3_5.expert_layers(config)
    return llama4.expert_layers(config)


def build_weights(
    config: Config,
    matrix: Callable[[str, int, int], M],
    vector: Callable[..., A],
    rotary: RotaryConstants,
) -> qwen3_5.Weights[M, A] | llama4.Weights[M, A]:
    """The family's weights. `matrix(name, rows, columns)` and `vector(name, *shape)` return them by our names."""
    if isinstance(config, Qwen3_5Config):
        return qwen3_5.build_weights(config, matrix, vector, rotary)
    return llama4.build_weights(config, matrix, vector, rotary)


def layers(
    weights: KernelWeights,
    experts: Experts,
    state: State,
    step: Step,
    ws: ops.Workspace,
    observe: Observe | None = None,
) -> Iterator[ops.Float32]:
    """The forward pass, a layer a turn: as many arrays as layers, the last of which is `forward`'s result."""
    if isinstance(weights, qwen3_5.Weights):
        return qwen3_5.layers(weights, experts, state, step, ws, observe)
    return llama4.layers(weights, experts, state, step, ws, observe)


def forward(
    weights: KernelWeights,
    experts: Experts,
    state: State,
    step: Step,
    ws: ops.Workspace,
    observe: Observe | None = None,
) -> ops.Float32:
    """The hidden state of every row after the last norm, [rows, hidden_size]; reads and writes `state`."""
    *_, hidden = layers(weights, experts, state, step, ws, observe)
    return hidden


def head(weights: KernelWeights, hidden: ops.Float32, ws: ops.Workspace) -> ops.Float32:
    """Logits of rows of `forward`'s result, [rows, vocab_size]."""
    return ops.matmul(ws, hidden, weights.head)
