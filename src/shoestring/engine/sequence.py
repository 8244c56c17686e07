"""A sequence that runs: its tokens, its way through the prefix tree, and the slot that its recurrent state is in.

The caller hands over *all* tokens; how many of them need no computing is the tree's business. What is computed
belongs to the tree from the moment on at which the step is over, so that others can go on from there at once.
"""

from __future__ import annotations

from collections.abc import Sequence as Tokens

from shoestring.engine.prefix import Copy, Match, fork, settle
from shoestring.engine.tree import Node, Tree
from shoestring.models.state import PAGE_TOKENS


class Sequence:
    """Position p lies in page p // 64 of the tree's path. boundaries: where others may branch off."""

    def __init__(self, tokens: Tokens[int], *, boundaries: Tokens[int] = ()) -> None:
        self.tokens = list(tokens)
        #: positions whose state is held: 0 … computed − 1
        self.computed = 0
        #: positions p at which the state of tokens[:p] is worth a snapshot, ascending
        self.boundaries = tuple(sorted({b for b in boundaries if 0 < b <= len(self.tokens)}))
        self.nodes: list[Node] = []
        self.pages: list[int] = []
        #: of the nodes, those whose chunk pages are attended to: first … end − 1
        self.first_chunk = self.end_chunk = 0
        self.slot = -1
        #: where the next step reads the recurrent state: −1 zeros, else `slot` or a snapshot
        self.read_slot = -1
        #: (position, slot) that the step in flight stores
        self.pending: list[tuple[int, int]] = []
        self._found = 0

    @property
    def chunk_pages(self) -> list[int]:
        return [node.chunk_page for node in self.nodes[self.first_chunk : self.end_chunk]]

    def rows_to_edge(self, chunk_size: int) -> int:
        """Rows until the next attention chunk begins: a span never crosses it, so that pages behind can go first."""
        return chunk_size - self.computed % chunk_size if chunk_size else len(self.tokens) - self.computed

    def last_resume_point(self, tree: Tree, upto: int) -> int:
        """The deepest position ≤ upto from which others can go on, once this one has come so far."""
        if not tree.recurrent:
            return upto
        return max((b for b in (*self.boundaries, upto - upto % tree.stride) if b <= upto), default=0)

    def begin(self, tree: Tree, match: Match) -> list[Copy]:
        """Go on from what the tree holds. Returns the copies to be made before the next step."""
        tree.tick()
        self.computed = match.position
        self.nodes = [*match.nodes]
        self._found = len(self.nodes)
        for node in self.nodes:
            tree.use(node)
        if match.slot >= 0:
            tree.read(match.slot)
            self.read_slot = match.slot
        if tree.recurrent:
            self.slot = tree.take_slot()
            if self.slot < 0:  # the snapshot's own slot is the last one
                self.slot = match.slot
                tree.release_snapshot(match.slot)
                tree.take_over(match.slot)
        copies: list[Copy] = []
        start = tree.chunk_start(match.position)
        self.first_chunk = self.end_chunk = start // PAGE_TOKENS if tree.chunk_size else 0
        self._attend(tree)  # before the fork, which may take chunk pages that nobody attends to
        if match.source is not None:
            needs_chunk = tree.chunk_size > 0 and start < match.position
            node, copies = fork(tree, match.source, match.position % PAGE_TOKENS, needs_chunk)
            self.nodes.append(node)
            self._attend(tree)
        self.pages = [node.page for node in self.nodes]
        return copies

    def _attend(self, tree: Tree) -> None:
        for node in self.nodes[self.end_chunk :] if tree.chunk_size else ():
            if node.chunk_page >= 0:
                tree.use_chunk(node)
                self.end_chunk += 1

    def grow(self, tree: Tree, rows: int) -> None:
        """Take what the next `rows` rows need; chunk pages behind their chunk are no longer used first."""
        end = self.computed + rows
        if tree.chunk_size:
            first = tree.chunk_start(self.computed) // PAGE_TOKENS
            while self.first_chunk < min(first, self.end_chunk):
                tree.leave_chunk(self.nodes[self.first_chunk])
                self.first_chunk += 1
            if self.first_chunk == self.end_chunk:
                self.first_chunk = self.end_chunk = first
        while len(self.nodes) * PAGE_TOKENS < end:
            self.nodes.append(tree.grow(self.nodes[-1] if self.nodes else tree.root))
            self.pages.append(self.nodes[-1].page)
        if tree.chunk_size:
            for node in self.nodes[self.end_chunk :]:
                tree.hold_chunk(node, max(self.computed, node.start))
                tree.use_chunk(node)
            self.end_chunk = len(self.nodes)
        if tree.recurrent:
            self._plan_snapshots(tree, end)

    def _plan_snapshots(self, tree: Tree, end: int) -> None:
        """Slots for the states inside the next rows that are worth it, the deepest first; some may find none."""
        places = {b for b in self.boundaries if self.computed < b <= end}
        places |= set(range(self.computed - self.computed % tree.stride + tree.stride, end + 1, tree.stride))
        spare = tree.pools.capacity.slots - tree.used.slots
        for place in sorted(thinned(sorted(places), self.computed, max(1, spare // 2)), reverse=True):
            if place not in self.nodes[(place - 1) // PAGE_TOKENS].snapshots:
                slot = tree.take_slot()
                if slot < 0:
                    break
                self.pending.append((place, slot))
        self.pending.reverse()

    def advance(self, tree: Tree, rows: int) -> None:
        """`rows` more tokens are computed: they are the tree's, and full pages that it has already are given up."""
        first, end = self.computed, self.computed + rows
        numbers = range(first // PAGE_TOKENS, (end - 1) // PAGE_TOKENS + 1)
        for k in numbers:
            self.nodes[k].tokens += self.tokens[max(first, k * PAGE_TOKENS) : min(end, (k + 1) * PAGE_TOKENS)]
        self.computed = end
        for place, slot in self.pending:
            tree.keep_snapshot(self.nodes[(place - 1) // PAGE_TOKENS], place, slot)
        self.pending = []
        for k in numbers:
            if self.nodes[k].full:
                self.nodes[k] = settle(tree, self.nodes[k])
                self.pages[k] = self.nodes[k].page
        self._have_read(tree)
        self.read_slot = self.slot

    def _have_read(self, tree: Tree) -> None:
        if self.read_slot not in (-1, self.slot):
            tree.read(self.read_slot, done=True)

    def release(self, tree: Tree, *, keep: bool = True) -> None:
        """The request is over; what was computed stays as cache. keep False: forget it, a step has failed."""
        tree.tick()
        self._have_read(tree)
        for _, slot in self.pending:
            tree.pools.slots.give(slot)
        if self.slot >= 0:
            if keep and self.computed and self.read_slot == self.slot:
                tree.keep_snapshot(self.nodes[(self.computed - 1) // PAGE_TOKENS], self.computed, self.slot)
            else:
                tree.pools.slots.give(self.slot)
        for node in self.nodes[self.first_chunk : self.end_chunk]:
            tree.leave_chunk(node)
        for node in reversed(self.nodes):
            tree.leave(node)
        if not keep:
            tree.forget(self.nodes[self._found :])
        elif self.computed % PAGE_TOKENS:
            settle(tree, self.nodes[self.computed // PAGE_TOKENS])
        self.nodes, self.pages, self.pending = [], [], []
        self.first_chunk = self.end_chunk = 0
        self.slot = self.read_slot = -1
        tree.trim()


def thinned(places: list[int], before: int, most: int) -> list[int]:
    """At most `most` of ascending places: again and again the one nearest behind another goes, never the last."""
    places = [before, *places]
    while len(places) > most + 1:
        del places[min(range(1, len(places) - 1), key=lambda i: places[i] - places[i - 1])]
    return places[1:]
