"""Guide: the interface through which upper layers steer one answer (grammar, thinking budget, tool calls).

The engine knows no text. For each token it asks the guide what is allowed, tells it what was sampled, and appends the
tokens that the guide forces.
"""

from __future__ import annotations

from collections.abc import Sequence as Tokens
from typing import Protocol

from shoestring.ops import Uint32


class Guide(Protocol):
    """Called on the engine's thread, in this order for each token: `penalties_apply`, `allowed`, `accept`.

    An exception ends the guide's own request and becomes its error.
    """

    @property
    def penalties_apply(self) -> bool:
        """Whether repetition, presence and frequency penalties apply to the next token."""

    def allowed(self) -> Uint32 | None:
        """A mask, [≥ ⌈vocab_size / 32⌉]: bit t % 32 of word t // 32 allows token t. None: all are allowed."""

    def accept(self, token: int) -> Tokens[int]:
        """Take a sampled token, the last one too. Returns the tokens that must follow it.

        The engine appends and delivers them without sampling, does not call `accept` for them, and computes them in
        one span of the next step.
        """
