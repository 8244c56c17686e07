"""The curve of routes, against a cache that is played."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from streaming.curve import SHARES, WARM, curve


def played(routes: np.ndarray, slots: int) -> float:
    """The share of uses that an LRU cache of so many experts hits after the first tokens."""
    cache: OrderedDict[int, None] = OrderedDict()
    hits = uses = 0
    for t, row in enumerate(routes.tolist()):
        for expert in row:
            found = expert in cache
            cache[expert] = None
            cache.move_to_end(expert)
            if len(cache) > slots:
                cache.popitem(last=False)
            if t >= WARM:
                hits, uses = hits + found, uses + 1
    return hits / uses


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([(32, 2), (64, 8)]), st.floats(0.2, 3))
def test_hits_are_those_of_a_played_cache(seed: int, size: tuple[int, int], skew: float) -> None:
    experts, chosen = size
    draw = np.random.default_rng(seed)
    scores = draw.normal(size=(WARM + 60, experts)) + skew * draw.normal(size=experts)
    routes = np.argsort(-scores, axis=1)[:, :chosen].astype(np.int32)
    found = curve(routes, experts)
    for share in SHARES:
        assert found.hits[share] == played(routes, int(share * experts))
    again = [len(set(a) & set(b)) for a, b in zip(routes[WARM - 1 : -1].tolist(), routes[WARM:].tolist(), strict=True)]
    assert np.isclose(found.next, np.mean(again) / chosen)
