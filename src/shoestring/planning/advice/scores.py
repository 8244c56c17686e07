"""Compare models by the benchmarks that both have, and order them by pairwise wins.

A score that is missing, or that its row marks as not comparable, takes part in nothing: no mean includes it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from shoestring.catalogue.schema import Catalogue, Score


@dataclass(frozen=True)
class Pairing:
    """Two models on the benchmarks that have a comparable score of both; `pairs` is not empty."""

    pairs: tuple[tuple[Score, Score], ...]

    @property
    def lead(self) -> float:
        """Mean of the first model's score minus the second's. Swapping the models changes only its sign."""
        return math.fsum(a.value - b.value for a, b in self.pairs) / len(self.pairs)

    @property
    def rows(self) -> tuple[str, ...]:
        return tuple(s.id for pair in self.pairs for s in pair)


@dataclass(frozen=True)
class Place:
    """A model's rank among the models compared, from 1. Models of one rank tie, or beat one another in a cycle."""

    rank: int
    shared_with: tuple[str, ...] = ()
    cycle: bool = False


def comparable(model: str, benchmarks: Sequence[str], catalogue: Catalogue) -> tuple[Score, ...]:
    """A model's scores that may be compared, in the order of the benchmarks."""
    scores = (catalogue.score(model, benchmark) for benchmark in benchmarks)
    return tuple(s for s in scores if s is not None and not s.incomparable)


def pairing(a: str, b: str, benchmarks: Sequence[str], catalogue: Catalogue) -> Pairing | None:
    """Two models on the benchmarks that both have; None if there is no such benchmark."""
    others = {s.benchmark: s for s in comparable(b, benchmarks, catalogue)}
    pairs = [(s, others[s.benchmark]) for s in comparable(a, benchmarks, catalogue) if s.benchmark in others]
    return Pairing(tuple(pairs)) if pairs else None


def places(models: Sequence[str], benchmarks: Sequence[str], catalogue: Catalogue) -> dict[str, Place]:
    """The rank of each model that can be ordered: every two of them share a benchmark.

    Of two models, the one with the higher mean over the shared benchmarks wins. A model's rank is one more than the
    number of models that win against it and all of its rank. {} if no two models share a benchmark.
    """
    core = _all_share(models, benchmarks, catalogue)
    if len(core) < 2:
        return {}
    leads = {(a, b): _lead(a, b, benchmarks, catalogue) for a in core for b in core if a != b}
    reached = {a: {b for b in core if a == b or leads[a, b] >= 0} for a in core}
    for middle in core:  # transitive closure: a reaches b through models that win or tie
        for a in core:
            if middle in reached[a]:
                reached[a] |= reached[middle]
    found = {}
    for a in core:
        equals = tuple(b for b in core if b != a and b in reached[a] and a in reached[b])
        above = sum(b not in equals and b != a and a in reached[b] for b in core)
        found[a] = Place(1 + above, equals, any(leads[a, b] != 0 for b in equals))
    return found


def _lead(a: str, b: str, benchmarks: Sequence[str], catalogue: Catalogue) -> float:
    pair = pairing(a, b, benchmarks, catalogue)
    assert pair is not None
    return pair.lead


def _all_share(models: Sequence[str], benchmarks: Sequence[str], catalogue: Catalogue) -> list[str]:
    """Models of which every two share a benchmark, beginning with those that share one with the most others."""
    names = {m: {s.benchmark for s in comparable(m, benchmarks, catalogue)} for m in dict.fromkeys(models)}
    shared = {a: [len(names[a] & names[b]) for b in names if b != a] for a in names}
    chosen: list[str] = []
    for model in sorted(names, key=lambda m: (-sum(map(bool, shared[m])), -sum(shared[m]), m)):
        if any(shared[model]) and all(names[model] & names[other] for other in chosen):
            chosen.append(model)
    return chosen
