"""The engine: takes whole sequences of tokens, runs steps, delivers tokens or logits.

Owns the loop: admit, build one Step of rows of several sequences, forward, head for the rows that want logits,
sample, deliver. Knows tokens, no text. Not thread-safe: one loop owns the model.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Sequence as Tokens

import numpy as np
import numpy.typing as npt

from shoestring.engine.cache import Demand, Pools, allocate_state
from shoestring.engine.guide import Guide
from shoestring.engine.request import Counts, Receive, Request, Status
from shoestring.engine.request import Delivery as Delivery
from shoestring.engine.request import FinishReason as FinishReason
from shoestring.engine.runner import Runner
from shoestring.engine.sampler import Sampled, Sampling
from shoestring.engine.scheduler import Scheduler, Span
from shoestring.engine.sequence import Sequence
from shoestring.errors import CapacityError, NumericsError, RequestError
from shoestring.models.state import KVType
from shoestring.models.step import PageTable, Step

Float32 = npt.NDArray[np.float32]

#: Rows of a prompt in one step, unless the caller asks for others; no bits depend on it.
CHUNK = 512
#: Most rows of logits that exist at once.
HEAD_ROWS = 128


class Engine:
    """A model with its state. `context`: most tokens of a sequence; `snapshots`: resume points kept a sequence.

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
        capacity: Demand | None = None,
    ) -> None:
        layout = runner.layout
        self.context = context
        self.kv_type = kv_type
        self.runner = runner
        self.snapshots = snapshots if layout.recurrent_layers else 0
        self.capacity = capacity or capacity_of(runner, context, sequences, snapshots)
        self.pools = Pools(self.capacity)
        self.scheduler = Scheduler(self.capacity, chunk=CHUNK, most_running=sequences)
        self._state = allocate_state(layout, self.capacity, kv_type)
        self._chunk_size = layout.chunk_size
        self._recurrent = bool(layout.recurrent_layers)
        self._requests: dict[int, Request] = {}
        #: sequences that no request runs, most recently used last
        self._resting: list[Sequence] = []
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
    ) -> int:
        """Submit a prompt; `collect` or `deliveries` brings what follows it. Returns the request's number.

        boundaries: positions where a later request may branch off. index: which answer to one prompt this is.
        guide: says what may be sampled and what must follow. client: between clients the engine is fair.
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
        # The state just before the prompt's last token lets the same prompt, or a longer one, go on from there.
        request = Request(
            self._sequence(tokens, (*boundaries, len(tokens) - 1)),
            len(tokens),
            chunk,
            sampling=sampling.seeded(),
            most_tokens=most,
            index=index,
            stop_ids=frozenset(stop_ids),
            guide=guide,
            client=client,
        )
        return self._submit(request, len(tokens) + most)

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

    def score(
        self, tokens: Tokens[int], receive: Receive, *, rows: Tokens[int] | None = None, chunk: int | None = None
    ) -> None:
        """Run the tokens and hand the logits of `rows` (ascending positions, default all) to `receive`.

        At most HEAD_ROWS at a time, ascending. Other requests go on meanwhile. Raises as `generate` does.
        """
        self._check(tokens, chunk)
        wanted = tuple(range(len(tokens))) if rows is None else tuple(sorted(set(rows)))
        if not wanted or wanted[0] < 0 or wanted[-1] >= len(tokens):
            raise RequestError(f"rows must lie between 0 and {len(tokens) - 1}, the last token's")
        upto = tokens[: wanted[-1] + 1]
        request = Request(self._sequence(upto, ()), len(upto), chunk, receive=receive, rows=wanted)
        number = self._submit(request, len(upto))
        try:
            while number in self._requests:
                self.step()
        finally:
            self.cancel(number)

    def cancel(self, number: int) -> None:
        """Forget a request and its news; what it computed may serve a later one. Harmless when it is over."""
        self._finish(number)
        self._over.pop(number, None)
        self._news = [delivery for delivery in self._news if delivery.number != number]

    def status(self, number: int) -> Status:
        """How far a request is; of one that was cancelled or never there: over, without numbers."""
        request = self._requests.get(number) or self._over.get(number)
        if request is None:
            return Status("over")
        computed = min(request.sequence.computed, request.prompt_length) - request.cached_tokens
        running = number in self.scheduler.running
        state = "over" if number in self._over else "running" if running else "waiting"
        return Status(state, request.prompt_length, request.cached_tokens, max(0, computed))  # type: ignore[arg-type]

    def counts(self) -> Counts:
        """Sums for whoever watches the engine."""
        cached = self._resting_held()
        return Counts(
            running=len(self.scheduler.running),
            waiting=len(self.scheduler.waiting),
            capacity=self.capacity,
            used=self.pools.used - cached,
            cached=cached,
            free=self.pools.free,
            cached_bytes=self.runner.layout.nbytes(cached, self.kv_type),
            cached_tokens=self._cached_tokens,
            computed_tokens=self._computed_tokens,
        )

    def _finish(self, number: int) -> None:
        request = self._requests.pop(number, None)
        if request is None:
            return
        self._over[number] = request
        running = number in self.scheduler.running
        self.scheduler.finish(number)
        if running:
            self._rest(request.sequence)

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

    def _sequence(self, tokens: Tokens[int], boundaries: Tokens[int]) -> Sequence:
        return Sequence(tokens, chunk_size=self._chunk_size, recurrent=self._recurrent, boundaries=boundaries)

    def _submit(self, request: Request, longest: int) -> int:
        number = self._next
        demand = self.runner.layout.demand(longest) + Demand(slots=self.snapshots)
        self.scheduler.submit(number, len(request.sequence.tokens), demand, request.chunk)
        self._next += 1
        self._requests[number] = request
        return number

    # --- the loop ----------------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Nobody waits and nobody runs."""
        return not self._requests

    def step(self) -> None:
        """Run one step of everybody who is admitted; tokens that were sampled wait in `deliveries`.

        Raises NumericsError when a logit is not finite; the requests of the step are then over. Whatever
        interrupts a step, its sequences are dropped whole: their state may be half written.
        """
        self._admit()
        edges = {n: self._requests[n].sequence.rows_to_edge() for n in self.scheduler.running}
        spans = self.scheduler.plan(edges)
        if not spans:
            return
        try:
            step = self._build(spans)
            with self.runner.frame():
                hidden = self.runner.forward(self._state, step)
                self._deliver(spans, step, hidden)
        except BaseException:
            for span in spans:
                self._drop(span.number)
            raise
        finally:
            if self.idle:
                self.check()

    def check(self) -> None:
        """The sums that must hold whenever the engine is idle: what rests is what is used, nothing is lost."""
        self.pools.check()
        held = Demand()
        for sequence in self._resting:
            held = held + sequence.held()
        if self.idle and held != self.pools.used:
            raise AssertionError(f"{self.pools.used} are in use, sequences hold {held}")

    def _admit(self) -> None:
        for number in self.scheduler.admit():
            request = self._requests[number]
            self._reuse(request)
            self.scheduler.reused(number, request.sequence.computed)
            request.cached_tokens = request.sequence.computed
            self._cached_tokens += request.cached_tokens
        while self._resting and not self.scheduler.reserved.fits(self.capacity - self._resting_held()):
            self._resting.pop(0).release(self.pools)

    def _resting_held(self) -> Demand:
        held = Demand()
        for sequence in self._resting:
            held = held + sequence.held()
        return held

    def _reuse(self, request: Request) -> None:
        """Let the request go on from the resting sequence that saves it most."""
        tokens, boundaries = request.sequence.tokens, request.sequence.boundaries
        # The last token is always computed, for its logits; so is every row that is asked for.
        limit = request.rows[0] if request.rows else len(tokens) - 1
        points = [sequence.resume_point(tokens, limit) for sequence in self._resting]
        best = max(range(len(points)), key=points.__getitem__, default=None)
        if best is None or points[best] == 0:
            return
        sequence = self._resting.pop(best)
        sequence.cut(self.pools, points[best])
        sequence.continue_with(tokens, boundaries)
        request.sequence = sequence

    def _rest(self, sequence: Sequence) -> None:
        if sequence.computed == 0:
            sequence.release(self.pools)
        else:
            self._resting.append(sequence)

    def _drop(self, number: int) -> None:
        request = self._requests.pop(number, None)
        if request is not None:
            self.scheduler.finish(number)
            request.sequence.release(self.pools)

    def _build(self, spans: tuple[Span, ...]) -> Step:
        sequences = [self._requests[span.number].sequence for span in spans]
        starts, ids, index, snapshots, reads = [0], [], [], [], []
        for span, sequence in zip(spans, sequences, strict=True):
            first, end = sequence.computed, sequence.computed + span.rows
            sequence.grow(self.pools, span.rows)
            snapshots += [
                (starts[-1] + row, slot) for row, slot in sequence.snapshot_rows(self.pools, span.rows, self.snapshots)
            ]
            ids.append(np.array(sequence.tokens[first:end], np.int32))
            index.append(np.arange(first, end, dtype=np.int64))
            reads.append(sequence.read_slot)
            starts.append(starts[-1] + span.rows)
        positions = np.concatenate(index)
        return Step(
            token_ids=np.concatenate(ids),
            index=positions,
            rotary_positions=np.ascontiguousarray(np.broadcast_to(positions[:, None], (len(positions), 3))),
            span_starts=np.array(starts, np.int32),
            global_pages=page_table([s.global_pages for s in sequences], [0] * len(sequences)),
            chunk_pages=page_table([s.chunk_pages for s in sequences], [s.first_chunk_page for s in sequences]),
            read_slots=np.array(reads, np.int32),
            write_slots=np.array([s.slot for s in sequences], np.int32),
            snapshots=np.array(snapshots, np.int32).reshape(-1, 2),
        )

    def _deliver(self, spans: tuple[Span, ...], step: Step, hidden: Float32) -> None:
        """Hand out the logits of a step, sample, and move every sequence on."""
        asking: list[tuple[int, Request, int]] = []
        for span, first in zip(spans, step.span_starts.tolist(), strict=False):
            request = self._requests[span.number]
            begin = request.sequence.computed
            if request.receive is not None:
                self._score(request, begin, hidden[first : first + span.rows])
            request.sequence.advance(span.rows)
            self._computed_tokens += span.rows
            self.scheduler.computed(span)
            if self.scheduler.remaining(span.number) == 0:
                if request.sampling is None:
                    self._finish(span.number)
                else:
                    asking.append((span.number, request, first + span.rows - 1))
        if asking:
            self._sample(asking, hidden)

    def _score(self, request: Request, begin: int, hidden: Float32) -> None:
        assert request.receive is not None
        rows = [row - begin for row in request.rows if begin <= row < begin + len(hidden)]
        for run in runs(rows, HEAD_ROWS):
            with self.runner.frame():
                logits = self._head(hidden[run.start : run.stop])
                request.receive(begin + run.start, logits)

    def _head(self, hidden: Float32) -> Float32:
        logits = self.runner.head(hidden)
        if not self.runner.is_finite(logits):
            raise NumericsError("a logit is not a finite number: the checkpoint's weights are damaged or out of range")
        return logits

    def _sample(self, asking: list[tuple[int, Request, int]], hidden: Float32) -> None:
        logits = self._head(hidden[[row for _, _, row in asking]])
        for row, (number, request, _) in enumerate(asking):
            try:
                tokens = self._draw(request, logits[row])
            except Exception as error:  # of the guide, or none is allowed: this request's alone
                position = len(request.sequence.tokens)
                self._news.append(Delivery(number, position, Sampled(-1), None, error=error))
                self._finish(number)
                continue
            for i, sampled in enumerate(tokens):
                reason = self._append(number, request, sampled.token)
                position = len(request.sequence.tokens) - 1
                self._news.append(Delivery(number, position, sampled, reason, forced=i > 0))
                if reason is not None:
                    self._finish(number)
                    break

    def _draw(self, request: Request, logits: Float32) -> list[Sampled]:
        """The token that follows, and those that the guide forces behind it."""
        sampling, guide, tokens = request.sampling, request.guide, request.sequence.tokens
        assert sampling is not None
        allowed = None
        if guide is not None:
            if not guide.penalties_apply:
                sampling = sampling.without_penalties()
            allowed = guide.allowed()
        sampled = self.runner.sample(logits, sampling, tokens, request.prompt_length, request.index, allowed)
        forced = () if guide is None else guide.accept(sampled.token)
        return [sampled, *map(Sampled, forced)]

    def _append(self, number: int, request: Request, token: int) -> FinishReason | None:
        """One token more; why the request ends with it, if it does."""
        tokens = request.sequence.tokens
        tokens.append(token)
        self.scheduler.extend(number)
        if token in request.stop_ids:
            return "stop"
        if len(tokens) - request.prompt_length >= request.most_tokens:
            return "context" if len(tokens) >= self.context else "length"
        return None


def capacity_of(runner: Runner, context: int, sequences: int, snapshots: int) -> Demand:
    """Pages and slots for `sequences` sequences of a whole context each."""
    layout = runner.layout
    return (layout.demand(context) + Demand(slots=snapshots if layout.recurrent_layers else 0)) * sequences


def page_table(pages: list[list[int]], first_page: list[int]) -> PageTable:
    """Lists of pages as one array; missing entries are 0 and never read."""
    entries = max(1, *(len(p) for p in pages)) if pages else 1
    table = np.zeros((len(pages), entries), np.int32)
    for row, numbers in enumerate(pages):
        table[row, : len(numbers)] = numbers
    return PageTable(pages=table, first_page=np.array(first_page, np.int64))


def runs(rows: list[int], most: int) -> list[range]:
    """Ascending numbers as ranges without gaps, none longer than `most`."""
    found: list[range] = []
    for row in rows:
        if found and found[-1].stop == row and len(found[-1]) < most:
            found[-1] = range(found[-1].start, row + 1)
        else:
            found.append(range(row, row + 1))
    return found
