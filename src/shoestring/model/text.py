"""From sampled ids to pieces of text: whole characters only, stop strings cut off, thinking told apart.

Owns `Piece` and what is held back while a stop string may still come.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

#: "stop": a stop token or stop string; "length": max_tokens; "context": the context is full.
FinishReason = Literal["stop", "length", "context"]


@dataclass(frozen=True)
class TokenInfo:
    """A sampled token; `logprob` and `top` (id, log-probability), likeliest first, where logprobs were asked for."""

    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Piece:
    """What one step adds to one answer. `text` may be empty: a character or stop string is not complete yet."""

    #: which prompt or conversation of the batch
    index: int
    text: str
    #: the text belongs to the model's thinking
    thinking: bool
    tokens: tuple[TokenInfo, ...]
    finish_reason: FinishReason | None = None


class StreamDecoder(Protocol):
    def push(self, *ids: int) -> str: ...
    def finish(self) -> str: ...


class StopStrings:
    """Passes text on, except for an end that could become a stop string, and nothing from a stop string on."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.stopped = False

    def push(self, text: str) -> str:
        """Text that is safe to show."""
        if self.stopped:
            return ""
        self._held += text
        found = min((at for at in map(self._held.find, self._stops) if at >= 0), default=-1)
        if found >= 0:
            shown, self._held, self.stopped = self._held[:found], "", True
            return shown
        keep = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        shown, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return shown

    def finish(self) -> str:
        """What was held back, now that nothing follows."""
        shown, self._held = self._held, ""
        return shown


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)


class Answer:
    """The text of one answer as its tokens come.

    thinking_ids: (begin, end) tokens of a thinking block, whose marks are not shown; None: all is text.
    """

    def __init__(
        self,
        index: int,
        decoder: StreamDecoder,
        stops: Sequence[str],
        *,
        thinking_ids: tuple[int, int] | None = None,
        inside_thinking: bool = False,
        hidden_ids: frozenset[int] = frozenset(),
    ) -> None:
        self.index = index
        self._decoder = decoder
        self._stops = StopStrings(stops)
        self._thinking_ids = thinking_ids
        self._hidden_ids = hidden_ids
        self.thinking = inside_thinking
        self.finished = False

    def push(self, token: TokenInfo, reason: FinishReason | None) -> Piece:
        """What a token adds. A mark of thinking shows nothing itself, but lets go of what was held back."""
        thinking = self.thinking
        if self._thinking_ids is not None and token.id in self._thinking_ids:
            text = self._rest()
            self.thinking = token.id == self._thinking_ids[0]
        else:
            text = self._stops.push("" if token.id in self._hidden_ids else self._decoder.push(token.id))
        if reason is not None:
            text += self._rest()
        if self._stops.stopped:
            reason = "stop"
        self.finished = reason is not None
        return Piece(self.index, text, thinking, (token,), reason)

    def _rest(self) -> str:
        text = self._stops.push(self._decoder.finish())
        return text + self._stops.finish()
