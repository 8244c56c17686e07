"""Shuffles pages and slots, so that no test depends on the order in which an engine allocates them."""

from __future__ import annotations

import random

from shoestring.engine.engine import Engine


def shuffle_pools(engine: Engine, seed: int) -> None:
    """Allocate everything from the engine's pools and release it in random order."""
    pools = engine.tree.pools
    for pool in (pools.global_pages, pools.chunk_pages, pools.slots):
        numbers = [pool.allocate() for _ in range(pool.free)]
        random.Random(seed).shuffle(numbers)
        for number in numbers:
            pool.release(number)
