"""Guide: what steers one answer's tokens from above the engine (grammar, thinking budget, tool calls).

The engine knows no text: it asks what is allowed, says what was sampled, and takes tokens that are forced.
"""

from __future__ import annotations

from collections.abc import Sequence as Tokens
from typing import Protocol

import numpy as np
import numpy.typing as npt


class Guide(Protocol):
    """Called on the engine's thread, in this order for each token: `penalties_apply`, `allowed`, `accept`.

    What it raises ends its own request, with the exception as the request's error.
    """

    @property
    def penalties_apply(self) -> bool:
        """Whether repetition, presence and frequency penalties count for the next token."""

    def allowed(self) -> npt.NDArray[np.uint32] | None:
        """Bit t % 32 of word t // 32 is set where token t may be sampled, [≥ ⌈vocab_size / 32⌉]; None: all may."""

    def accept(self, token: int) -> Tokens[int]:
        """A token was sampled, be it the last. Returns tokens that must follow it.

        They are appended and delivered unsampled, `accept` is not called for them, and they are computed in one
        span with the next step.
        """
