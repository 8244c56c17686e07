"""Guides: masks, penalties, forced tokens, and failures that end only their own request."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from test_engine import GREEDY, VOCABULARY, answers, expected, make, prompt, rows

from shoestring.engine.engine import Delivery, Engine
from shoestring.engine.request import Status
from shoestring.engine.scripted_runner import ScriptedRunner
from shoestring.errors import RequestError
from shoestring.ops.sampling import Sampled, Sampling


@dataclasses.dataclass
class Script:
    """Forces `forced[i]` after the i-th sampled token; at the i-th token, allows only `allow[i]`."""

    forced: Sequence[Sequence[int]] = ()
    allow: Sequence[Sequence[int] | None] = ()
    penalties: bool = True
    fail_at: int = -1

    def __post_init__(self) -> None:
        self.accepted: list[int] = []

    @property
    def penalties_apply(self) -> bool:
        return self.penalties

    def allowed(self) -> np.ndarray[tuple[int], np.dtype[np.uint32]] | None:
        allow = self.allow[len(self.accepted)] if len(self.accepted) < len(self.allow) else None
        if allow is None:
            return None
        mask = np.zeros(-(-VOCABULARY // 32), np.uint32)
        for token in allow:
            mask[token // 32] |= np.uint32(1 << token % 32)
        return mask

    def accept(self, token: int) -> Sequence[int]:
        if len(self.accepted) == self.fail_at:
            raise RuntimeError("the guide is lost")
        self.accepted.append(token)
        at = len(self.accepted) - 1
        return self.forced[at] if at < len(self.forced) else ()


def run(engine: Engine, numbers: Sequence[int]) -> dict[int, list[Delivery]]:
    by_request: dict[int, list[Delivery]] = {n: [] for n in numbers}
    while not engine.idle:
        engine.step()
        for delivery in engine.collect():
            by_request[delivery.number].append(delivery)
    engine.check()
    return by_request


def test_forced_tokens_follow_and_are_computed_with_the_next_step() -> None:
    engine = make()
    start = prompt(1, 20)
    first = expected(start, 1)[0]
    guide = Script(forced=[[3, 4, 5]])
    number = engine.generate(start, GREEDY, max_tokens=6, guide=guide)
    news = run(engine, [number])[number]
    following = expected([*start, first, 3, 4, 5], 2)
    assert [d.sampled.id for d in news] == [first, 3, 4, 5, *following]
    assert [d.forced for d in news] == [False, True, True, True, False, False]
    assert [d.position for d in news] == list(range(20, 26))
    assert guide.accepted == [first, *following]
    assert news[-1].finish_reason == "length"
    assert rows(engine) == 20 + 4 + 1


@pytest.mark.parametrize(("limit", "stop", "delivered"), [(3, 99, 3), (9, 4, 3), (9, 3, 2), (1, 99, 1)])
def test_a_forced_token_can_be_the_last(limit: int, stop: int, delivered: int) -> None:
    engine = make()
    start = prompt(1, 20)
    assert expected(start, 1)[0] not in (3, 4)
    number = engine.generate(start, GREEDY, max_tokens=limit, stop_ids=[stop], guide=Script(forced=[[3, 4, 5, 6]]))
    news = run(engine, [number])[number]
    assert len(news) == delivered
    assert news[-1].finish_reason == ("stop" if stop < VOCABULARY else "length")


def test_a_context_filled_by_forced_tokens_ends_there() -> None:
    engine = make(context=24)
    number = engine.generate(prompt(1, 20), GREEDY, guide=Script(forced=[range(9)]))
    news = run(engine, [number])[number]
    assert len(news) == 4
    assert news[-1].finish_reason == "context"


def test_only_what_is_allowed_is_sampled() -> None:
    engine = make()
    number = engine.generate(prompt(1, 20), GREEDY, max_tokens=3, guide=Script(allow=[[7, 33], None, [49]]))
    by_request = [d.sampled.id for d in run(engine, [number])[number]]
    assert by_request[0] in (7, 33)
    assert by_request[2] == 49


@pytest.mark.parametrize("guide", [Script(allow=[None, []]), Script(fail_at=1)])
def test_a_failing_guide_ends_its_own_request_only(guide: Script) -> None:
    engine = make()
    start, other = prompt(1, 20), prompt(2, 30)
    bad = engine.generate(start, GREEDY, max_tokens=5, guide=guide)
    good = engine.generate(other, GREEDY, max_tokens=5)
    by_request = run(engine, [bad, good])
    assert [d.sampled.id for d in by_request[good]] == expected(other, 5)
    assert [d.sampled.id for d in by_request[bad]] == [expected(start, 1)[0], -1]
    assert isinstance(by_request[bad][-1].error, RequestError if guide.allow else RuntimeError)
    assert by_request[bad][-1].last
    assert engine.status(bad).state == "over"


def test_penalties_are_off_where_the_guide_says_so() -> None:
    samplings: list[Sampling] = []

    class Watched(ScriptedRunner):
        def sample(self, logits, sampling, *rest):  # type: ignore[no-untyped-def]
            samplings.append(sampling)
            return Sampled(1)

    penalties = Sampling(presence_penalty=1, frequency_penalty=1, repetition_penalty=2, top_k=9, seed=1)
    engine = Engine(Watched(lambda tokens: 1), context=100)
    for apply in (True, False):
        run(engine, [engine.generate([1], penalties, max_tokens=1, guide=Script(penalties=apply))])
    assert samplings == [penalties, Sampling(top_k=9, seed=1)]


def test_the_state_of_a_request() -> None:
    engine = make(sequences=1)
    first = engine.generate(prompt(1, 30), GREEDY, max_tokens=3, chunk=10)
    second = engine.generate(prompt(1, 30), GREEDY, max_tokens=3)
    engine.step()
    assert engine.status(first) == Status("running", 30, 0, 10)
    assert engine.status(second) == Status("waiting", 30, 0, 0)
    assert (engine.counts().running, engine.counts().waiting) == (1, 1)
    run(engine, [first, second])
    assert engine.status(first) == Status("over", 30, 0, 30)
    assert engine.status(second) == Status("over", 30, 29, 1)
    counts = engine.counts()
    assert (counts.running, counts.waiting, counts.cached_tokens) == (0, 0, 29)
    assert counts.used + counts.cached + counts.free == counts.capacity
    engine.cancel(first)
    assert engine.status(first) == Status("over")


def test_collect_returns_all_and_cancel_drops_deliveries() -> None:
    engine = make()
    first, second = (engine.generate(prompt(i, 5), GREEDY, max_tokens=2) for i in (1, 2))
    engine.step()
    assert [d.number for d in engine.collect()] == [first, second]
    assert engine.collect() == []
    engine.step()
    engine.cancel(first)
    assert [d.number for d in engine.collect()] == [second]
    assert answers(engine, [prompt(3, 9)], 2) == [expected(prompt(3, 9), 2)]
