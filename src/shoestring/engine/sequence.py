"""A running sequence: its tokens, its path through the prefix tree, and the slot of its recurrent state.

The caller passes *all* tokens; the tree finds out how many are cached. What a step has computed belongs to the tree
as soon as the step ends, so that other sequences can resume from it at once.
"""

from __future__ import annotations

from collections.abc import Sequence as Tokens

from shoestring.engine.pictures.placed import SequencePictures
from shoestring.engine.prefix import Copy, Match, fork, settle
from shoestring.engine.tree import Node, Tree
from shoestring.models.state import PAGE_TOKENS


class Sequence:
    """Position p lies in page p // 64 of the path. boundaries: positions where later requests may branch off.

    owner: whose entries of the cache it uses and adds to.
    """

    def __init__(self, tokens: Tokens[int], *, boundaries: Tokens[int] = (), owner: str = "") -> None:
        self.tokens = list(tokens)
        self.owner = owner
        #: None: every row is a token
        self.pictures: SequencePictures | None = None
        #: positions 0 … computed − 1 are computed or cached
        self.computed = 0
        #: ascending positions p: take a snapshot of the state of tokens[:p]
        self.boundaries = tuple(sorted({b for b in boundaries if 0 < b <= len(self.tokens)}))
        self.nodes: list[Node] = []
        self.pages: list[int] = []
        #: attention sees the chunk pages of nodes first … end − 1
        self.first_chunk = self.end_chunk = 0
        self.slot = -1
        #: slot from which the next step reads the recurrent state: `slot` or a snapshot; −1: zeros
        self.read_slot = -1
        #: (position, slot) of the snapshots that the step in flight stores
        self.pending: list[tuple[int, int]] = []
        self._cached_nodes = 0

    @property
    def chunk_pages(self) -> list[int]:
        return [node.chunk_page for node in self.nodes[self.first_chunk : self.end_chunk]]

    def rows_to_edge(self, chunk_size: int) -> int:
        """Rows until the next attention chunk. No span crosses its edge, so `grow` can release pages in time."""
        return chunk_size - self.computed % chunk_size if chunk_size else len(self.tokens) - self.computed

    def rows_ahead(self, chunk_size: int, wanted: int) -> int:
        """Most rows of the next span, up to the edge of the attention chunk; 0: the wanted ones are not ready."""
        edge = self.rows_to_edge(chunk_size)
        if self.pictures is None or self.pictures.ready(self.computed, min(edge, wanted)):
            return edge
        return 0

    def last_resume_point(self, tree: Tree, upto: int) -> int:
        """The deepest position ≤ upto from which others will be able to resume once this sequence has computed it."""
        if not tree.recurrent:
            return upto
        return max((b for b in (*self.boundaries, upto - upto % tree.stride) if b <= upto), default=0)

    def begin(self, tree: Tree, match: Match) -> list[Copy]:
        """Resume from a cache hit. Returns the page copies to make before the next step."""
        tree.tick()
        self.computed = match.position
        self.nodes = [*match.nodes]
        self._cached_nodes = len(self.nodes)
        for node in self.nodes:
            tree.acquire(node)
        start = tree.chunk_start(match.position)
        for node in match.others:  # until they are copied
            tree.acquire(node)
        copied_chunk = [node for node in match.others if tree.chunk_size and node.start >= start - start % PAGE_TOKENS]
        for node in copied_chunk:
            tree.acquire_chunk(node)
        if match.slot >= 0:
            tree.pin(match.slot)
            self.read_slot = match.slot
        if tree.recurrent:
            self.slot = tree.allocate_slot()
            if self.slot < 0:  # only the snapshot's own slot is left
                self.slot = match.slot
                tree.detach_snapshot(match.slot)
                tree.readers.pop(match.slot)
        copies: list[Copy] = []
        self.first_chunk = self.end_chunk = start // PAGE_TOKENS if tree.chunk_size else 0
        self._attend(tree)  # before the fork, which may evict idle chunk pages
        if match.source is not None:
            needs_chunk = tree.chunk_size > 0 and start < match.position
            node, copies = fork(tree, match.source, match.position % PAGE_TOKENS, needs_chunk)
            self.nodes.append(node)
            self._attend(tree)
        for node in match.others:
            copies += self._copy(tree, node, node in copied_chunk)
        for node in copied_chunk:
            tree.release_chunk(node)
        for node in reversed(match.others):
            tree.release(node)
        self.pages = [node.page for node in self.nodes]
        return copies

    def _copy(self, tree: Tree, source: Node, chunk: bool) -> list[Copy]:
        """Append a copy of another owner's page. chunk: with its chunk page."""
        node = tree.grow(self.nodes[-1] if self.nodes else tree.root(self.owner))
        node.tokens = [*source.tokens]
        self.nodes.append(node)
        copies = [Copy(False, source.page, node.page)] if node.page >= 0 else []
        if chunk:
            tree.add_chunk_page(node, source.chunk_from)
            copies.append(Copy(True, source.chunk_page, node.chunk_page))
            self._attend(tree)
        return copies

    def _attend(self, tree: Tree) -> None:
        for node in self.nodes[self.end_chunk :] if tree.chunk_size else ():
            if node.chunk_page >= 0:
                tree.acquire_chunk(node)
                self.end_chunk += 1

    def grow(self, tree: Tree, rows: int) -> None:
        """Allocate what the next `rows` rows need, after releasing the chunk pages of earlier chunks."""
        end = self.computed + rows
        if tree.chunk_size:
            first = tree.chunk_start(self.computed) // PAGE_TOKENS
            while self.first_chunk < min(first, self.end_chunk):
                tree.release_chunk(self.nodes[self.first_chunk])
                self.first_chunk += 1
            if self.first_chunk == self.end_chunk:
                self.first_chunk = self.end_chunk = first
        while len(self.nodes) * PAGE_TOKENS < end:
            self.nodes.append(tree.grow(self.nodes[-1] if self.nodes else tree.root(self.owner)))
            self.pages.append(self.nodes[-1].page)
        if tree.chunk_size:
            for node in self.nodes[self.end_chunk :]:
                tree.add_chunk_page(node, max(self.computed, node.start))
                tree.acquire_chunk(node)
            self.end_chunk = len(self.nodes)
        if tree.recurrent:
            self._plan_snapshots(tree, end)

    def _plan_snapshots(self, tree: Tree, end: int) -> None:
        """Allocate slots for the snapshots inside the next rows, the deepest first, as far as there are slots."""
        places = {b for b in self.boundaries if self.computed < b <= end}
        places |= set(range(self.computed - self.computed % tree.stride + tree.stride, end + 1, tree.stride))
        spare = tree.pools.capacity.slots - tree.used.slots
        # At least two: before the prompt's last token, and where a picture or message before it ends.
        for place in sorted(thinned(sorted(places), self.computed, max(2, spare // 2)), reverse=True):
            if place not in self.nodes[(place - 1) // PAGE_TOKENS].snapshots:
                slot = tree.allocate_slot()
                if slot < 0:
                    break
                self.pending.append((place, slot))
        self.pending.reverse()

    def advance(self, tree: Tree, rows: int) -> None:
        """Add `rows` computed tokens to the tree, and merge full pages that it already has."""
        first, end = self.computed, self.computed + rows
        numbers = range(first // PAGE_TOKENS, (end - 1) // PAGE_TOKENS + 1)
        for k in numbers:
            self.nodes[k].tokens += self.tokens[max(first, k * PAGE_TOKENS) : min(end, (k + 1) * PAGE_TOKENS)]
        self.computed = end
        for place, slot in self.pending:
            tree.add_snapshot(self.nodes[(place - 1) // PAGE_TOKENS], place, slot)
        self.pending = []
        for k in numbers:
            if self.nodes[k].full:
                self.nodes[k] = settle(tree, self.nodes[k])
                self.pages[k] = self.nodes[k].page
        self._unpin(tree)
        self.read_slot = self.slot

    def _unpin(self, tree: Tree) -> None:
        if self.read_slot not in (-1, self.slot):
            tree.unpin(self.read_slot)

    def drop_step(self) -> None:
        """The step in flight is dropped half-way: the slot that it writes contains no state. Only `release` follows."""
        if self.read_slot == self.slot:
            self.read_slot = -1

    def release(self, tree: Tree, *, keep: bool = True) -> None:
        """End the sequence. keep: what it computed stays in the cache; False: evict it, because a step has failed."""
        tree.tick()
        self._unpin(tree)
        for _, slot in self.pending:
            tree.pools.slots.release(slot)
        if self.slot >= 0:
            if keep and self.computed and self.read_slot == self.slot:
                tree.add_snapshot(self.nodes[(self.computed - 1) // PAGE_TOKENS], self.computed, self.slot)
            else:
                tree.pools.slots.release(self.slot)
        for node in self.nodes[self.first_chunk : self.end_chunk]:
            tree.release_chunk(node)
        for node in reversed(self.nodes):
            tree.release(node)
        if not keep:
            tree.evict_unused(self.nodes[self._cached_nodes :])
        elif self.computed % PAGE_TOKENS:
            settle(tree, self.nodes[self.computed // PAGE_TOKENS])
        self.nodes, self.pages, self.pending = [], [], []
        self.first_chunk = self.end_chunk = 0
        self.slot = self.read_slot = -1
        tree.trim()


def thinned(places: list[int], before: int, most: int) -> list[int]:
    """At most `most` of the ascending places after `before`.

    Repeatedly drops the place closest to its predecessor, but never the last.
    """
    places = [before, *places]
    while len(places) > most + 1:
        del places[min(range(1, len(places) - 1), key=lambda i: places[i] - places[i - 1])]
    return places[1:]
