"""Hit rates that a recorded route would have in caches of other sizes, for our policy, for LRU, and for the optimum.

An access is an expert that a step needs in a layer, once however many rows choose it. The first quarter of a recording
fills the cache and is not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush

import numpy as np

from shoestring.errors import CapacityError, RequestError
from shoestring.streaming.policy import Frequency, Recency, Residents, Scores, decay_for
from shoestring.streaming.routes import Routes
from shoestring.streaming.slots import ExpertBytes, SlotPlan, all_bytes, plan_slots

#: Shares of all experts in memory that a table has
SHARES = (0.05, 0.0625, 0.08, 0.1, 0.125, 0.15, 0.2, 0.25, 0.375, 0.5, 0.75)
#: Share of the recording that fills the cache
WARM_UP = 0.25


@dataclass(frozen=True)
class Use:
    """The experts of a step in a layer, with the number of rows of each."""

    layer: int
    rows_of: Mapping[int, int]
    rows: int


@dataclass(frozen=True)
class HitRates:
    """Of one cache size: shares of the accesses that find their expert in memory."""

    share: float
    slots: int
    arena_bytes: int
    frequency: float
    lru: float
    optimum: float


def uses_of(routes: Routes) -> list[Use]:
    """The accesses of a recording, in order."""
    uses = []
    for layer, ids in routes.records:
        experts, counts = np.unique(ids, return_counts=True)
        uses.append(Use(layer, dict(zip(experts.tolist(), counts.tolist(), strict=True)), len(ids)))
    return uses


def hit_rates(routes: Routes, shares: Sequence[float] = SHARES) -> list[HitRates]:
    """A row for each share of the experts that a plan can have. Raises RequestError for an empty recording."""
    uses = uses_of(routes)
    if not uses:
        raise RequestError(f"the routes of {routes.model} are empty: record some tokens")
    rows = []
    for share in shares:
        try:
            plan = plan_slots(routes.layers, routes.experts_per_token, int(share * all_bytes(routes.layers)))
        except CapacityError:
            continue
        decay = decay_for(plan.tokens)
        rows.append(
            HitRates(
                plan.share,
                plan.slots,
                plan.arena_bytes,
                replayed(uses, plan, partial(Frequency, decay)),
                replayed(uses, plan, Recency),
                optimum(uses, plan),
            )
        )
    return rows


def replayed(uses: Iterable[Use], plan: SlotPlan, new_scores: Callable[[], Scores], warm_up: float = WARM_UP) -> float:
    """The hit rate of a cache that evicts by these scores, as `StreamedExperts` does in steps of few rows.

    warm_up: share of the uses that fill the cache and are not counted.
    """
    uses = list(uses)
    hits = asked = 0
    for one in plan.classes:
        scores = new_scores()
        residents = Residents(scores, one.floor)
        own = set(one.layers)
        for number, use in enumerate(uses):
            if use.layer not in own:
                continue
            counted = number >= warm_up * len(uses)
            scores.use(use.layer, use.rows_of, use.rows)
            keys = [(use.layer, expert) for expert in sorted(use.rows_of)]
            missing = [key for key in keys if key not in residents]
            if counted:
                asked += len(keys)
                hits += len(keys) - len(missing)
            needed = [key for key in keys if key in residents]
            for key in needed:
                residents.pin(key)
            for key in missing:
                if len(residents) == one.slots and residents.evict(use.layer) is None:
                    for done in needed:  # the first ones are computed by now
                        residents.unpin(done)
                    residents.evict(use.layer)
                residents.add(key)
                needed.append(key)
            for key in needed:
                residents.unpin(key)
    return hits / asked if asked else 1.0


def optimum(uses: Iterable[Use], plan: SlotPlan, warm_up: float = WARM_UP) -> float:
    """The best hit rate of any policy (Belady, 1966): evict what is needed again last. It knows the future."""
    uses = list(uses)
    hits = asked = 0
    for one in plan.classes:
        own = set(one.layers)
        accesses = [
            ((use.layer, expert), number >= warm_up * len(uses))
            for number, use in enumerate(uses)
            if use.layer in own
            for expert in sorted(use.rows_of)
        ]
        never = len(accesses)
        following: dict[tuple[int, int], int] = {}
        next_use = [never] * len(accesses)
        for index in range(len(accesses) - 1, -1, -1):
            key = accesses[index][0]
            next_use[index] = following.get(key, never)
            following[key] = index
        current: dict[tuple[int, int], int] = {}  # next use of each resident
        heap: list[tuple[int, tuple[int, int]]] = []
        for index, (key, counted) in enumerate(accesses):
            hit = key in current
            asked += counted
            hits += counted and hit
            if not hit and len(current) == one.slots:
                while True:
                    negative, victim = heappop(heap)
                    if current.get(victim) == -negative:
                        del current[victim]
                        break
            current[key] = next_use[index]
            heappush(heap, (-next_use[index], key))
    return hits / asked if asked else 1.0


def equal_layers(num_layers: int, num_experts: int) -> tuple[ExpertBytes, ...]:
    """Layers of one size class, for replays without a file."""
    return tuple(ExpertBytes(layer, num_experts, 64, 64) for layer in range(num_layers))
