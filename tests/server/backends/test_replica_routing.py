"""Which replica answers: later turns go to the same one, keys are apart, and a replica that goes moves only its own."""

from __future__ import annotations

import asyncio
import pickle
import sys
import time
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from shoestring.engine.request import Counts
from shoestring.errors import RequestError
from shoestring.models.layout import Demand
from shoestring.output.events import Content
from shoestring.server.backends.replicas import deployment
from shoestring.server.backends.replicas.batches import BATCH_SECONDS, batched, summed
from shoestring.server.backends.replicas.options import Count, options_of, read_count
from shoestring.server.backends.replicas.routing import ranked, stable_prefix
from shoestring.server.backends.stream import End, Stream
from shoestring.server.errors import ApiError, busy
from shoestring.server.http.sockets import bind
from shoestring.server.request import ChatRequest, CompletionRequest, Delta, Finished, GenerationOptions, StreamItem

USER, SYSTEM = {"role": "user", "content": "one"}, {"role": "system", "content": "be brief"}
ANSWER, AGAIN = {"role": "assistant", "content": "two"}, {"role": "user", "content": "three"}


def chat(*messages: dict[str, str], client: str = "", **fields: Any) -> ChatRequest:
    return ChatRequest(messages, GenerationOptions(client=client), **fields)


def test_later_turns_keep_the_prefix_and_others_have_their_own() -> None:
    first = stable_prefix(chat(SYSTEM, USER, client="key:a"))
    assert stable_prefix(chat(SYSTEM, USER, ANSWER, AGAIN, client="key:a")) == first
    tool = {"type": "function", "function": {"name": "f"}}
    others = [
        chat(SYSTEM, USER, client="key:b"),
        chat(SYSTEM, AGAIN, client="key:a"),
        chat(USER, client="key:a"),
        chat(SYSTEM, USER, client="key:a", tools=(tool,)),
    ]
    assert len({first, *map(stable_prefix, others)}) == 5
    # without keys all clients share a cache
    assert stable_prefix(chat(USER, client="address:1")) == stable_prefix(chat(USER, client="address:2"))
    text = "x" * 2000
    assert stable_prefix(CompletionRequest(text)) == stable_prefix(CompletionRequest(text + "y"))
    assert stable_prefix(CompletionRequest((1, 2, 3))) != stable_prefix(CompletionRequest((1, 2, 4)))


def test_a_replica_that_goes_moves_only_its_own_prefixes() -> None:
    names = [f"replica-{i}" for i in range(5)]
    prefixes = [f"prefix-{i}" for i in range(1000)]
    before = {prefix: ranked(prefix, [(name, name) for name in names])[0] for prefix in prefixes}
    assert min(Counter(before.values()).values()) > 140
    left = names[1:]
    for prefix, chosen in before.items():
        ranks = ranked(prefix, [(name, name) for name in reversed(left)])
        assert sorted(ranks) == left
        if chosen in left:
            assert ranks[0] == chosen


def test_batches_come_soon_and_keep_the_order() -> None:
    async def scene() -> None:
        items: asyncio.Queue[StreamItem | End] = asyncio.Queue()
        deltas = [Delta(0, (Content(str(i)),), ()) for i in range(200)]

        async def produce() -> None:
            for delta in deltas:
                items.put_nowait(delta)
                await asyncio.sleep(0.001)
            items.put_nowait(Finished(0, "stop"))
            items.put_nowait(None)

        producing = asyncio.ensure_future(produce())
        got: list[StreamItem] = []
        batches, began = 0, time.monotonic()
        async for batch in batched(Stream(items, lambda: None)):
            batches += 1
            got += batch
        await producing
        assert got == [*deltas, Finished(0, "stop")]
        assert 1 < batches <= 2 + (time.monotonic() - began) / BATCH_SECONDS

    asyncio.run(scene())


def test_what_came_before_an_error_is_sent() -> None:
    async def scene() -> None:
        items: asyncio.Queue[StreamItem | End] = asyncio.Queue()
        for item in (Delta(0, (Content("a"),), ()), Delta(0, (Content("b"),), ()), ApiError(500, "the step failed")):
            items.put_nowait(item)
        got: list[StreamItem] = []
        failed = None
        try:
            async for batch in batched(Stream(items, lambda: None)):
                got += batch
        except ApiError as error:
            failed = error.message
        assert (failed, len(got)) == ("the step failed", 2)

    asyncio.run(scene())


def test_what_goes_over_the_cluster_can_be_pickled() -> None:
    refusal = busy(7)
    again = pickle.loads(pickle.dumps(refusal))
    assert (again.status, again.code, again.headers) == (429, "queue_full", {"Retry-After": "7"})
    request = chat(SYSTEM, USER, client="key:a")
    assert pickle.loads(pickle.dumps(request)) == request


def test_counts_of_replicas_add_up() -> None:
    one = Counts(1, 2, Demand(8, 4, 2), Demand(1, 1, 1), Demand(2), Demand(5, 3, 1), 100, 10, 20, 0.5)
    both = summed([one, one])
    assert both is not None
    assert (both.running, both.capacity, both.computed_tokens) == (2, Demand(16, 8, 4), 40)
    assert both.slowest_layer_seconds == 0.5
    assert summed([]) is None


def test_replicas_are_a_number_or_a_range() -> None:
    assert read_count("3") == Count(3, 3)
    assert read_count("1:4") == Count(1, 4)
    for wrong in ("0", "4:1", "many", "1:2:3", ""):
        with pytest.raises(RequestError, match="--replicas"):
            read_count(wrong)
    assert options_of(Count(2, 2), None)["num_replicas"] == 2
    scaling = options_of(Count(1, 4), 6)["autoscaling_config"]
    assert (scaling["min_replicas"], scaling["max_replicas"], scaling["target_ongoing_requests"]) == (1, 4, 3)


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (Exception("The current node timed out\nduring startup."), "cannot use the cluster at"),
        (RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.50.0"), "mixed versions"),
    ],
)
def test_a_cluster_that_cannot_be_joined_is_one_line(
    error: Exception, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever Ray raises."""

    def init(**options: Any) -> None:
        raise error

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init))
    with bind("127.0.0.1", 0) as head, pytest.raises(RequestError, match=named) as refused:
        deployment.connect(f"127.0.0.1:{head.getsockname()[1]}")
    assert "\n" not in str(refused.value)
