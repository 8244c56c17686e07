"""The engine: takes whole sequences of tokens, runs steps, delivers tokens or logits.

Owns the loop: admit, build one Step of rows of several sequences, forward, head for the rows that need logits, sample,
deliver. A model that streams its experts computes prompts in passes, a layer between two steps (passes.py). The ledger
decides which requests run and what memory they use. Knows tokens, not text. Any thread may call it: each call, and each
step, takes `lock`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Iterator
from collections.abc import Sequence as Tokens
from contextlib import closing, contextmanager
from typing import Literal

from shoestring.engine.batch import build_step, observer
from shoestring.engine.draw import deliveries, draw, final_delivery, not_finite, score_rows
from shoestring.engine.guide import Guide
from shoestring.engine.ledger import Ledger
from shoestring.engine.lock import FairLock, exclusive
from shoestring.engine.passes import Passes
from shoestring.engine.pictures.encoder import Encoder
from shoestring.engine.pictures.placed import PromptPictures
from shoestring.engine.pictures.store import PICTURE_BYTES
from shoestring.engine.pictures.turns import PictureTurns
from shoestring.engine.pools import STRIDE, allocate_state, copy_page, default_capacity, reserve_of
from shoestring.engine.request import (
    Counts,
    Generation,
    ObserveRows,
    Receive,
    Request,
    Scoring,
    Status,
    check_bias,
    check_tokens,
    first_row,
    most_new_tokens,
)
from shoestring.engine.request import Delivery as Delivery
from shoestring.engine.request import FinishReason as FinishReason
from shoestring.engine.runner import Runner
from shoestring.engine.scheduler import Scheduler, Span
from shoestring.engine.sequence import Sequence
from shoestring.engine.tree import Tree
from shoestring.errors import RequestError
from shoestring.kv_types import KVType
from shoestring.models.layout import Demand
from shoestring.models.slices import CHUNK
from shoestring.models.step import Step
from shoestring.ops import Float32
from shoestring.ops.sampling import Sampling


class Engine:
    """A model with its state.

    context: most tokens of a sequence. sequences: most that run at once. cache_bytes: size of the prefix cache, beside
    the running sequences; None: only what they leave free. snapshots: resume points of recurrent state per sequence if
    cache_bytes is None. stride: most tokens that a request recomputes although the cache has them. capacity: pages and
    slots in total, cache included; default: computed from the above. encoder: of pictures; None: text alone.
    picture_bytes: of encoded pictures that are kept for later requests.

    Raises CapacityError if the state cannot be allocated.
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
        encoder: Encoder | None = None,
        picture_bytes: int = PICTURE_BYTES,
    ) -> None:
        layout = runner.layout
        self.context = context
        self.kv_type = kv_type
        self.runner = runner
        if capacity is None:
            capacity = default_capacity(layout, context, sequences, snapshots, cache_bytes, kv_type, stride)
        self.capacity = capacity
        self.tree = Tree(
            self.capacity,
            chunk_size=layout.chunk_size,
            recurrent=bool(layout.recurrent_layers),
            unit_bytes=layout.unit_bytes(kv_type),
            cache_bytes=cache_bytes,
            stride=stride,
        )
        reserve = reserve_of(layout, self.capacity, context, sequences)
        passes, chunk = runner.pass_rows is not None, runner.pass_rows or CHUNK
        self.scheduler = Scheduler(self.capacity, chunk=chunk, most_running=sequences, reserve=reserve, passes=passes)
        self._ledger = Ledger(self.tree, self.scheduler)
        self._state = allocate_state(layout, self.capacity, kv_type)
        self._requests: dict[int, Request] = {}
        #: finished requests that are not cancelled yet
        self._over: dict[int, Request] = {}
        self._undelivered: list[Delivery] = []
        #: for each call and each step; who pushes deliveries into a guide's machine takes it too
        self.lock = FairLock()
        #: requests that a finalizer has cancelled
        self._dropped: deque[int] = deque()
        self._closed = False
        self._passes = Passes(runner, self._ledger, self._requests)
        self._pictures = PictureTurns(runner, encoder, self._ledger, self._requests, picture_bytes)
        self._cached_tokens = self._computed_tokens = 0
        self._next = 0

    # --- requests ----------------------------------------------------------------------------------------------

    @exclusive
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
        cache_owner: str = "",
        scoring: Scoring | None = None,
        pictures: PromptPictures | None = None,
    ) -> int:
        """Submit a prompt; `collect` or `deliveries` returns its answer. Returns the request's number.

        boundaries: positions where a later request may branch off. chunk: most rows of the prompt in one step.
        index: which answer to one prompt this is. guide: restricts and forces tokens. client: clients get equal
        turns, and one that has a name leaves a place and memory to others (scheduler.py). cache_owner: whose entries of
        the prefix cache it uses (tree.py). scoring: score the prompt too, before the first token. pictures: the rows
        with negative ids.
        `cancel` the number when you are done with it, even after its end.
        Raises CapacityError for a prompt longer than the context, RequestError for an empty one.
        """
        self._check(tokens, chunk, pictures)
        most = most_new_tokens(len(tokens), max_tokens, self.context)
        check_bias(sampling, self.runner.vocab_size)
        work = Generation(sampling.seeded(), most, index, frozenset(stop_ids), guide, scoring)
        # From the state before the prompt's last token, the same prompt or a longer one can resume.
        last = len(tokens) - 1
        sequence = self._pictures.sequence(tokens, pictures, (*boundaries, last), cache_owner)
        limit = last if scoring is None else first_row(scoring, len(tokens))
        return self._submit(sequence, work, len(tokens) + most, limit, chunk, client)

    @exclusive
    def collect(self) -> list[Delivery]:
        """The deliveries of all requests since the last call, in order."""
        deliveries, self._undelivered = self._undelivered, []
        return deliveries

    def deliveries(self, numbers: Collection[int]) -> list[Delivery]:
        """Step until there are deliveries of these requests and return them; empty if all these requests are over."""
        while (deliveries := self._next_deliveries(numbers)) is None:
            pass
        return deliveries

    @exclusive
    def _next_deliveries(self, numbers: Collection[int]) -> list[Delivery] | None:
        """The deliveries of these requests; None after a step, in which other threads get their turn."""
        deliveries = [delivery for delivery in self._undelivered if delivery.number in numbers]
        if deliveries or not any(number in self._requests for number in numbers):
            self._undelivered = [delivery for delivery in self._undelivered if delivery.number not in numbers]
            return deliveries
        self.step()
        return None

    @exclusive
    def submit_scoring(
        self,
        tokens: Tokens[int],
        scoring: Scoring,
        *,
        chunk: int | None = None,
        client: str = "",
        cache_owner: str = "",
        pictures: PromptPictures | None = None,
    ) -> int:
        """Run the tokens up to the last of `scoring.rows`. Its one delivery, at the end, has no token.

        Returns the request's number. Raises as `generate` does.
        """
        self._check(tokens, chunk, pictures)
        limit = first_row(scoring, len(tokens))
        upto = len(tokens) if scoring.observe is not None else scoring.rows[-1] + 1
        sequence = self._pictures.sequence(tokens[:upto], pictures, (), cache_owner)
        return self._submit(sequence, scoring, upto, limit, chunk, client)

    def score(
        self,
        tokens: Tokens[int],
        receive: Receive,
        *,
        rows: Tokens[int] | None = None,
        chunk: int | None = None,
        observe: ObserveRows | None = None,
        pictures: PromptPictures | None = None,
    ) -> None:
        """Run the tokens and call `receive` with the logits of `rows` (positions, default all).

        Ascending, some at a time. observe: called with the hidden states of all tokens. Other requests
        continue meanwhile. Raises as `generate` does, and NumericsError if a logit is not finite.
        """
        scored = range(len(tokens)) if rows is None else sorted(set(rows))
        scoring = Scoring(tuple(scored), receive, observe)
        number = self.submit_scoring(tokens, scoring, chunk=chunk, pictures=pictures)
        try:
            for delivery in self.deliveries([number]):
                if delivery.error is not None:
                    raise delivery.error
        finally:
            self.cancel(number)

    @exclusive
    def cancel(self, number: int) -> None:
        """End a request and drop its deliveries; what it computed stays in the cache. Harmless if it is over."""
        self._cancel(number)

    def cancel_soon(self, number: int) -> None:
        """Cancel before anything else that the engine does. For finalizers: they run inside any code, even a step."""
        self._dropped.append(number)

    def drop(self) -> None:
        """Run the cancellations of finalizers."""
        while self._dropped:
            self._cancel(self._dropped.popleft())

    def _cancel(self, number: int) -> None:
        self._finish(number)
        self._over.pop(number, None)
        self._undelivered = [delivery for delivery in self._undelivered if delivery.number != number]

    @exclusive
    def close(self) -> None:
        """Cancel all requests and free weights and state. The engine cannot be used afterwards."""
        if self._closed:
            return
        for number in [*self._requests]:
            self._cancel(number)
        self._closed = True
        runner = self.runner
        self._pictures.close()
        del self.runner, self._passes, self._pictures, self._state
        runner.close()

    @exclusive
    def status(self, number: int) -> Status:
        """Progress of a request; "over", without numbers, if it was cancelled or never existed."""
        request = self._requests.get(number) or self._over.get(number)
        if request is None:
            return Status("over")
        computed = min(request.sequence.computed, request.prompt_length) - request.cached_tokens
        computed += self._passes.progress(number) if number in self._requests else 0
        state: Literal["waiting", "running", "over"] = "over"
        if number in self._requests:
            state = "running" if self._ledger.is_running(number) else "waiting"
        encoded = self._pictures.progress(number) if number in self._requests else (0, 0)
        return Status(state, request.prompt_length, request.cached_tokens, max(0, computed), *encoded)

    def share_cache(self, shared: bool) -> None:
        """Whether requests also resume from entries of other owners, in whole strides (tree.py)."""
        self.tree.shared = shared

    @exclusive
    def counts(self) -> Counts:
        """Sums over all requests, for metrics."""
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
            slowest_layer_seconds=self._passes.slowest_seconds,
        )

    def _finish(self, number: int, *, keep: bool = True) -> None:
        request = self._requests.pop(number, None)
        if request is not None:
            self._over[number] = request
            if self._passes.rows(number):
                self._passes.drop_deserted()
            else:
                self._ledger.finish(number, keep=keep)
            self._pictures.drop_deserted()

    def _fail(self, number: int, error: Exception, *, keep: bool = True) -> None:
        """End a request with an error; other requests continue."""
        self._undelivered.append(final_delivery(number, self._requests[number], error))
        self._finish(number, keep=keep)

    def _check(self, tokens: Tokens[int], chunk: int | None, pictures: PromptPictures | None) -> None:
        if self._closed:
            raise RequestError("the model is closed: load it again")
        check_tokens(tokens, chunk, self.context, self.runner.vocab_size, pictures)

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
    @exclusive
    def idle(self) -> bool:
        """Whether no request waits or runs."""
        return not self._requests

    @exclusive
    def step(self) -> None:
        """Admit what fits and run one step; `collect` or `deliveries` returns the results.

        First compute a layer of a picture, if there is one to encode. With passes: compute one layer of a pass, and
        then a step of the answers. A request ends with an error if its picture cannot be encoded, its logits are not
        finite or its guide fails. If the step or the pass itself fails, its requests end and their results are
        evicted, because their state may be half written; then the error is raised.
        """
        if not self._requests:
            return
        self._admit()
        try:
            for number, error in self._pictures.advance():
                self._fail(number, error)
            if self.scheduler.passes:
                self._advance_pass()
            self._run_step()
        finally:
            if self.idle:
                self.check()

    def _run_step(self) -> None:
        spans = self._ledger.plan()
        if not spans:
            return
        with self._ending_failed(spans):
            answers = sum(self.scheduler.is_answering(span.number) for span in spans)
            rows = sum(span.rows for span in spans) - answers
            began = time.perf_counter()
            step = build_step([(self._requests[span.number].sequence, span.rows) for span in spans])
            with self.runner.frame():
                hidden = self.runner.forward(self._state, step, observer(self._requests, spans, step))
                self._deliver(spans, step, hidden)
            self.scheduler.measured(answers, rows, time.perf_counter() - began)

    def _advance_pass(self) -> None:
        """Compute a layer of the pass in flight, or of the next one; deliver its results after the last layer."""
        spans = self._passes.spans()
        if not spans:
            return
        with self._ending_failed(spans), self.runner.frame():
            if (last := self._passes.advance(spans, self._state)) is not None:
                current, hidden = last
                with closing(current):
                    self._deliver(spans, current.step, hidden)
        self._passes.drop_deserted()

    @contextmanager
    def _ending_failed(self, spans: tuple[Span, ...]) -> Iterator[None]:
        """If a step or a pass of the spans fails, end their requests."""
        try:
            yield
        except BaseException as error:
            self._passes.abort(spans)
            for span in spans:
                if span.number in self._requests:
                    failed = error if isinstance(error, Exception) else RequestError("the step was interrupted")
                    self._fail(span.number, failed, keep=False)
                elif self._ledger.is_running(span.number):  # cancelled inside the pass
                    self._ledger.finish(span.number, keep=False)
            raise

    @exclusive
    def check(self) -> None:
        """Check that no page or slot is lost or has two owners. Raises AssertionError."""
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
        """Score rows, account for every span, and sample where a sequence has no tokens left to compute."""
        sampling: list[tuple[int, Generation, int]] = []
        for span, first in zip(spans, step.span_starts.tolist(), strict=False):
            request, end = self._requests.get(span.number), first + span.rows
            if request is None:
                if self._ledger.is_running(span.number):  # cancelled inside a pass
                    self._computed(span)
                    self._ledger.finish(span.number)
                continue
            try:
                score_rows(self.runner, request, hidden[first:end])
            except Exception as error:  # a logit is not finite, or the receiver fails
                self._fail(span.number, error, keep=False)
                continue
            self._computed(span)
            if self.scheduler.remaining(span.number) == 0:
                if isinstance(request.work, Scoring):
                    self._undelivered.append(final_delivery(span.number, request))
                    self._finish(span.number)
                else:
                    sampling.append((span.number, request.work, end - 1))
        if sampling:
            self._sample(sampling, self.runner.head(hidden[[row for _, _, row in sampling]]))

    def _computed(self, span: Span) -> None:
        self._ledger.computed(span)
        self._computed_tokens += span.rows

    def _sample(self, sampling: list[tuple[int, Generation, int]], logits: Float32) -> None:
        finite = self.runner.is_finite(logits)
        for row, (number, work, _) in enumerate(sampling):
            request = self._requests[number]
            if not finite and not self.runner.is_finite(logits[row : row + 1]):
                self._fail(number, not_finite(self.runner.source), keep=False)
                continue
            try:
                drawn = draw(self.runner, request, work, logits[row])
            except Exception as error:  # the guide fails or allows no token: end this request alone
                self._fail(number, error)
                continue
            for delivery in deliveries(number, request, work, drawn, self.context):
                self._ledger.extend(number, delivery.sampled.id)
                self._undelivered.append(delivery)
                if delivery.finish_reason is not None:
                    self._finish(number)
