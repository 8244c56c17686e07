"""Which expert leaves memory when another one needs its slot: the one with the lowest score, above a floor a layer.

Pure: no clock, no arrays. Inside a layer a score only grows, when its expert is used, so a heap may have old scores and
repair them when they reach the top. A decision compares the lowest of each layer.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from heapq import heappop, heappush, heapreplace
from typing import Protocol

#: Layer and number of an expert
Key = tuple[int, int]

#: The weight of a use falls by this part while the cache could be filled once. docs/log.md has the table behind it.
_FORGOTTEN = 0.5


def decay_for(tokens: float) -> float:
    """What a use counts one token later, in a cache where the experts of so many tokens fit.

    A small cache has to forget sooner: what it keeps must be used again within a few tokens.
    """
    return min(0.999, max(0.3, 1 - _FORGOTTEN / tokens))


class Scores(Protocol):
    """How much each expert is worth in memory."""

    def use(self, layer: int, rows_of: Mapping[int, int], rows: int) -> None:
        """The experts that a step of `rows` rows uses in a layer, each with the number of its rows."""

    def of(self, key: Key) -> float:
        """A score that orders the experts of one layer. It never falls."""

    def worth(self, layer: int, score: float) -> float:
        """A score of that layer, to be compared with those of other layers."""


class Frequency:
    """Number of uses, old ones counting less: Σ decay^(tokens since then), as a logarithm.

    Every layer has its own count of tokens, so that in a pass over a long prompt the layers that it has not reached yet
    do not look old. A step of R rows that sends r of them to an expert adds what r rows add that are spread evenly over
    R tokens: r / R · (1 − decay^R) / (1 − decay).
    """

    def __init__(self, decay: float) -> None:
        self._decay = decay
        self._growth = -math.log(decay)
        self._tokens: defaultdict[int, int] = defaultdict(int)
        self._scores: dict[Key, float] = {}

    def use(self, layer: int, rows_of: Mapping[int, int], rows: int) -> None:
        self._tokens[layer] += rows
        now = self._tokens[layer] * self._growth
        uses_a_row = (1 - self._decay**rows) / (1 - self._decay) / rows
        for expert, count in rows_of.items():
            new, old = now + math.log(count * uses_a_row), self._scores.get((layer, expert), -math.inf)
            high, low = (new, old) if new > old else (old, new)
            self._scores[layer, expert] = high + math.log1p(math.exp(low - high))

    def of(self, key: Key) -> float:
        return self._scores.get(key, -math.inf)

    def worth(self, layer: int, score: float) -> float:
        return score - self._tokens[layer] * self._growth


class Recency:
    """The last use: evicting by it is LRU."""

    def __init__(self) -> None:
        self._uses = 0
        self._scores: dict[Key, float] = {}

    def use(self, layer: int, rows_of: Mapping[int, int], rows: int) -> None:
        self._uses += 1
        for expert in rows_of:
            self._scores[layer, expert] = self._uses

    def of(self, key: Key) -> float:
        return self._scores.get(key, -1.0)

    def worth(self, layer: int, score: float) -> float:
        return score


class Residents:
    """The experts in the slots of one size class, and which of them to evict.

    A layer keeps `floor` experts while other layers need slots. It may always replace its own. Pinned experts stay:
    those that a step needs, and those that are being read.
    """

    def __init__(self, scores: Scores, floor: int) -> None:
        self._scores = scores
        self._floor = floor
        self._keys: set[Key] = set()
        self._pinned: set[Key] = set()
        self._counts: defaultdict[int, int] = defaultdict(int)
        # Scores, perhaps old ones, and experts of each layer; a resident that is not pinned has at least one entry.
        self._heaps: defaultdict[int, list[tuple[float, int]]] = defaultdict(list)

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: Key) -> bool:
        return key in self._keys

    def count(self, layer: int) -> int:
        """Residents of a layer."""
        return self._counts[layer]

    def add(self, key: Key) -> None:
        """An expert that has got a slot; it is pinned."""
        assert key not in self._keys
        self._keys.add(key)
        self._pinned.add(key)
        self._counts[key[0]] += 1

    def remove(self, key: Key) -> None:
        """An expert whose slot is free again."""
        self._keys.remove(key)
        self._pinned.discard(key)
        self._counts[key[0]] -= 1

    def pin(self, key: Key) -> None:
        """Keep a resident until it is unpinned."""
        assert key in self._keys
        self._pinned.add(key)

    def unpin(self, key: Key) -> None:
        """Let a resident go when its turn comes. Does nothing for others."""
        if key in self._pinned:
            self._pinned.remove(key)
            heappush(self._heaps[key[0]], (self._scores.of(key), key[1]))

    def evict(self, layer: int) -> Key | None:
        """Remove the resident with the lowest score, for an expert of `layer`.

        Never a pinned one, nor one of another layer at its floor. None: there is no other.
        """
        victim, least = None, math.inf
        for other in self._heaps:
            if other != layer and self._counts[other] <= self._floor:
                continue
            lowest = self._lowest(other)
            if lowest is None:
                continue
            worth = self._scores.worth(other, lowest[0])
            if victim is None or worth < least:
                victim, least = (other, lowest[1]), worth
        if victim is not None:
            heappop(self._heaps[victim[0]])
            self.remove(victim)
        return victim

    def _lowest(self, layer: int) -> tuple[float, int] | None:
        """The resident of a layer with the lowest score that is not pinned, now on top of its heap."""
        heap = self._heaps[layer]
        while heap:
            score, expert = heap[0]
            key = (layer, expert)
            if key not in self._keys or key in self._pinned:
                heappop(heap)
                continue
            current = self._scores.of(key)
            if current == score:
                return heap[0]
            heapreplace(heap, (current, expert))
        return None
