"""Limits of the text work of one request: how many tokens it may have, and whether its client still waits.

A request's text passes through layers that know nothing of either (a template, a tokenizer). So both are variables of
the context, and whatever works on text in pieces calls `proceed` between them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Event

from shoestring.errors import CapacityError, StoppedError

_most_tokens: ContextVar[int | None] = ContextVar("most_tokens", default=None)
_stop: ContextVar[Event | None] = ContextVar("stop", default=None)


@contextmanager
def limited(most_tokens: int) -> Iterator[None]:
    """Refuse text of more than `most_tokens` tokens inside this block."""
    token = _most_tokens.set(most_tokens)
    try:
        yield
    finally:
        _most_tokens.reset(token)


@contextmanager
def stoppable(stop: Event) -> Iterator[None]:
    """End work inside this block soon after another thread sets `stop`."""
    token = _stop.set(stop)
    try:
        yield
    finally:
        _stop.reset(token)


def proceed(tokens: int = 0) -> None:
    """Raise StoppedError if the work is to stop, CapacityError if it has more tokens than its limit."""
    stop, most = _stop.get(), _most_tokens.get()
    if stop is not None and stop.is_set():
        raise StoppedError("the work on this text was stopped")
    if most is not None and tokens > most:
        raise _too_long(tokens, most)


def refuse_longer(characters: int, longest_token: int) -> None:
    """Raise CapacityError if so many characters cannot fit, whatever their tokens. longest_token: in characters."""
    most = _most_tokens.get()
    if most is not None and characters > most * longest_token:
        raise _too_long(-(-characters // longest_token), most)


def _too_long(tokens: int, most: int) -> CapacityError:
    return CapacityError(
        f"the text has at least {tokens} tokens, more than the {most} that fit: shorten it, or choose a larger context"
    )
