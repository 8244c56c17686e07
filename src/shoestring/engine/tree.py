"""The prefix tree: which tokens have cached keys, values and recurrent states, and who uses them. No arrays, no clock.

A node is a page's worth of one sequence: up to 64 tokens, one page of each group, and the snapshots of the recurrent
state inside it. Every page and every snapshot belongs to exactly one node. Running sequences count as users of the
nodes on their path. A node without users is cache: a later request can resume from it, until it is evicted, least
recently used leaves first.

    root ─ [0…63] ─ [64…127] ─ [128…150]            a conversation that ended inside a page
                  └ [64…127] ─ [128…191] ─ …        one that branched off in the second page

Each owner (an API key) has a root, so that no one can find out what others have asked. With `shared`, a sequence may
resume from another owner's nodes, in whole strides, by copying them below its own root (`prefix.match`).

Sequences share a full page. They share a partly filled page by copying it (`prefix.fork`): a few megabytes against up
to 63 tokens of prompt. Two nodes with the same tokens merge, because the same tokens give the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence as Tokens
from dataclasses import dataclass, field

from shoestring.engine.pools import STRIDE, Pools
from shoestring.models.layout import Demand
from shoestring.models.state import PAGE_TOKENS

#: The age of nodes in use: newer than any tick.
_IN_USE = 1 << 62


@dataclass(eq=False)
class Node:
    """Page `number` of a sequence: positions 64 · number … 64 · number + 63, as far as `tokens` goes."""

    parent: Node | None
    number: int
    page: int = -1
    #: −1: evicted, or the model has no chunk-local layers
    chunk_page: int = -1
    #: first position that the chunk page contains
    chunk_from: int = 0
    tokens: list[int] = field(default_factory=list)
    #: position p → slot with the recurrent state of the tokens before p; p lies in this page or at its end
    snapshots: dict[int, int] = field(default_factory=dict)
    children: list[Node] = field(default_factory=list)
    #: running sequences with this node on their path, and those whose attention chunk includes it
    users: int = 0
    chunk_users: int = 0
    #: tick of the last use
    used: int = 0

    @property
    def start(self) -> int:
        return self.number * PAGE_TOKENS

    @property
    def full(self) -> bool:
        return len(self.tokens) == PAGE_TOKENS

    @property
    def age(self) -> int:
        return _IN_USE if self.users else self.used


class Tree:
    """Nodes, and the pools that their pages and slots come from.

    unit_bytes: of a global page, a chunk page and a slot. cache_bytes: limit for pages without users and snapshots;
    None: all that running sequences leave free. stride: tokens between snapshots outside the boundaries. shared: see
    above.
    """

    def __init__(
        self,
        capacity: Demand,
        *,
        chunk_size: int = 0,
        recurrent: bool = True,
        unit_bytes: tuple[int, int, int] = (1, 1, 1),
        cache_bytes: int | None = None,
        stride: int = STRIDE,
        shared: bool = False,
    ) -> None:
        self.pools = Pools(capacity)
        self.chunk_size = chunk_size
        self.recurrent = recurrent
        self.unit_bytes = unit_bytes
        self.cache_bytes = cache_bytes
        self.stride = stride
        self.shared = shared
        #: by owner; never evicted
        self.roots: dict[str, Node] = {}
        self.leaves: set[Node] = set()  # without users and children
        self.idle_chunks: set[Node] = set()  # with a chunk page that no running sequence attends to
        self.snapshots: dict[int, Node] = {}  # by slot
        self.readers: dict[int, int] = {}  # slot → sequences that resume from it in their next step
        self._used_pages = self._used_chunks = self._ticks = 0

    def root(self, owner: str = "") -> Node:
        """The root of an owner's entries. It counts as in use."""
        return self.roots.setdefault(owner, Node(None, -1, users=1))

    # --- sums --------------------------------------------------------------------------------------------------

    @property
    def used(self) -> Demand:
        """Pages and slots of running sequences."""
        return Demand(self._used_pages, self._used_chunks, self.pools.slots.used - len(self.snapshots))

    @property
    def cached(self) -> Demand:
        """All snapshots, and the pages without users."""
        return self.pools.used - self.used

    @property
    def cached_bytes(self) -> int:
        cached, (page, chunk_page, slot) = self.cached, self.unit_bytes
        return cached.global_pages * page + cached.chunk_pages * chunk_page + cached.slots * slot

    @property
    def pinned(self) -> int:
        """Slots that cannot be evicted before the next step, because a sequence resumes from them."""
        return len(self.readers)

    @property
    def orphaned(self) -> int:
        """Pinned slots whose node is gone."""
        return len(self.readers.keys() - self.snapshots.keys())

    def chunk_start(self, position: int) -> int:
        """First position that chunk-local attention at `position` sees."""
        return position - position % self.chunk_size if self.chunk_size else position

    def check(self) -> None:
        """Walk the whole tree: every page and slot has one owner, and every counter is right. Raises AssertionError."""
        pages: list[int] = []
        chunk_pages: list[int] = []
        slots: dict[int, Node] = {}
        used_pages = used_chunks = 0
        nodes = [node for root in self.roots.values() for node in root.children]
        while nodes:
            node = nodes.pop()
            assert node.parent is not None
            assert node.number == node.parent.number + 1
            in_flight = node.users and not node.tokens  # a pass computes it
            assert node.parent.full or node.parent.parent is None or in_flight, "a page with a gap"
            assert node.users >= node.chunk_users >= 0
            assert node.parent.parent is None or node.parent.users >= node.users, "a user does not use the parent"
            assert (node in self.leaves) == (not node.users and not node.children)
            assert (node in self.idle_chunks) == (node.chunk_page >= 0 and not node.chunk_users)
            assert all(node.start < place <= node.start + len(node.tokens) for place in node.snapshots)
            pages += [node.page] * (node.page >= 0)
            chunk_pages += [node.chunk_page] * (node.chunk_page >= 0)
            slots |= dict.fromkeys(node.snapshots.values(), node)
            used_pages += bool(node.users and node.page >= 0)
            used_chunks += bool(node.chunk_users)
            full = [tuple(child.tokens) for child in node.children if child.full]
            assert len(set(full)) == len(full), "two full siblings have the same tokens"
            nodes += node.children
        assert sorted(pages) == self.pools.global_pages.allocated(), "a global page is lost or has two owners"
        assert sorted(chunk_pages) == self.pools.chunk_pages.allocated(), "a chunk page is lost or has two owners"
        assert slots == self.snapshots, "a snapshot is lost or has two owners"
        assert set(slots) <= set(self.pools.slots.allocated())
        assert (used_pages, used_chunks) == (self._used_pages, self._used_chunks)
        assert set(self.readers) <= set(self.pools.slots.allocated())
        self.pools.check()
        assert self.used + self.cached + self.pools.free == self.pools.capacity

    # --- users -------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Whatever is used from now on is newer than everything used before."""
        self._ticks += 1

    def acquire(self, node: Node) -> None:
        """Add a user: one more running sequence has the node on its path."""
        if not node.users:
            self._used_pages += node.page >= 0
            self.leaves.discard(node)
        node.users += 1
        node.used = self._ticks

    def release(self, node: Node) -> None:
        """Remove a user, deepest nodes first. Without users, a node without tokens is evicted at once."""
        node.users -= 1
        node.used = self._ticks
        if not node.users:
            self._used_pages -= node.page >= 0
            if not node.children:
                self.leaves.add(node)
                if not node.tokens:
                    self.evict(node)

    def acquire_chunk(self, node: Node) -> None:
        """One more running sequence attends to the node's chunk page."""
        if not node.chunk_users:
            self._used_chunks += 1
            self.idle_chunks.discard(node)
        node.chunk_users += 1

    def release_chunk(self, node: Node) -> None:
        """One sequence less attends to it: its chunk has ended, or the sequence has."""
        node.chunk_users -= 1
        if not node.chunk_users:
            self._used_chunks -= 1
            self.idle_chunks.add(node)

    def pin(self, slot: int) -> None:
        """A sequence resumes from this snapshot in its next step; until then the slot stays allocated."""
        self.readers[slot] = self.readers.get(slot, 0) + 1

    def unpin(self, slot: int) -> None:
        """The step has read the snapshot."""
        count = self.readers.pop(slot) - 1
        if count:
            self.readers[slot] = count
        elif slot not in self.snapshots:  # its node is gone
            self.pools.slots.release(slot)

    # --- allocation --------------------------------------------------------------------------------------------

    def grow(self, parent: Node, protected: Node | None = None) -> Node:
        """A new page behind `parent`, with one user. Evicts a leaf if no page is free, but not `protected`."""
        node = Node(parent, parent.number + 1)
        if self.pools.capacity.global_pages:
            while not self.pools.global_pages.free:
                self.evict(min(self.leaves - {protected}, key=age_of))
            node.page = self.pools.global_pages.allocate()
        parent.children.append(node)
        self.leaves.discard(parent)
        self.leaves.add(node)
        self.acquire(node)
        return node

    def add_chunk_page(self, node: Node, position: int, protected: Node | None = None) -> None:
        """Give the node a chunk page if it has none, filled from `position` on. Never evicts that of `protected`."""
        if node.chunk_page < 0:
            if not self.pools.chunk_pages.free:
                self.evict_chunk_page(min(self.idle_chunks - {protected}, key=chunk_order))
            node.chunk_page, node.chunk_from = self.pools.chunk_pages.allocate(), position
            self.idle_chunks.add(node)

    def allocate_slot(self) -> int:
        """A free slot, or that of the cheapest snapshot, which is evicted; −1: there is none."""
        if not self.pools.slots.free:
            slot = self._cheapest_snapshot()
            if slot < 0:
                return -1
            self.evict_snapshot(slot)
        return self.pools.slots.allocate()

    def add_snapshot(self, node: Node, position: int, slot: int) -> None:
        """The slot contains the state at `position`. Frees the slot if the node already has that state."""
        if position in node.snapshots:
            if slot not in self.readers:
                self.pools.slots.release(slot)
        else:
            node.snapshots[position] = slot
            self.snapshots[slot] = node

    def detach_snapshot(self, slot: int) -> None:
        """Remove the snapshot from its node; the slot stays allocated and belongs to the caller."""
        node = self.snapshots.pop(slot)
        del node.snapshots[_place(node, slot)]

    # --- eviction ----------------------------------------------------------------------------------------------

    def evict_snapshot(self, slot: int) -> None:
        self.detach_snapshot(slot)
        if slot not in self.readers:
            self.pools.slots.release(slot)

    def evict_chunk_page(self, node: Node) -> None:
        self.idle_chunks.remove(node)
        self.pools.chunk_pages.release(node.chunk_page)
        node.chunk_page = -1

    def evict(self, node: Node) -> None:
        """Remove a leaf without users, its pages and its snapshots."""
        assert node.parent is not None
        self.leaves.remove(node)
        for slot in [*node.snapshots.values()]:
            self.evict_snapshot(slot)
        if node.chunk_page >= 0:
            self.evict_chunk_page(node)
        if node.page >= 0:
            self.pools.global_pages.release(node.page)
        parent = node.parent
        parent.children.remove(node)
        if not parent.users and not parent.children:
            self.leaves.add(parent)

    def evict_unused(self, nodes: Tokens[Node]) -> None:
        """Evict the nodes at the end of a path that have neither users nor other children."""
        for node in reversed(nodes):
            if node in self.leaves:
                self.evict(node)

    def trim(self) -> None:
        """Evict until the cache fits `cache_bytes`.

        The least recently used goes first; among equally old entries, those that cost at most `stride` tokens of
        recomputation.
        """
        while self.cache_bytes is not None and self.cached_bytes > self.cache_bytes:
            leaf = min(self.leaves, key=age_of, default=None)
            slot = self._cheapest_snapshot()
            node = self.snapshots.get(slot)
            chunk = min(self.idle_chunks, key=chunk_order, default=None)
            if leaf is not None and chunk is not None and leaf.age >= chunk.age and not self._ends_in(leaf, chunk):
                self.evict_chunk_page(chunk)
            elif node is not None and (leaf is None or node.age < leaf.age or self._is_cheap(node, slot, leaf)):
                self.evict_snapshot(slot)
            elif leaf is not None:
                self.evict(leaf)
            elif chunk is not None:
                self.evict_chunk_page(chunk)
            else:
                return

    def _ends_in(self, leaf: Node, chunk: Node) -> bool:
        """Whether a sequence that ends in the leaf attends to the other node's chunk page."""
        return chunk.start + PAGE_TOKENS > self.chunk_start(leaf.start + len(leaf.tokens) - 1)

    def _is_cheap(self, node: Node, slot: int, leaf: Node) -> bool:
        return node.age == leaf.age and self._gap(node, slot) <= self.stride

    def _cheapest_snapshot(self) -> int:
        """Among the least recently used snapshots, the one that saves the fewest tokens of recomputation; −1: none."""
        candidates = [(node.age, slot) for slot, node in self.snapshots.items() if slot not in self.readers]
        if not candidates:
            return -1
        oldest = min(candidates)[0]
        return min(
            (slot for age, slot in candidates if age == oldest),
            key=lambda slot: (self._gap(self.snapshots[slot], slot), self.snapshots[slot].number),
        )

    def _gap(self, node: Node, slot: int) -> int:
        """Tokens from the previous snapshot on the path (or the beginning) to this one."""
        place = _place(node, slot)
        before = [p for p in node.snapshots if p < place]
        above: Node | None = node
        while not before and above is not None:
            above = above.parent
            before = [*above.snapshots] if above is not None else [0]
        return place - max(before)


def _place(node: Node, slot: int) -> int:
    """The position of one of the node's snapshots."""
    return next(place for place, other in node.snapshots.items() if other == slot)


def age_of(node: Node) -> int:
    return node.age


def chunk_order(node: Node) -> tuple[int, int]:
    return node.age, node.number
