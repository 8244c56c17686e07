"""What requests see of a step: hidden states of their rows, layer by layer, and logits of the rows that they score."""

from __future__ import annotations

from collections.abc import Mapping

from shoestring.engine.batch import runs
from shoestring.engine.draw import not_finite
from shoestring.engine.request import Request
from shoestring.engine.runner import Runner
from shoestring.engine.scheduler import Span
from shoestring.models.step import Observe, Step
from shoestring.models.workspace import HEAD_ROWS
from shoestring.ops import Float32


def observer(requests: Mapping[int, Request], spans: tuple[Span, ...], step: Step) -> Observe | None:
    """Passes each span's rows to its request's observer while it is one of `requests`; None if no request has one."""
    places = []
    for span, first in zip(spans, step.span_starts.tolist(), strict=False):
        request = requests[span.number]
        if request.scoring is not None and request.scoring.observe is not None:
            place = slice(first, first + span.rows)
            places.append((span.number, request.scoring.observe, request.sequence.computed, place))

    def observe(layer: int, hidden: Float32) -> None:
        for number, show, position, place in places:
            if number in requests:
                show(layer, position, hidden[place])

    return observe if places else None


def score_rows(runner: Runner, request: Request, hidden: Float32) -> None:
    """Pass the logits of the request's scored rows among its next ones to its receiver. Raises NumericsError."""
    scoring, begin = request.scoring, request.sequence.computed
    if scoring is None:
        return
    rows = [row - begin for row in scoring.rows if begin <= row < begin + len(hidden)]
    for run in runs(rows, HEAD_ROWS):
        with runner.frame():
            logits = runner.head(hidden[run.start : run.stop])
            if not runner.is_finite(logits):
                raise not_finite(runner.source)
            scoring.receive(begin + run.start, logits)
