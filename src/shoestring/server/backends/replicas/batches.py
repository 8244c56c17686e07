"""Items of a stream in batches, so that many fast tokens are few messages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from shoestring.engine.request import Counts
from shoestring.models.layout import Demand
from shoestring.server.backends.stream import Stream
from shoestring.server.request import StreamItem

#: How long an item may wait for others.
BATCH_SECONDS = 0.02
#: After so long without an item an empty batch says that the replica is alive.
ALIVE_SECONDS = 5.0


async def batched(stream: Stream) -> AsyncIterator[list[StreamItem]]:
    """The items of a stream; the first of a batch at once, unless a batch has gone in the last BATCH_SECONDS."""
    batch: list[StreamItem] = []
    sent = 0.0
    following: asyncio.Future[Any] = asyncio.ensure_future(_next(stream))
    try:
        while True:
            due = sent + BATCH_SECONDS - time.monotonic()
            await asyncio.wait({following}, timeout=max(0.0, due) if batch else ALIVE_SECONDS)
            ended = False
            while following.done() and not ended:
                item = following.result()  # raises what the stream raises: what came before it is sent
                ended = item is None
                if not ended:
                    batch.append(item)
                    following = asyncio.ensure_future(_next(stream))
                    await asyncio.sleep(0)
            if ended or not batch or time.monotonic() >= sent + BATCH_SECONDS:
                yield batch
                batch, sent = [], time.monotonic()
            if ended:
                return
    except BaseException:
        if batch and following.done() and not following.cancelled() and following.exception() is not None:
            yield batch
        raise
    finally:
        following.cancel()
        await asyncio.wait({following})


async def _next(stream: Stream) -> StreamItem | None:
    return await anext(stream, None)


def summed(counts: Sequence[Counts]) -> Counts | None:
    """The counts of several engines together; None of none."""
    if not counts:
        return None

    def demand(name: str) -> Demand:
        return sum((getattr(one, name) for one in counts), Demand())

    def number(name: str) -> int:
        return sum(getattr(one, name) for one in counts)

    return Counts(
        running=number("running"),
        waiting=number("waiting"),
        capacity=demand("capacity"),
        used=demand("used"),
        cached=demand("cached"),
        free=demand("free"),
        cached_bytes=number("cached_bytes"),
        cached_tokens=number("cached_tokens"),
        computed_tokens=number("computed_tokens"),
        slowest_layer_seconds=max(one.slowest_layer_seconds for one in counts),
    )
