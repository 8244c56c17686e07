"""The prefix tree: which tokens' keys, values and recurrent states are held, and who uses them. No arrays, no clock.

A node is a page's worth of one sequence: up to 64 tokens, the page of either group that holds them, and snapshots
of the recurrent state taken inside it. Every page and every snapshot belongs to exactly one node; running sequences
count as users of the nodes on their path. What nobody uses is cache: a later request goes on from it, or it makes
room, least recently used leaves first.

    root ─ [0…63] ─ [64…127] ─ [128…150]            a conversation that ended inside of a page
                  └ [64…127] ─ [128…191] ─ …        one that branched off in the second page

A full page is shared as it is. One that is partly filled is shared by copying it (`copies`): a few megabytes
against up to 63 tokens of prompt. Two nodes that come to hold the same tokens become one, since the same tokens
are the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence as Tokens
from dataclasses import dataclass, field

from shoestring.engine.pools import Pools
from shoestring.models.layout import Demand
from shoestring.models.state import PAGE_TOKENS

#: Older than any node is never: nodes in use are the newest.
_IN_USE = 1 << 62


@dataclass(eq=False)
class Node:
    """Page `number` of a sequence: positions 64 · number … 64 · number + 63, as far as `tokens` goes."""

    parent: Node | None
    number: int
    page: int = -1
    #: −1: the chunk-local layers no longer hold it
    chunk_page: int = -1
    #: position from which on the chunk page is filled
    chunk_from: int = 0
    tokens: list[int] = field(default_factory=list)
    #: position p → slot with the recurrent state of the tokens before p; p in this page or at its end
    snapshots: dict[int, int] = field(default_factory=dict)
    children: list[Node] = field(default_factory=list)
    #: running sequences with this node on their path, and those whose attention chunk includes it
    users: int = 0
    chunk_users: int = 0
    #: when it was last used, in ticks of the tree
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

    unit_bytes: of a global page, a chunk page and a slot. cache_bytes: most that pages without a user and snapshots
    may take; None: all that running sequences leave free. stride: tokens between snapshots that nobody asked for.
    """

    def __init__(
        self,
        capacity: Demand,
        *,
        chunk_size: int = 0,
        recurrent: bool = True,
        unit_bytes: tuple[int, int, int] = (1, 1, 1),
        cache_bytes: int | None = None,
        stride: int = 1024,
    ) -> None:
        self.pools = Pools(capacity)
        self.chunk_size = chunk_size
        self.recurrent = recurrent
        self.unit_bytes = unit_bytes
        self.cache_bytes = cache_bytes
        self.stride = stride
        self.root = Node(None, -1, users=1)
        self.leaves: set[Node] = set()  # without users and children
        self.idle_chunks: set[Node] = set()  # with a chunk page that no running sequence attends to
        self.snapshots: dict[int, Node] = {}  # by slot
        self.readers: dict[int, int] = {}  # slot → sequences that begin from it in their next step
        self._used_pages = self._used_chunks = self._ticks = 0

    # --- sums --------------------------------------------------------------------------------------------------

    @property
    def used(self) -> Demand:
        """What running sequences hold."""
        return Demand(self._used_pages, self._used_chunks, self.pools.slots.used - len(self.snapshots))

    @property
    def cached(self) -> Demand:
        """What nobody uses now: all snapshots, and pages without users."""
        return self.pools.used - self.used

    @property
    def cached_bytes(self) -> int:
        cached, (page, chunk_page, slot) = self.cached, self.unit_bytes
        return cached.global_pages * page + cached.chunk_pages * chunk_page + cached.slots * slot

    @property
    def reading(self) -> int:
        """Snapshots that cannot make room before the next step."""
        return len(self.readers)

    @property
    def loose(self) -> int:
        """Slots that only those who begin from them still hold."""
        return len(self.readers.keys() - self.snapshots.keys())

    def chunk_start(self, position: int) -> int:
        """First position that chunk-local attention at `position` sees."""
        return position - position % self.chunk_size if self.chunk_size else position

    def check(self) -> None:
        """Walk the whole tree: every page and slot has one owner, and all counters are what they should be."""
        pages: list[int] = []
        chunk_pages: list[int] = []
        slots: dict[int, Node] = {}
        used_pages = used_chunks = 0
        nodes = [*self.root.children]
        while nodes:
            node = nodes.pop()
            assert node.parent is not None
            assert node.number == node.parent.number + 1
            assert node.parent.full or node.parent is self.root, "a page with a gap"
            assert node.users >= node.chunk_users >= 0
            assert node.parent is self.root or node.parent.users >= node.users, "a user does not use the way"
            assert (node in self.leaves) == (not node.users and not node.children)
            assert (node in self.idle_chunks) == (node.chunk_page >= 0 and not node.chunk_users)
            assert all(node.start < place <= node.start + len(node.tokens) for place in node.snapshots)
            pages += [node.page] * (node.page >= 0)
            chunk_pages += [node.chunk_page] * (node.chunk_page >= 0)
            slots |= dict.fromkeys(node.snapshots.values(), node)
            used_pages += bool(node.users and node.page >= 0)
            used_chunks += bool(node.chunk_users)
            full = [tuple(child.tokens) for child in node.children if child.full]
            assert len(set(full)) == len(full), "the same tokens twice"
            nodes += node.children
        assert sorted(pages) == self.pools.global_pages.taken(), "global pages are lost or held twice"
        assert sorted(chunk_pages) == self.pools.chunk_pages.taken(), "chunk pages are lost or held twice"
        assert slots == self.snapshots, "snapshots are lost or held twice"
        assert set(slots) <= set(self.pools.slots.taken())
        assert (used_pages, used_chunks) == (self._used_pages, self._used_chunks)
        assert set(self.readers) <= set(self.pools.slots.taken())
        self.pools.check()
        assert self.used + self.cached + self.pools.free == self.pools.capacity

    # --- using -------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """What is used from now on is newer than all that was."""
        self._ticks += 1

    def use(self, node: Node) -> None:
        """One running sequence more has the node on its path."""
        if not node.users:
            self._used_pages += node.page >= 0
            self.leaves.discard(node)
        node.users += 1
        node.used = self._ticks

    def leave(self, node: Node) -> None:
        """One less. Deepest nodes first; a page without tokens goes at once."""
        node.users -= 1
        node.used = self._ticks
        if not node.users:
            self._used_pages -= node.page >= 0
            if not node.children:
                self.leaves.add(node)
                if not node.tokens:
                    self.remove(node)

    def use_chunk(self, node: Node) -> None:
        """One running sequence more attends to the node's chunk page."""
        if not node.chunk_users:
            self._used_chunks += 1
            self.idle_chunks.discard(node)
        node.chunk_users += 1

    def leave_chunk(self, node: Node) -> None:
        """One less: the page lies behind its chunk, or its sequence is over."""
        node.chunk_users -= 1
        if not node.chunk_users:
            self._used_chunks -= 1
            self.idle_chunks.add(node)

    def read(self, slot: int, *, done: bool = False) -> None:
        """A sequence will begin from the snapshot in its next step; done: it has. Until then the slot stays."""
        count = self.readers.pop(slot, 0) + (-1 if done else 1)
        if count:
            self.readers[slot] = count
        elif slot not in self.snapshots:  # its node has gone meanwhile
            self.pools.slots.give(slot)

    def grow(self, parent: Node, keep: Node | None = None) -> Node:
        """A new page behind `parent`, with one user; `keep` is not what makes room for it."""
        node = Node(parent, parent.number + 1)
        if self.pools.capacity.global_pages:
            while not self.pools.global_pages.free:
                self.remove(min(self.leaves - {keep}, key=age_of))
            node.page = self.pools.global_pages.take()
        parent.children.append(node)
        self.leaves.discard(parent)
        self.leaves.add(node)
        self.use(node)
        return node

    def hold_chunk(self, node: Node, position: int, keep: Node | None = None) -> None:
        """The node has a chunk page, filled from `position` on if it is new; `keep` does not make room for it."""
        if node.chunk_page < 0:
            if not self.pools.chunk_pages.free:
                self.drop_chunk(min(self.idle_chunks - {keep}, key=chunk_order))
            node.chunk_page, node.chunk_from = self.pools.chunk_pages.take(), position
            self.idle_chunks.add(node)

    def take_slot(self) -> int:
        """A free slot, or that of the snapshot that is missed least; −1: there is none."""
        if not self.pools.slots.free:
            slot = self._cheapest_snapshot()
            if slot < 0:
                return -1
            self.drop_snapshot(slot)
        return self.pools.slots.take()

    def keep_snapshot(self, node: Node, position: int, slot: int) -> None:
        """The slot holds the state at `position`; given back where the node has that already."""
        if position in node.snapshots:
            if slot not in self.readers:
                self.pools.slots.give(slot)
        else:
            node.snapshots[position] = slot
            self.snapshots[slot] = node

    def release_snapshot(self, slot: int) -> None:
        """The slot is no longer a snapshot; whoever asks has it."""
        node = self.snapshots.pop(slot)
        del node.snapshots[next(place for place, held in node.snapshots.items() if held == slot)]

    def take_over(self, slot: int) -> None:
        """A slot that is no snapshot any more is written to by the sequence that was to read it."""
        self.readers.pop(slot)

    # --- making room -------------------------------------------------------------------------------------------

    def drop_snapshot(self, slot: int) -> None:
        self.release_snapshot(slot)
        if slot not in self.readers:
            self.pools.slots.give(slot)

    def drop_chunk(self, node: Node) -> None:
        self.idle_chunks.remove(node)
        self.pools.chunk_pages.give(node.chunk_page)
        node.chunk_page = -1

    def remove(self, node: Node) -> None:
        """Forget a leaf that nobody uses, with all that it holds."""
        assert node.parent is not None
        self.leaves.remove(node)
        for slot in [*node.snapshots.values()]:
            self.drop_snapshot(slot)
        if node.chunk_page >= 0:
            self.drop_chunk(node)
        if node.page >= 0:
            self.pools.global_pages.give(node.page)
        parent = node.parent
        parent.children.remove(node)
        if not parent.users and not parent.children:
            self.leaves.add(parent)

    def forget(self, nodes: Tokens[Node]) -> None:
        """Of a path's end, what nobody uses."""
        for node in reversed(nodes):
            if node in self.leaves:
                self.remove(node)

    def trim(self) -> None:
        """Back under `cache_bytes`. Least recently used first; of one age, what shortens no prefix by a stride."""
        while self.cache_bytes is not None and self.cached_bytes > self.cache_bytes:
            leaf = min(self.leaves, key=age_of, default=None)
            slot = self._cheapest_snapshot()
            node = self.snapshots.get(slot)
            chunk = min(self.idle_chunks, key=chunk_order, default=None)
            if leaf is not None and chunk is not None and leaf.age >= chunk.age and not self._ends_in(leaf, chunk):
                self.drop_chunk(chunk)
            elif node is not None and (leaf is None or node.age < leaf.age or self._is_spare(node, slot, leaf)):
                self.drop_snapshot(slot)
            elif leaf is not None:
                self.remove(leaf)
            elif chunk is not None:
                self.drop_chunk(chunk)
            else:
                return

    def _ends_in(self, leaf: Node, chunk: Node) -> bool:
        """Whether a sequence that ends in the leaf attends to the other node's chunk page."""
        return chunk.start + PAGE_TOKENS > self.chunk_start(leaf.start + len(leaf.tokens) - 1)

    def _is_spare(self, node: Node, slot: int, leaf: Node) -> bool:
        return node.age == leaf.age and self._gap(node, slot) <= self.stride

    def _cheapest_snapshot(self) -> int:
        """Of the least recently used ones, the one without which the fewest tokens are computed again; −1: none."""
        candidates = [(node.age, slot) for slot, node in self.snapshots.items() if slot not in self.readers]
        if not candidates:
            return -1
        oldest = min(candidates)[0]
        return min(
            (slot for age, slot in candidates if age == oldest),
            key=lambda slot: (self._gap(self.snapshots[slot], slot), self.snapshots[slot].number),
        )

    def _gap(self, node: Node, slot: int) -> int:
        """Tokens from the next shallower snapshot on the path (or the beginning) to this one."""
        place = next(place for place, held in node.snapshots.items() if held == slot)
        before = [p for p in node.snapshots if p < place]
        above: Node | None = node
        while not before and above is not None:
            above = above.parent
            before = [*above.snapshots] if above is not None else [0]
        return place - max(before)


def age_of(node: Node) -> int:
    return node.age


def chunk_order(node: Node) -> tuple[int, int]:
    return node.age, node.number
