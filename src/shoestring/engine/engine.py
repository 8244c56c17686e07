"""The engine: takes whole sequences of tokens, runs steps, delivers tokens or logits.

Owns the loop: admit, build one Step of rows of several sequences, forward, head for the rows that want logits,
sample, deliver. Who runs and what is held is the ledger's. Knows tokens, no text. Not thread-safe: one loop owns
the model.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from collections.abc import Sequence as Tokens
from typing import Literal

import numpy as np
import numpy.typing as npt

from shoestring.engine.batch import build_step, runs
from shoestring.engine.draw import deliveries, draw, end, not_finite
from shoestring.engine.guide import Guide
from shoestring.engine.ledger import Ledger
from shoestring.engine.pools import STRIDE, allocate_state, cache_room, copy_page
from shoestring.engine.request import Counts, Generation, ObserveRows, Receive, Request, Scoring, Status
from shoestring.engine.request import Delivery as Delivery
from shoestring.engine.request import FinishReason as FinishReason
from shoestring.engine.runner import Runner
from shoestring.engine.scheduler import Scheduler, Span
from shoestring.engine.sequence import Sequence
from shoestring.engine.tree import Tree
from shoestring.errors import CapacityError, RequestError
from shoestring.models.layout import Demand
from shoestring.models.state import KVType
from shoestring.models.step import Observe, Step
from shoestring.models.workspace import CHUNK, HEAD_ROWS
from shoestring.ops.sampling import Sampling

Float32 = npt.NDArray[np.float32]


class Engine:
    """A model with its state.

    context: most tokens of a sequence. sequences: most that run at once. cache_bytes: for what later requests may
    go on from, beside the running ones' own; None: no more than what they leave free. snapshots: resume points of
    recurrent state a sequence where cache_bytes is None. stride: most tokens that a request computes again of what
    the cache holds. capacity: pages and slots in all, cache included; default by the above.

    Raises CapacityError when the state cannot be allocated.
    """

    def __init__(
        self,
        runner: Runner,
        *,
        context: int,
        kv_type: KVType = "f16",
        sequences: int = 1,
        snapshots: int = 3,
        cache_bytes: int | None = None,
        stride: int = STRIDE,
        capacity: Demand | None = None,
    ) -> None:
        layout = runner.layout
        self.context = context
        self.kv_type = kv_type
        self.runner = runner
        if capacity is None and cache_bytes is None:
            capacity = layout.capacity(context, sequences, snapshots)
        elif capacity is None:
            room = cache_room(layout, cache_bytes or 0, kv_type, stride)
            capacity = layout.capacity(context, sequences) + room
        self.capacity = capacity
        self.tree = Tree(
            self.capacity,
            chunk_size=layout.chunk_size,
            recurrent=bool(layout.recurrent_layers),
            unit_bytes=layout.unit_bytes(kv_type),
            cache_bytes=cache_bytes,
            stride=stride,
        )
        self.scheduler = Scheduler(self.capacity, chunk=CHUNK, most_running=sequences)
        self._ledger = Ledger(self.tree, self.scheduler)
        self._state = allocate_state(layout, self.capacity, kv_type)
        self._requests: dict[int, Request] = {}
        #: what requests are over that nobody has cancelled yet
        self._over: dict[int, Request] = {}
        self._news: list[Delivery] = []
        self._cached_tokens = self._computed_tokens = 0
        self._next = 0

    # --- requests ----------------------------------------------------------------------------------------------

    def generate(
        self,
        tokens: Tokens[int],
        sampling: Sampling,
        *,
        max_tokens: int | None = None,
        stop_ids: Collection[int] = (),
        boundaries: Tokens[int] = (),
        chunk: int | None = None,
        index: int = 0,
        guide: Guide | None = None,
        client: str = "",
        scoring: Scoring | None = None,
    ) -> int:
        """Submit a prompt; `collect` or `deliveries` brings what follows it. Returns the request's number.

        boundaries: positions where a later request may branch off. index: which answer to one prompt this is.
        guide: says what may be sampled and what must follow. client: between clients the engine is fair. scoring:
        of the prompt, complete before the first token comes.
        `cancel` the number when you are done with it, also after its end.
        Raises CapacityError for a prompt longer than the context, RequestError for an empty one.
        """
        self._check(tokens, chunk)
        room = self.context - len(tokens)
        if room == 0:
            raise CapacityError(
                f"the prompt's {len(tokens)} tokens fill the context of {self.context}: choose a larger --context"
            )
        if max_tokens is not None and max_tokens < 1:
            raise RequestError(f"max_tokens is {max_tokens}: choose at least 1")
        self._check_bias(sampling)
        most = room if max_tokens is None else min(max_tokens, room)
        work = Generation(sampling.seeded(), most, index, frozenset(stop_ids), guide, scoring)
        # The state just before the prompt's last token lets the same prompt, or a longer one, go on from there.
        last = len(tokens) - 1
        sequence = Sequence(tokens, boundaries=(*boundaries, last))
        limit = last if scoring is None else self._first_row(scoring, len(tokens))
        return self._submit(sequence, work, len(tokens) + most, limit, chunk, client)

    def collect(self) -> list[Delivery]:
        """The news of all requests since the last call, in the order in which they came."""
        news, self._news = self._news, []
        return news

    def deliveries(self, numbers: Collection[int]) -> list[Delivery]:
        """Step until one of these requests has news; empty when none of them goes on."""
        wanted = set(numbers)
        while True:
            news = [delivery for delivery in self._news if delivery.number in wanted]
            if news:
                self._news = [delivery for delivery in self._news if delivery.number not in wanted]
                return news
            if not any(number in self._requests for number in numbers):
                return []
            self.step()

    def submit_scoring(
        self, tokens: Tokens[int], scoring: Scoring, *, chunk: int | None = None, client: str = ""
    ) -> int:
        """Run the tokens up to the last of `scoring.rows`; the last news of it has no token.

        Returns the request's number. Raises as `generate` does.
        """
        self._check(tokens, chunk)
        limit = self._first_row(scoring, len(tokens))
        upto = len(tokens) if scoring.observe is not None else scoring.rows[-1] + 1
        return self._submit(Sequence(tokens[:upto]), scoring, upto, limit, chunk, client)

    def score(
        self,
        tokens: Tokens[int],
        receive: Receive,
        *,
        rows: Tokens[int] | None = None,
        chunk: int | None = None,
        observe: ObserveRows | None = None,
    ) -> None:
        """Run the tokens and hand the logits of `rows` (ascending positions, default all) to `receive`.

        At most HEAD_ROWS at a time, ascending. observe: sees the hidden states of all tokens. Other requests go on
        meanwhile. Raises as `generate` does, and NumericsError when a logit is not finite.
        """
        wanted = range(len(tokens)) if rows is None else sorted(set(rows))
        number = self.submit_scoring(tokens, Scoring(tuple(wanted), receive, observe), chunk=chunk)
        try:
            for delivery in self.deliveries([number]):
                if delivery.error is not None:
                    raise delivery.error
        finally:
            self.cancel(number)

    def _first_row(self, scoring: Scoring, tokens: int) -> int:
        """The first row that is to be computed. Raises RequestError for rows out of range."""
        rows = scoring.rows
        if not rows or rows[0] < 0 or rows[-1] >= tokens:
            raise RequestError(f"rows must lie between 0 and {tokens - 1}, the last token's")
        return rows[0] if scoring.observe is None else 0

    def cancel(self, number: int) -> None:
        """Forget a request and its news; what it computed may serve a later one. Harmless when it is over."""
        self._finish(number)
        self._over.pop(number, None)
        self._news = [delivery for delivery in self._news if delivery.number != number]

    def close(self) -> None:
        """Free weights and state. All requests are over, and there can be no others."""
        for number in [*self._requests]:
            self.cancel(number)
        del self.runner, self._state

    def status(self, number: int) -> Status:
        """How far a request is; of one that was cancelled or never there: over, without numbers."""
        request = self._requests.get(number) or self._over.get(number)
        if request is None:
            return Status("over")
        computed = min(request.sequence.computed, request.prompt_length) - request.cached_tokens
        state: Literal["waiting", "running", "over"] = "over"
        if number in self._requests:
            state = "running" if self._ledger.is_running(number) else "waiting"
        return Status(state, request.prompt_length, request.cached_tokens, max(0, computed))

    def counts(self) -> Counts:
        """Sums for whoever watches the engine."""
        return Counts(
            running=len(self.scheduler.running),
            waiting=len(self.scheduler.waiting),
            capacity=self.capacity,
            used=self.tree.used,
            cached=self.tree.cached,
            free=self.tree.pools.free,
            cached_bytes=self.tree.cached_bytes,
            cached_tokens=self._cached_tokens,
            computed_tokens=self._computed_tokens,
        )

    def _finish(self, number: int, *, keep: bool = True) -> None:
        request = self._requests.pop(number, None)
        if request is not None:
            self._over[number] = request
            self._ledger.finish(number, keep=keep)

    def _fail(self, number: int, error: Exception, *, keep: bool = True) -> None:
        """The request is over; other requests go on."""
        self._news.append(end(number, self._requests[number], error))
        self._finish(number, keep=keep)

    def _check(self, tokens: Tokens[int], chunk: int | None) -> None:
        if len(tokens) == 0:
            raise RequestError("the prompt is empty: give at least one token")
        if chunk is not None and chunk < 1:
            raise RequestError(f"chunk is {chunk}: choose at least 1")
        if len(tokens) > self.context:
            raise CapacityError(
                f"the prompt has {len(tokens)} tokens and the context {self.context}: "
                "shorten it or choose a larger --context"
            )
        if min(tokens) < 0 or max(tokens) >= self.runner.vocab_size:
            raise RequestError(f"token ids must lie between 0 and {self.runner.vocab_size - 1}")

    def _check_bias(self, sampling: Sampling) -> None:
        for token in sampling.logit_bias:
            if token >= self.runner.vocab_size:
                raise RequestError(
                    f"logit_bias names token {token}, the vocabulary ends at {self.runner.vocab_size - 1}"
                )

    def _submit(
        self, sequence: Sequence, work: Generation | Scoring, longest: int, limit: int, chunk: int | None, client: str
    ) -> int:
        number = self._next
        demand = self.runner.layout.demand(longest)
        self._ledger.submit(number, sequence, demand, limit, chunk, client)
        self._next += 1
        self._requests[number] = Request(sequence, len(sequence.tokens), work)
        return number

    # --- the loop ----------------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Nobody waits and nobody runs."""
        return not self._requests

    def step(self) -> None:
        """Run one step of everybody who is admitted; what came of it waits in `collect` or `deliveries`.

        A request whose logits are not finite, or whose guide fails, ends with that error. What interrupts the step
        itself is raised; all its requests are then over, and what they computed is forgotten: their state may be
        half written.
        """
        self._admit()
        spans = self._ledger.plan()
        if not spans:
            return
        try:
            answers = sum(self.scheduler.is_answering(span.number) for span in spans)
            rows = sum(span.rows for span in spans) - answers
            began = time.perf_counter()
            step = build_step([(self._requests[span.number].sequence, span.rows) for span in spans])
            with self.runner.frame():
                hidden = self.runner.forward(self._state, step, self._observer(spans, step))
                self._deliver(spans, step, hidden)
            self.scheduler.measured(answers, rows, time.perf_counter() - began)
        except BaseException as error:
            for span in spans:
                if span.number in self._requests:
                    failed = error if isinstance(error, Exception) else RequestError("the step was interrupted")
                    self._fail(span.number, failed, keep=False)
            raise
        finally:
            if self.idle:
                self.check()

    def check(self) -> None:
        """The sums that must hold between steps: nothing is lost, nothing is held twice."""
        self._ledger.check()

    def _admit(self) -> None:
        layout = self.runner.layout
        for number, copies in self._ledger.admit():
            for copy in copies:
                copy_page(self._state, layout, chunk=copy.chunk, source=copy.source, target=copy.target)
            request = self._requests[number]
            request.cached_tokens = request.sequence.computed
            self._cached_tokens += request.cached_tokens

    def _deliver(self, spans: tuple[Span, ...], step: Step, hidden: Float32) -> None:
        """Hand out the logits of a step, sample, and move every sequence on."""
        asking: list[tuple[int, Generation, int]] = []
        for span, first in zip(spans, step.span_starts.tolist(), strict=False):
            request, behind = self._requests[span.number], first + span.rows
            try:
                self._score(request, hidden[first:behind])
            except Exception as error:  # a logit is not finite, or what receives the logits fails
                self._fail(span.number, error, keep=False)
                continue
            self._ledger.computed(span)
            self._computed_tokens += span.rows
            if self.scheduler.remaining(span.number) == 0:
                if isinstance(request.work, Scoring):
                    self._news.append(end(span.number, request))
                    self._finish(span.number)
                else:
                    asking.append((span.number, request.work, behind - 1))
        if asking:
            self._sample(asking, self.runner.head(hidden[[row for _, _, row in asking]]))

    def _observer(self, spans: tuple[Span, ...], step: Step) -> Observe | None:
        """What shows the rows of each span to the request that observes them; None: no request does."""
        places = []
        for span, first in zip(spans, step.span_starts.tolist(), strict=False):
            request = self._requests[span.number]
            if request.scoring is not None and request.scoring.observe is not None:
                place = slice(first, first + span.rows)
                places.append((request.scoring.observe, request.sequence.computed, place))

        def observe(layer: int, hidden: Float32) -> None:
            for show, position, place in places:
                show(layer, position, hidden[place])

        return observe if places else None

    def _score(self, request: Request, hidden: Float32) -> None:
        """Hand out the logits that the request scores. Raises NumericsError."""
        scoring, begin = request.scoring, request.sequence.computed
        if scoring is None:
            return
        rows = [row - begin for row in scoring.rows if begin <= row < begin + len(hidden)]
        for run in runs(rows, HEAD_ROWS):
            with self.runner.frame():
                logits = self.runner.head(hidden[run.start : run.stop])
                if not self.runner.is_finite(logits):
                    raise not_finite()
                scoring.receive(begin + run.start, logits)

    def _sample(self, asking: list[tuple[int, Generation, int]], logits: Float32) -> None:
        finite = self.runner.is_finite(logits)
        for row, (number, work, _) in enumerate(asking):
            request = self._requests[number]
            if not finite and not self.runner.is_finite(logits[row : row + 1]):
                self._fail(number, not_finite(), keep=False)
                continue
            try:
                drawn = draw(self.runner, request, work, logits[row])
            except Exception as error:  # of the guide, or none is allowed: this request's alone
                self._fail(number, error)
                continue
            for delivery in deliveries(number, request, work, drawn, self.context):
                self._ledger.extend(number, delivery.sampled.id)
                self._news.append(delivery)
                if delivery.finish_reason is not None:
                    self._finish(number)
