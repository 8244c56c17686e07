"""Our engine as replicas on two nodes: the answers of a single process, also while nodes come, go and restart.

`make cluster` runs it. Nodes are processes of this machine.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytest.importorskip("ray")

import httpx
from behind import client_of
from questions import answer_of, requests
from running import running
from two_nodes import Two, backend, deployed, two_nodes

import shoestring
from shoestring.errors import CapacityError, RequestError
from shoestring.server.backends.replicas import deployment as deployment_module
from shoestring.server.backends.replicas import options as options_module
from shoestring.server.backends.replicas.deployment import Deployment
from shoestring.server.backends.replicas.options import Count
from shoestring.server.backends.replicas.replica import Source
from shoestring.server.http.app import create_app
from shoestring.server.http.settings import Settings
from shoestring.server.limits import Limits
from shoestring.server.service import Service

MODEL = "demo-qwen3.5"
LOAD = {"context": 1024, "parallel": 4, "threads": 1}
MOST_SECONDS = 30.0


@pytest.fixture(scope="module")
def two() -> Iterator[Two]:
    with two_nodes() as two:
        yield two


def source() -> Source:
    return Source(MODEL, MODEL, ("alias",), **LOAD)


def ask(url: str, request: tuple[str, dict[str, Any]], key: str = "") -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.post(f"{url}{request[0]}", json=request[1], headers=headers, timeout=120)


def test_every_answer_is_the_one_of_a_single_process(two: Two) -> None:
    """200 mixed requests, 8 at once; second turns are cached, and no key sees another one's cache."""
    questions = list(requests(MODEL, 200))
    with client_of(create_app(Service(shoestring.load(MODEL, **LOAD)))) as alone:
        alone.app.state.service.info = alone.app.state.service.info.__class__(MODEL)  # type: ignore[attr-defined]
        expected = [answer_of(alone.post(path, json=body).json()) for path, body in questions]
    settings = Settings(api_keys=("a", "b"))
    deployment = deployed(source())
    with running(create_app(backend(deployment, queue=300), settings)) as url:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda question: ask(url, question, "a"), questions))
        assert [answer.status_code for answer in answers] == [200] * 200
        assert [answer_of(answer.json()) for answer in answers] == expected
        shares = second_turns(url)
        print(f"second turns: {min(shares):.1%} of their first turn's tokens cached at least")
        assert min(shares) >= 0.95
        metrics = httpx.get(f"{url}/metrics", headers={"Authorization": "Bearer a"}, timeout=30).text
        by_replica = [line for line in metrics.splitlines() if line.startswith("shoestring_replica_computed_tokens")]
        assert len(by_replica) == 2
        assert all(float(line.rsplit(" ", 1)[1]) > 0 for line in by_replica), "a replica had nothing to do"


def second_turns(url: str) -> list[float]:
    """Of ten conversations: which share of the first turn's tokens the second one took from the cache."""
    shares = []
    for i in range(10):
        text = f"Conversation {i}. " + "Tell me about boats, anchors, ropes and the tide in a small harbour. " * 12
        chat = {
            "messages": [{"role": "user", "content": text}],
            "max_tokens": 8,
            "temperature": 0,
            "enable_thinking": False,
        }
        first = ask(url, ("/v1/chat/completions", chat), "a").json()
        said = first["choices"][0]["message"]["content"]
        messages = [*chat["messages"], {"role": "assistant", "content": said}, {"role": "user", "content": "And then?"}]
        usage = ask(url, ("/v1/chat/completions", {**chat, "messages": messages}), "a").json()["usage"]
        shares.append(usage["prompt_tokens_details"]["cached_tokens"] / first["usage"]["prompt_tokens"])
        stranger = ask(url, ("/v1/chat/completions", chat), "b").json()["usage"]
        # no more than the head that its own conversations share
        assert stranger["prompt_tokens_details"]["cached_tokens"] <= 30 * (i > 0)
    return shares


class Traffic:
    """Streams of several clients, one after the other, until `stop`."""

    def __init__(self, url: str, clients: int = 4) -> None:
        self.url = url
        self.ended: list[tuple[float, str, float]] = []
        self.running = True
        self.threads = [threading.Thread(target=self._client, args=(i,), daemon=True) for i in range(clients)]
        for thread in self.threads:
            thread.start()

    def _client(self, number: int) -> None:
        count = 0
        while self.running:
            count += 1
            body = {
                "messages": [{"role": "user", "content": f"{number} {count} tell me a long story"}],
                "max_tokens": 60, "ignore_eos": True, "temperature": 0, "stream": True,
            }  # fmt: skip
            began = time.monotonic()
            try:
                with httpx.stream("POST", f"{self.url}/v1/chat/completions", json=body, timeout=90) as response:
                    lines = [line for line in response.iter_lines() if line.startswith("data: ")]
                how = (
                    "whole"
                    if lines and lines[-1] == "data: [DONE]"
                    else "error"
                    if '"error"' in lines[-1]
                    else "cut off"
                )
                how = how if response.status_code == 200 else f"refused {response.status_code}"
            except httpx.HTTPError as error:
                how = type(error).__name__
            self.ended.append((time.monotonic(), how, time.monotonic() - began))

    def stop(self) -> list[tuple[float, str, float]]:
        self.running = False
        for thread in self.threads:
            thread.join(90)
            assert not thread.is_alive(), "a client hangs"
        return self.ended


