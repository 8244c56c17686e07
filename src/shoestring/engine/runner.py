"""Runner: the engine's interface to a model. FamilyRunner: a family's forward pass with its weights and workspace.

`ScriptedRunner` (scripted_runner.py) has the same interface, so tests of the layers above need no kernels.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable, Generator, Iterator
from collections.abc import Sequence as Tokens
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import numpy as np

from shoestring import ops
from shoestring.models import families
from shoestring.models.experts import Experts
from shoestring.models.layout import Layout
from shoestring.models.state import State
from shoestring.models.step import Observe, Step
from shoestring.ops import Float32, Int32, Uint32
from shoestring.ops.sampling import Sampled, Sampling


class Runner(Protocol):
    """A model as the engine sees it. Arrays it returns are valid until the frame ends."""

    @property
    def layout(self) -> Layout:
        """State of a sequence: layers, pages and slots."""

    @property
    def vocab_size(self) -> int:
        """Width of a row of logits."""

    @property
    def hidden_size(self) -> int:
        """Width of a row of hidden states."""

    @property
    def source(self) -> str:
        """Where the weights come from, for errors: the checkpoint's path."""

    @property
    def layers(self) -> int:
        """Number of layers, which is also the number of the last hidden state that `forward` passes to `observe`."""

    def frame(self) -> AbstractContextManager[object]:
        """A context manager: computes as docs/numerics.md says, and frees at its end the arrays computed inside."""

    @property
    def pass_rows(self) -> int | None:
        """The most rows that go through one layer together in a pass (passes.py); None: the model needs no passes."""

    def forward(self, state: State, step: Step, observe: Observe | None = None) -> Float32:
        """[rows, hidden_size]. Reads and writes `state`; calls `observe` with the hidden state after every layer."""

    def begin_pass(self, state: State, step: Step, observe: Observe | None = None) -> Generator[Float32, None, None]:
        """`forward` a layer a turn, in a workspace of its own: as many arrays as `layers`, the last is its result.

        Compute each turn inside a frame. The arrays are valid until the generator is closed. One at a time.
        """

    def close(self) -> None:
        """Give back what the garbage collector does not. Called once."""

    def head(self, hidden: Float32) -> Float32:
        """Logits of rows of `forward`'s result, [rows, vocab_size]."""

    def is_finite(self, logits: Float32) -> bool:
        """Whether no logit is infinite or NaN."""

    def sample(
        self,
        logits: Float32,
        sampling: Sampling,
        tokens: Tokens[int],
        prompt_length: int,
        index: int,
        allowed: Uint32 | None = None,
    ) -> Sampled:
        """Draw the token that follows `tokens`. index: which answer to one prompt this is.

        allowed: one bit per token (guide.py). Raises RequestError if no token is allowed.
        """


class Embedding(Protocol):
    """Rows of an embedding that are read when they are needed."""

    def embed(self, ws: ops.Workspace, token_ids: Int32) -> Float32:
        """[rows, hidden_size], as `ops.embed` computes them."""


class FamilyRunner:
    """Weights of either family, and the workspaces that their steps and passes compute in."""

    def __init__(
        self,
        weights: families.KernelWeights,
        experts: Experts,
        sampled_vocabulary: int,
        source: str,
        pass_rows: int | None = None,
        embedding: Embedding | None = None,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        """sampled_vocabulary: ids from there on have no token and are never sampled. embedding: None: it is among the
        weights. close: called once, when the engine is closed, nothing uses the runner any more, or the program ends.
        """
        self._weights = weights
        self._experts = experts
        self._workspace = ops.Workspace()
        self._pass_workspace = ops.Workspace()
        self.pass_rows = pass_rows
        self._embedding = embedding
        self._close = weakref.finalize(self, close)
        self.layout = Layout(families.state_layout(weights.config))
        self.layers = len(weights.layers)
        self.hidden_size = weights.config.hidden_size
        self.vocab_size = weights.config.vocab_size
        self.source = source
        self._sampled_vocabulary = min(sampled_vocabulary, self.vocab_size)

    @contextmanager
    def frame(self) -> Iterator[None]:
        with ops.standard_arithmetic(), self._workspace:
            yield

    def forward(self, state: State, step: Step, observe: Observe | None = None) -> Float32:
        step = self._embedded(step, self._workspace)
        return families.forward(self._weights, self._experts, state, step, self._workspace, observe)

    def begin_pass(self, state: State, step: Step, observe: Observe | None = None) -> Generator[Float32, None, None]:
        with self._pass_workspace as workspace:
            step = self._embedded(step, workspace)
            yield from families.layers(self._weights, self._experts, state, step, workspace, observe)

    def _embedded(self, step: Step, workspace: ops.Workspace) -> Step:
        """The step with the embeddings of its tokens, if their rows are not among the weights."""
        if self._embedding is None:
            return step
        if step.embeddings is None:
            rows = self._embedding.embed(workspace, step.token_ids)  # [R, H]
        else:
            rows, known = workspace.floats(len(step.token_ids), self.hidden_size), step.token_ids >= 0
            rows[~known] = step.embeddings
            if known.any():
                with workspace:
                    rows[known] = self._embedding.embed(workspace, step.token_ids[known])
        return dataclasses.replace(step, token_ids=np.full_like(step.token_ids, -1), embeddings=rows)

    def close(self) -> None:
        self._close()

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
