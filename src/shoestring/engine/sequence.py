"""A sequence: its tokens, the pages and slots that hold its state, and how much of it another request can reuse.

The caller hands over *all* tokens. What a sequence at rest already holds is cut back to the common prefix:
attention pages can be cut anywhere (chunk-local ones inside the current chunk), recurrent state only at
places where it was stored: the end of what was computed, and snapshots at the boundaries that the caller named.
"""

from __future__ import annotations

from collections.abc import Sequence as Tokens

from shoestring.engine.cache import Demand, Pools
from shoestring.models.state import PAGE_TOKENS


class Sequence:
    """One sequence. Position p lies in global page p // 64 and, if its chunk is current, in a chunk page."""

    def __init__(self, tokens: Tokens[int], *, chunk_size: int, recurrent: bool, boundaries: Tokens[int] = ()) -> None:
        self.tokens = list(tokens)
        #: positions whose state is held: 0 … computed − 1
        self.computed = 0
        self.chunk_size = chunk_size
        self.recurrent = recurrent
        #: positions p at which the state of tokens[:p] is worth a snapshot, ascending
        self.boundaries = tuple(sorted({b for b in boundaries if 0 < b <= len(self.tokens)}))
        self.global_pages: list[int] = []
        self.chunk_pages: list[int] = []
        #: number of the page that chunk_pages[0] is
        self.first_chunk_page = 0
        self.slot = -1
        #: where the next step reads the recurrent state: −1 zeros, else `slot` or a snapshot
        self.read_slot = -1
        #: position → slot that holds the recurrent state of tokens[:position]
        self.snapshots: dict[int, int] = {}

    @property
    def remaining(self) -> int:
        """Tokens that are known and not computed yet."""
        return len(self.tokens) - self.computed

    def chunk_start(self, position: int) -> int:
        """First position that chunk-local attention at `position` sees."""
        return position - position % self.chunk_size if self.chunk_size else 0

    def rows_to_edge(self) -> int:
        """Rows until the next attention chunk begins: a span never crosses it, so that pages behind can go first."""
        return self.chunk_size - self.computed % self.chunk_size if self.chunk_size else self.remaining

    def held(self) -> Demand:
        slots = len(self.snapshots) + (self.slot >= 0)
        return Demand(len(self.global_pages), len(self.chunk_pages), slots)

    def grow(self, pools: Pools, rows: int) -> None:
        """Take what the next `rows` rows need; chunk pages behind their chunk are given back first."""
        end = self.computed + rows
        if pools.capacity.global_pages:
            while len(self.global_pages) * PAGE_TOKENS < end:
                self.global_pages.append(pools.global_pages.take())
        if pools.capacity.chunk_pages:
            self._free_behind(pools, self.chunk_start(self.computed) // PAGE_TOKENS)
            while (self.first_chunk_page + len(self.chunk_pages)) * PAGE_TOKENS < end:
                self.chunk_pages.append(pools.chunk_pages.take())
        if self.recurrent and self.slot < 0:
            self.slot = pools.slots.take()

    def _free_behind(self, pools: Pools, first: int) -> None:
        while self.chunk_pages and self.first_chunk_page < first:
            pools.chunk_pages.give(self.chunk_pages.pop(0))
            self.first_chunk_page += 1
        if not self.chunk_pages:
            self.first_chunk_page = first

    def resume_point(self, tokens: Tokens[int], limit: int) -> int:
        """The deepest position ≤ limit from which `tokens` can go on with this state; 0: from nowhere."""
        common = common_prefix(self.tokens[: self.computed], tokens, limit)
        if self.recurrent:
            places = [p for p in (*self.snapshots, self.computed) if p <= common]
            return max((p for p in places if self._chunk_held(p)), default=0)
        if self._chunk_held(common):
            return common
        # The chunk's pages are gone, but at its very beginning nothing of it is needed.
        return self.chunk_start(common)

    def _chunk_held(self, position: int) -> bool:
        start = self.chunk_start(position)
        return not self.chunk_size or start == position or start >= self.first_chunk_page * PAGE_TOKENS

    def cut(self, pools: Pools, position: int) -> None:
        """Forget everything from `position`, which `resume_point` named; the next step goes on there."""
        self.read_slot = -1
        if self.recurrent and position:
            self.read_slot = self.snapshots.get(position, self.slot)
        while len(self.global_pages) > -(-position // PAGE_TOKENS):
            pools.global_pages.give(self.global_pages.pop())
        if self.chunk_size:
            self._free_behind(pools, self.chunk_start(position) // PAGE_TOKENS)
            while self.chunk_pages and self.first_chunk_page + len(self.chunk_pages) > -(-position // PAGE_TOKENS):
                pools.chunk_pages.give(self.chunk_pages.pop())
            if not self.chunk_pages:
                self.first_chunk_page = self.chunk_start(position) // PAGE_TOKENS
        for place in [p for p in self.snapshots if p > position]:
            pools.slots.give(self.snapshots.pop(place))
        self.tokens = self.tokens[:position]
        self.computed = position

    def snapshot_rows(self, pools: Pools, rows: int, most: int) -> list[tuple[int, int]]:
        """(row, slot) pairs for the boundaries inside the next `rows` rows; at most `most` snapshots are kept."""
        if not self.recurrent or most <= 0:
            return []
        pairs = []
        for place in self.boundaries:
            if self.computed < place <= self.computed + rows and place not in self.snapshots:
                self.forget_snapshots(pools, most - 1)
                if len(self.snapshots) >= most:
                    continue
                self.snapshots[place] = pools.slots.take()
                pairs.append((place - self.computed - 1, self.snapshots[place]))
        # A boundary whose snapshot had to make room for a deeper one inside this very step is not stored.
        return [(row, slot) for row, slot in pairs if self.snapshots.get(self.computed + row + 1) == slot]

    def advance(self, rows: int) -> None:
        """`rows` more tokens are computed."""
        self.computed += rows
        self.read_slot = self.slot

    def continue_with(self, tokens: Tokens[int], boundaries: Tokens[int]) -> None:
        """Take over the tokens of a new request, of which the first `computed` are already held."""
        self.tokens = list(tokens)
        self.boundaries = tuple(sorted({b for b in boundaries if 0 < b <= len(tokens)}))

    def forget_snapshots(self, pools: Pools, keep: int) -> None:
        """Give back the shallowest snapshots until `keep` are left (deep ones save more), never the one to be read."""
        idle = sorted(place for place, slot in self.snapshots.items() if slot != self.read_slot)
        for place in idle[: max(0, len(self.snapshots) - keep)]:
            pools.slots.give(self.snapshots.pop(place))

    def release(self, pools: Pools) -> None:
        """Give everything back."""
        for page in self.global_pages:
            pools.global_pages.give(page)
        for page in self.chunk_pages:
            pools.chunk_pages.give(page)
        for slot in self.snapshots.values():
            pools.slots.give(slot)
        if self.slot >= 0:
            pools.slots.give(self.slot)
        self.global_pages, self.chunk_pages, self.snapshots = [], [], {}
        self.slot, self.read_slot = -1, -1
        self.computed, self.first_chunk_page = 0, 0


def common_prefix(a: Tokens[int], b: Tokens[int], limit: int) -> int:
    """Length of the longest common prefix, at most `limit`."""
    length = min(len(a), len(b), limit)
    for i in range(length):
        if a[i] != b[i]:
            return i
    return length
