"""Passes: rows of prompts that go through the model a layer a turn.

Models that read their experts from disk compute prompts in passes of many rows, so that an expert is read once for all
of them. Between two layers the engine runs a step of the answers, and requests may be cancelled. A cancelled request
stays in the ledger until its pass is over, because the pass still writes its pages and slots. A pass whose requests are
all cancelled is dropped.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping

from shoestring.engine.batch import build_step, observer
from shoestring.engine.ledger import Ledger
from shoestring.engine.request import Request
from shoestring.engine.runner import Runner
from shoestring.engine.scheduler import Span
from shoestring.models.state import State
from shoestring.models.step import Step
from shoestring.ops import Float32


class Pass:
    """A pass in flight. layers: a turn of the model each."""

    def __init__(self, spans: tuple[Span, ...], step: Step, layers: Generator[Float32, None, None]) -> None:
        self.spans = spans
        self.step = step
        self.done = 0
        #: while a layer is computed, the pass cannot be dropped
        self.computing = False
        self._layers = layers

    def advance(self) -> Float32:
        """Compute a layer. Its result is valid until `close`."""
        self.computing = True
        try:
            hidden = next(self._layers)
        finally:
            self.computing = False
        self.done += 1
        return hidden

    def close(self) -> None:
        """Free the pass's arrays."""
        self._layers.close()


class Passes:
    """The passes of an engine, one at a time. requests: those that are not over."""

    def __init__(self, runner: Runner, ledger: Ledger, requests: Mapping[int, Request]) -> None:
        self._runner = runner
        self._ledger = ledger
        self._requests = requests
        self._current: Pass | None = None
        #: the longest time that a layer took so far
        self.slowest_seconds = 0.0

    def spans(self) -> tuple[Span, ...]:
        """The spans of the pass in flight, or of the next one; none if no prompt is left."""
        return self._current.spans if self._current else self._ledger.plan_pass()

    def rows(self, number: int) -> int:
        """The request's rows in the pass in flight."""
        return sum(span.rows for span in self._current.spans if span.number == number) if self._current else 0

    def progress(self, number: int) -> int:
        """The request's rows in the pass in flight, times the share of layers that they have gone through."""
        return self.rows(number) * self._current.done // self._runner.layers if self._current else 0

    def advance(self, spans: tuple[Span, ...], state: State) -> tuple[Pass, Float32] | None:
        """Compute the next layer for `spans()`. After the last one, returns the pass, to be closed, and its result."""
        if self._current is None:
            step = build_step([(self._ledger.sequence(span.number), span.rows) for span in spans])
            layers = self._runner.begin_pass(state, step, observer(self._requests, spans, step))
            self._current = Pass(spans, step, layers)
        current, began = self._current, time.perf_counter()
        hidden = current.advance()
        self.slowest_seconds = max(self.slowest_seconds, time.perf_counter() - began)
        if current.done < self._runner.layers:
            return None
        self._current = None
        return current, hidden

    def drop_deserted(self) -> None:
        """Drop the pass in flight if all of its requests are cancelled, unless it computes just now."""
        current = self._current
        if current and not current.computing and not any(span.number in self._requests for span in current.spans):
            self._current = None
            current.close()
            for span in current.spans:
                self._ledger.drop(span.number)

    def abort(self, spans: tuple[Span, ...]) -> None:
        """Forget the pass in flight if it is that of `spans`, which has failed."""
        if self._current is not None and self._current.spans is spans:
            self._current.close()
            self._current = None