def test_a_rolling_restart_loses_no_answer(two: Two) -> None:
    deployment = deployed(source())
    with running(create_app(backend(deployment))) as url:
        traffic = Traffic(url)
        time.sleep(3)
        began = time.monotonic()
        deployment.restart()
        took = time.monotonic() - began
        time.sleep(3)
        ended = traffic.stop()
    print(
        f"rolling restart of two replicas: {took:.0f} s, {len(ended)} answers, longest {max(e[2] for e in ended):.1f} s"
    )
    assert {how for _, how, _ in ended} == {"whole"}
    assert sum(at > began for at, _, _ in ended) > 3


def test_a_killed_worker_is_an_error_soon_and_its_node_is_used_again(two: Two) -> None:
    """Running streams end with an error of the API, new requests succeed within 30 s, and nothing hangs."""
    with running(create_app(backend(deployed(source())))) as url:
        traffic = Traffic(url)
        time.sleep(4)
        killed = time.monotonic()
        two.cluster.remove_node(two.worker, allow_graceful=False)
        probes = []
        while len(probes) < 5:
            asked = time.monotonic()
            answer = ask(url, next(requests(MODEL, 1)))
            if answer.status_code == 200:
                probes.append(time.monotonic() - killed)
            assert time.monotonic() - asked < MOST_SECONDS
            assert time.monotonic() - killed < 2 * MOST_SECONDS
        ended = traffic.stop()
        kinds = {how for _, how, _ in ended}
        print(
            f"worker killed: new answers after {probes[0]:.1f} s, ends {sorted(kinds)}, "
            f"longest {max(e[2] for e in ended):.1f} s"
        )
        assert kinds <= {"whole", "error", "refused 502", "refused 504"}
        assert probes[0] < MOST_SECONDS
        assert max(spent for _, _, spent in ended) < 60
        two.add_worker()
        until = time.monotonic() + 60
        while len(httpx.get(f"{url}/metrics", timeout=30).text.split("shoestring_replica_computed_tokens{")) < 3:
            assert time.monotonic() < until, "the node that is back has no replica"
            time.sleep(1)
        print("the node that is back has a replica")


def replicas_of(url: str) -> int:
    text = httpx.get(f"{url}/metrics", timeout=30).text
    return text.count("shoestring_replica_computed_tokens{")


def within(seconds: float, url: str, number: int) -> float:
    """Seconds until there are so many replicas."""
    began = time.monotonic()
    while replicas_of(url) != number:
        assert time.monotonic() - began < seconds, f"{replicas_of(url)} replicas after {seconds:.0f} s"
        time.sleep(1)
    return time.monotonic() - began


def test_replicas_follow_the_queue(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """--replicas 1:2: one becomes two while more requests wait than it answers, and one again. No answer is lost."""
    monkeypatch.setattr(options_module, "DOWNSCALE_SECONDS", 3.0)
    with running(create_app(backend(Deployment(source(), Count(1, 2), Limits()), queue=100))) as url:
        assert replicas_of(url) == 1
        traffic = Traffic(url, clients=12)
        more = within(90, url, 2)
        ended = traffic.stop()
        fewer = within(120, url, 1)
    print(f"12 clients: a second replica after {more:.0f} s; none asks: one after {fewer:.0f} s; {len(ended)} answers")
    assert {how for _, how, _ in ended} == {"whole"}


def test_mixed_versions_and_a_small_cluster_are_one_line(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployment_module, "versions", lambda: {"shoestring": "9.9.9"})
    with pytest.raises(RequestError) as refused:
        deployed(source()).start()
    assert "mixed versions: this node has shoestring" in str(refused.value)
    assert "\n" not in str(refused.value)
    with pytest.raises(CapacityError, match="the cluster has 2 nodes"):
        deployment_module.check_size(Count(3, 3))


def rate(url: str, clients: int, each: int = 2, tokens: int = 32) -> tuple[float, float]:
    """Tokens/s of so many clients, and the median seconds of a request."""
    body = {"max_tokens": tokens, "ignore_eos": True, "temperature": 0}
    spent: list[float] = []

    def client(number: int) -> None:
        for i in range(each):
            messages = [{"role": "user", "content": f"{number} {i} tell me a story of a boat"}]
            began = time.monotonic()
            answer = ask(url, ("/v1/chat/completions", {**body, "messages": messages}))
            assert answer.status_code == 200
            spent.append(time.monotonic() - began)

    began = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, range(clients)))
    return clients * each * tokens / (time.monotonic() - began), statistics.median(spent)


def test_speed_is_reported(two: Two) -> None:
    """Two replicas of a thread against one process of two threads with 16 clients; and what one client waits longer."""
    found = {}
    for threads in (1, 2):
        model = shoestring.load(MODEL, **{**LOAD, "threads": threads, "parallel": 8})
        with running(create_app(Service(model))) as url:
            rate(url, 2)
            found[f"one process, {threads} threads"] = rate(url, 16), rate(url, 1, each=20, tokens=4)
    source_of_8 = Source(MODEL, MODEL, **{**LOAD, "parallel": 8})
    with running(create_app(backend(deployed(source_of_8)))) as url:
        rate(url, 2)
        found["two replicas of 1 thread"] = rate(url, 16), rate(url, 1, each=20, tokens=4)
    for name, ((tokens, _), (_, seconds)) in found.items():
        print(f"{name}: {tokens:.0f} tokens/s with 16 clients, {1e3 * seconds:.1f} ms for 4 tokens with one")
    assert all(tokens > 0 for (tokens, _), _ in found.values())
