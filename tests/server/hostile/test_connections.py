"""More connections than the server may have file descriptors: it refuses some, goes on, and does not flood its log."""

from __future__ import annotations

import asyncio
import time
import urllib.request

from hostile import judge
from hostile.endpoints import MODEL
from hostile.process import besieged
from soak_connections import waves
from tiny_files import tiny_qwen

DESCRIPTORS = 512
#: Seconds to answer when the connections are gone.
ANSWERS = 10.0


def test_more_connections_than_descriptors() -> None:
    options = ("--context", "512", "--threads", "1")
    with tiny_qwen(MODEL) as model, besieged(model, 512 << 20, *options, descriptors=DESCRIPTORS) as server:
        url = f"http://127.0.0.1:{server.port}"
        asyncio.run(waves(url, connections=2500, at_once=1200, seed=1))
        start = time.monotonic()
        with urllib.request.urlopen(f"{url}/health", timeout=60) as answer:
            assert answer.status == 200
        assert time.monotonic() - start < ANSWERS
        assert judge.of_log(server.log) == []
        # One line each at most, for those whose request was cut off.
        assert len(server.log.read_bytes().splitlines()) < 2600
