"""Long requests of one key do not keep another key from its first token, over HTTP and on a model of real size."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import median

import pytest
from hostile.process import Besieged, besieged
from hostile.watch import text_of
from servers import model_file

GIB = 1 << 30
OPTIONS = ("--context", "4096", "--threads", "2", "--parallel", "4", "--api-key", "ann", "--api-key", "bob")
#: Words of each long prompt, five tokens each, and tokens of its answer.
WORDS, ANSWER = 300, 200
#: Words of a prompt that fills one step.
STEP = 100


@pytest.fixture(scope="module")
def real_size() -> Iterator[Path]:
    with model_file(None) as file:
        yield file


@pytest.mark.deep
@pytest.mark.timeout(1800)
def test_sixteen_long_requests_of_another_key(real_size: Path) -> None:
    with besieged(real_size, 4 * GIB, *OPTIONS) as server:
        alone = [first_token(server, "bob", f"Hello {number}", 4) for number in range(5)]
        step = min(first_token(server, "bob", f"{number} " + "stone " * STEP, 4) for number in range(2))
        long = [
            threading.Thread(target=first_token, args=(server, "ann", f"{number} " + "river " * WORDS, ANSWER))
            for number in range(16)
        ]
        for thread in long:
            thread.start()
        time.sleep(2)
        beside = []
        while any(thread.is_alive() for thread in long):
            beside.append(first_token(server, "bob", f"Hello again {len(beside)}", 4))
            time.sleep(0.5)
    print(
        f"\na prompt of one step: {step:.2f} s; first token, alone: median {median(alone):.2f} s; beside 16 long "
        f"requests of another key: {len(beside)} measured, median {median(beside):.2f} s, most {max(beside):.2f} s"
    )
    assert len(beside) > 20
    assert max(beside) < max(alone) + 2 * step, "it waits for the step in progress and one share of prompt work"


def first_token(server: Besieged, key: str, text: str, tokens: int) -> float:
    """Seconds until the first token of a streamed answer, which is read to its end."""
    body = {
        "messages": [{"role": "user", "content": text}],
        "max_tokens": tokens,
        "stream": True,
        "ignore_eos": True,
    }
    start, first = time.perf_counter(), 0.0
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)) as connection:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        assert answer.status == 200, answer.read(500)
        for line in answer:
            if not first and line.startswith(b"data: {") and text_of(json.loads(line[6:])):
                first = time.perf_counter() - start
    assert first
    return first
