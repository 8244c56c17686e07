"""What the engine asks of a model, and the real one: a family's forward pass with its weights and workspace.

`ScriptedRunner` (scripted_runner.py) has the same interface, so that everything above it is tested without kernels.
"""

from __future__ import annotations

from collections.abc import Sequence as Tokens
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
import numpy.typing as npt

from shoestring import ops
from shoestring.models import families
from shoestring.models.experts import Experts
from shoestring.models.layout import Layout
from shoestring.models.state import State
from shoestring.models.step import Observe, Step
from shoestring.ops.sampling import Sampled, Sampling

Float32 = npt.NDArray[np.float32]
Uint32 = npt.NDArray[np.uint32]


class Runner(Protocol):
    """A model as the engine sees it. Arrays it returns are valid until the frame ends."""

    @property
    def layout(self) -> Layout:
        """What a sequence keeps."""

    @property
    def vocab_size(self) -> int:
        """Width of a row of logits."""

    @property
    def layers(self) -> int:
        """Layers, and so the number of the last hidden state that `forward` shows."""

    def frame(self) -> AbstractContextManager[object]:
        """Everything that is computed inside is free again afterwards."""

    def forward(self, state: State, step: Step, observe: Observe | None = None) -> Float32:
        """[rows, hidden_size]; reads and writes `state`, shows `observe` the hidden state after every layer."""

    def head(self, hidden: Float32) -> Float32:
        """Logits of rows of `forward`'s result, [rows, vocab_size]."""

    def is_finite(self, logits: Float32) -> bool:
        """Whether every logit is a number."""

    def sample(
        self,
        logits: Float32,
        sampling: Sampling,
        tokens: Tokens[int],
        prompt_length: int,
        index: int,
        allowed: Uint32 | None = None,
    ) -> Sampled:
        """Draw the token that follows `tokens`; `index` tells the answers to one prompt apart.

        allowed: a bit a token (guide.py). Raises RequestError when none may be sampled.
        """


class FamilyRunner:
    """Weights of either family, and the arena that their steps compute in."""

    def __init__(self, weights: families.KernelWeights, experts: Experts, sampled_vocabulary: int) -> None:
        """sampled_vocabulary: ids from there on have no token and are never sampled."""
        self._weights = weights
        self._experts = experts
        self._workspace = ops.Workspace()
        self._sampled_vocabulary = min(sampled_vocabulary, weights.config.vocab_size)
        self._layout = Layout(families.state_layout(weights.config))

    @property
    def layout(self) -> Layout:
        return self._layout

    @property
    def vocab_size(self) -> int:
        return self._weights.config.vocab_size

    @property
    def layers(self) -> int:
        return len(self._weights.layers)

    def frame(self) -> AbstractContextManager[object]:
        return self._workspace

    def forward(self, state: State, step: Step, observe: Observe | None = None) -> Float32:
        return families.forward(self._weights, self._experts, state, step, self._workspace, observe)

    def head(self, hidden: Float32) -> Float32:
        return families.head(self._weights, hidden, self._workspace)

    def is_finite(self, logits: Float32) -> bool:
        return ops.check_finite(logits)

    def sample(
        self,
        logits: Float32,
        sampling: Sampling,
        tokens: Tokens[int],
        prompt_length: int,
        index: int,
        allowed: Uint32 | None = None,
    ) -> Sampled:
        return ops.sample(
            logits,
            sampling,
            tokens,
            prompt_length=prompt_length,
            index=index,
            vocabulary_size=self._sampled_vocabulary,
            allowed=allowed,
        )
