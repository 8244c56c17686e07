"""The ledger: who waits, who runs, what each holds. All of the engine's arithmetic, no model, clock or arrays.

Owns the order of things: admit, plan a step, take its pages, account for it, let go. The scheduler counts tokens
and turns, the tree pages and slots; here they meet, so that a test can play thousands of histories against both.
"""

from __future__ import annotations

from shoestring.engine.prefix import Copy, Match, can_fork, common_prefix, match
from shoestring.engine.scheduler import Scheduler, Span
from shoestring.engine.sequence import Sequence
from shoestring.engine.tree import Tree
from shoestring.models.layout import Demand
from shoestring.models.state import PAGE_TOKENS


class _Entry:
    """A request's sequence, and what its waiting depends on."""

    def __init__(self, sequence: Sequence, limit: int) -> None:
        self.sequence = sequence
        self.prompt_length = len(sequence.tokens)
        #: no more tokens than that may come from the cache: the next one's logits are wanted
        self.limit = limit
        #: the running request whose prompt it waits for, or has waited for; it waits for one only
        self.leader: int | None = None
        #: tokens in common with running requests
        self.common: dict[int, int] = {}


class Ledger:
    """Scheduler and tree over the same requests, known by number."""

    def __init__(self, tree: Tree, scheduler: Scheduler) -> None:
        self.tree = tree
        self.scheduler = scheduler
        self._entries: dict[int, _Entry] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def sequence(self, number: int) -> Sequence:
        return self._entries[number].sequence

    def is_running(self, number: int) -> bool:
        return number in self.scheduler.running

    def submit(
        self, number: int, sequence: Sequence, demand: Demand, limit: int, chunk: int | None = None, client: str = ""
    ) -> None:
        """A new request. limit: most of its tokens that need no computing. Raises CapacityError if it never fits."""
        self.scheduler.submit(number, len(sequence.tokens), demand, chunk, client)
        self._entries[number] = _Entry(sequence, limit)

    def admit(self) -> list[tuple[int, list[Copy]]]:
        """Who runs from now on, with the copies of pages to be made for it, in this order, before the next step."""
        admitted, held = [], set[int]()
        while (number := self.scheduler.turn(held)) is not None:
            entry = self._entries[number]
            most_shared = min(entry.limit // PAGE_TOKENS, self.tree.used.global_pages)
            if not (self.scheduler.demand(number) - Demand(global_pages=most_shared)).fits(self.room):
                break  # without a look into the tree, which for a long prompt takes milliseconds
            found = match(self.tree, entry.sequence.tokens, entry.limit)
            if self._awaits_leader(entry, found):
                held.add(number)
                continue
            shared = sum(1 for node in found.nodes if node.users)
            cost = self.scheduler.demand(number) - Demand(global_pages=shared if self._has_pages else 0)
            if not cost.fits(self.room) or (found.source is not None and not can_fork(self.tree, found.source)):
                break
            self.scheduler.admit(number, found.position)
            admitted.append((number, entry.sequence.begin(self.tree, found)))
        return admitted

    @property
    def _has_pages(self) -> bool:
        return self.tree.pools.capacity.global_pages > 0

    @property
    def room(self) -> Demand:
        """What is not promised: pages in use count once, however many share them, and each sequence's to come."""
        held = Demand(self.tree.used.global_pages, 0, self.tree.reading)
        to_come = self.scheduler.reserved
        if self._has_pages:
            to_come -= Demand(global_pages=sum(len(self.sequence(n).nodes) for n in self.scheduler.running))
        return self.tree.pools.capacity - held - to_come

    def _awaits_leader(self, entry: _Entry, found: Match) -> bool:
        """Whether a running prompt will soon hold at least a page more of this one's tokens than there is now."""
        for number in self.scheduler.running:
            leader = self._entries[number]
            if entry.leader not in (None, number) or leader.sequence.computed >= leader.prompt_length:
                continue
            if number not in entry.common:
                entry.common[number] = common_prefix(entry.sequence.tokens, leader.sequence.tokens)
            place = leader.sequence.last_resume_point(self.tree, min(entry.common[number], entry.limit))
            if leader.sequence.computed < place and place - found.position >= PAGE_TOKENS:
                entry.leader = number
                return True
        return False

    def plan(self) -> tuple[Span, ...]:
        """The spans of the next step; the pages and slots that they need are taken."""
        size = self.tree.chunk_size
        edges = {n: self.sequence(n).rows_to_edge(size) for n in self.scheduler.running}
        spans = self.scheduler.plan(edges)
        for span in spans:
            self.sequence(span.number).grow(self.tree, span.rows)
        return spans

    def computed(self, span: Span) -> None:
        """A span has been computed."""
        self.sequence(span.number).advance(self.tree, span.rows)
        self.scheduler.computed(span)

    def extend(self, number: int, token: int) -> None:
        """A token was sampled or forced."""
        self.sequence(number).tokens.append(token)
        self.scheduler.extend(number)

    def finish(self, number: int, *, keep: bool = True) -> None:
        """A request is over; what it computed stays as cache. keep False: it is forgotten, a step has failed."""
        running = self.is_running(number)
        self.scheduler.finish(number)
        entry = self._entries.pop(number)
        if running:
            entry.sequence.release(self.tree, keep=keep)

    def check(self) -> None:
        """The sums that must hold between steps. Raises AssertionError."""
        self.tree.check()
        assert Demand().fits(self.room), "more is promised than there is"
        running = [self.sequence(n) for n in self.scheduler.running]
        assert self.tree.used.slots - self.tree.loose == (len(running) if self.tree.recurrent else 0)
        if not running:
            assert self.tree.used == Demand(), f"{self.tree.used} are in use and nobody runs"
