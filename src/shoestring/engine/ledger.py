"""The ledger: which requests wait or run, and which pages and slots they use. No model, clock or arrays.

Admits requests, plans a step, allocates its pages, accounts for it, and finishes requests. The scheduler counts tokens
and turns, the tree pages and slots; the ledger keeps both in step, so a test can play thousands of histories.
"""

from __future__ import annotations

from shoestring.engine.prefix import Copy, Match, can_fork, common_prefix, match, match_others
from shoestring.engine.scheduler import Scheduler, Span
from shoestring.engine.sequence import Sequence
from shoestring.engine.tree import Tree
from shoestring.models.layout import Demand
from shoestring.models.state import PAGE_TOKENS


class _Entry:
    """A request's sequence, and what decides how long it waits."""

    def __init__(self, sequence: Sequence, limit: int) -> None:
        self.sequence = sequence
        self.prompt_length = len(sequence.tokens)
        #: most tokens that may come from the cache: the next row has to be computed for its logits
        self.limit = limit
        #: the running request whose prompt it waits for or has waited for; it waits for one at most
        self.leader: int | None = None
        #: running request → length of the common prefix
        self.common: dict[int, int] = {}


class Ledger:
    """Scheduler and tree over the same requests, known by number."""

    def __init__(self, tree: Tree, scheduler: Scheduler) -> None:
        self.tree = tree
        self.scheduler = scheduler
        self._entries: dict[int, _Entry] = {}

    def sequence(self, number: int) -> Sequence:
        return self._entries[number].sequence

    def is_running(self, number: int) -> bool:
        return number in self.scheduler.running

    def submit(
        self, number: int, sequence: Sequence, demand: Demand, limit: int, chunk: int | None = None, client: str = ""
    ) -> None:
        """Queue a request. limit: most tokens from the cache. Raises CapacityError if it can never fit."""
        self.scheduler.submit(number, len(sequence.tokens), demand, chunk, client)
        self._entries[number] = _Entry(sequence, limit)

    def admit(self) -> list[tuple[int, list[Copy]]]:
        """Start the requests that fit. Returns them with the page copies to make, in order, before the next step."""
        admitted, following, blocked = [], set[int](), set[str]()
        passing = False
        self.scheduler.end_loans()
        while (number := self.scheduler.next_in_turn(following, blocked, passing)) is not None:
            entry, client = self._entries[number], self.scheduler.client(number)
            hit = self._fitting(number, entry)
            if hit is None:
                # A client that runs nothing waits for memory: others may use only the reserve, so that it gets it.
                passing = passing or not self.scheduler.runs(client)
                blocked.add(client)
            elif (leader := self._leader(entry, hit)) is not None:
                following.add(number)
                self.scheduler.lend(client, leader)
            else:
                self.scheduler.admit(number, hit.position, passing)
                admitted.append((number, entry.sequence.begin(self.tree, hit)))
        return admitted

    def _fitting(self, number: int, entry: _Entry) -> Match | None:
        """Where the request resumes if it fits; None if it does not."""
        demand = self.scheduler.demand(number)
        available = self.available - self.scheduler.left_to_others(number)
        most_shared = min(entry.limit // PAGE_TOKENS, self.tree.used.global_pages)
        if not (demand - Demand(global_pages=most_shared)).fits(available):
            return None  # before searching the tree, which takes milliseconds for a long prompt
        sequence = entry.sequence
        hit = match(self.tree, sequence.tokens, entry.limit, sequence.owner)
        if self.tree.shared:
            deeper = match_others(self.tree, sequence.tokens, entry.limit, sequence.owner, hit)
            if deeper.others and self._cost(number, deeper).fits(available):
                return deeper
        if not self._cost(number, hit).fits(available) or (hit.source and not can_fork(self.tree, hit.source)):
            return None
        return hit

    def _cost(self, number: int, hit: Match) -> Demand:
        """What the request needs of the available pages and slots."""
        shared = sum(1 for node in hit.nodes if node.users)
        # While they are copied, the pages of others stay beside the copies.
        beside = Demand(len(hit.others), sum(node.chunk_page >= 0 for node in hit.others))
        cost = self.scheduler.demand(number) - Demand(global_pages=shared if self._has_pages else 0) + beside
        if hit.slot >= 0 and hit.slot not in self.tree.readers and self.scheduler.left_to_others(number) != Demand():
            cost += Demand(slots=1)  # until its first step, the snapshot cannot be evicted
        return cost

    @property
    def _has_pages(self) -> bool:
        return self.tree.pools.capacity.global_pages > 0

    @property
    def available(self) -> Demand:
        """Pages and slots that no running sequence uses or has reserved. A shared page counts once."""
        used = Demand(self.tree.used.global_pages, 0, self.tree.pinned + self._pending)
        to_come = self.scheduler.reserved
        if self._has_pages:
            to_come -= Demand(global_pages=sum(len(self.sequence(n).nodes) for n in self.scheduler.running))
        return self.tree.pools.capacity - used - to_come

    @property
    def _pending(self) -> int:
        """Slots of the snapshots that a pass in flight will store."""
        return sum(len(self.sequence(n).pending) for n in self.scheduler.running)

    def _leader(self, entry: _Entry, hit: Match) -> int | None:
        """A request whose prompt will soon share at least a page more with this one than the cache does now."""
        for number in self.scheduler.running:
            leader = self._entries[number]
            if leader.sequence.owner != entry.sequence.owner:
                continue
            if entry.leader not in (None, number) or leader.sequence.computed >= leader.prompt_length:
                continue
            if number not in entry.common:
                entry.common[number] = common_prefix(entry.sequence.tokens, leader.sequence.tokens)
            place = leader.sequence.last_resume_point(self.tree, min(entry.common[number], entry.limit))
            if leader.sequence.computed < place and place - hit.position >= PAGE_TOKENS:
                entry.leader = number
                return number
        return None

    def plan(self) -> tuple[Span, ...]:
        """The spans of the next step; allocates their pages and slots."""
        return self._grown(self.scheduler.plan(self._edges()))

    def plan_pass(self) -> tuple[Span, ...]:
        """The spans of the next pass, while none is in flight; allocates their pages and slots."""
        return self._grown(self.scheduler.plan_pass(self._edges()))

    def _edges(self) -> dict[int, int]:
        size = self.tree.chunk_size
        return {n: self.sequence(n).rows_ahead(size, self.scheduler.wanted(n)) for n in self.scheduler.running}

    def _grown(self, spans: tuple[Span, ...]) -> tuple[Span, ...]:
        for span in spans:
            self.sequence(span.number).grow(self.tree, span.rows)
        return spans

    def computed(self, span: Span) -> None:
        """Account for a computed span."""
        self.sequence(span.number).advance(self.tree, span.rows)
        self.scheduler.computed(span)

    def extend(self, number: int, token: int) -> None:
        """Append a sampled or forced token."""
        self.sequence(number).tokens.append(token)
        self.scheduler.extend(number)

    def finish(self, number: int, *, keep: bool = True) -> None:
        """End a request. keep: what it computed stays in the cache; False: evict it, because a step has failed."""
        running = self.is_running(number)
        self.scheduler.finish(number)
        entry = self._entries.pop(number)
        if running:
            entry.sequence.release(self.tree, keep=keep)

    def drop(self, number: int) -> None:
        """End a request whose pass is dropped half-way; what it computed before stays in the cache."""
        self.sequence(number).drop_step()
        self.finish(number)

    def check(self) -> None:
        """Check what must be true between steps. Raises AssertionError."""
        self.tree.check()
        assert Demand().fits(self.available), "running sequences have reserved more than the capacity"
        running = [self.sequence(n) for n in self.scheduler.running]
        slots = len(running) if self.tree.recurrent else 0
        assert self.tree.used.slots - self.tree.orphaned == slots + self._pending
        if not running:
            assert self.tree.used == Demand(), f"{self.tree.used} are in use although nothing runs"
