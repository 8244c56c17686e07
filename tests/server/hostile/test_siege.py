"""Nothing that a client sends stops the server, slows other clients, or takes memory beyond the budget.

The default suite sends some hundred requests and holds what a busy machine cannot change. `make siege` sends 4,000,
and bombs of 30 MB, and tests the times; docs/benchmarks.md has the figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile import judge
from hostile.endpoints import MODEL, VALID, posts
from hostile.holes import HOLE, holes
from hostile.process import besieged
from hostile.siege import Siege, attacks, besiege
from tiny_files import tiny_llama, tiny_qwen

MIB = 1 << 20
#: Below the default limit of a body.
LARGE = 30 * 10**6
OPTIONS = ("--context", "2048", "--threads", "2")
#: Peak of the resident size, in parts of the budget.
MEMORY = 1.03
#: Seconds: of health in 99 of 100 probes, and always; and by which a first token may be late.
HEALTH_99, HEALTH_ALWAYS, FIRST_TOKEN = 0.1, 0.5, 1.0
#: The same on a machine that does other work.
BUSY_HEALTH, BUSY_FIRST_TOKEN = 10.0, 30.0


@pytest.fixture(scope="module")
def qwen() -> Iterator[Path]:
    with tiny_qwen(MODEL) as file:
        yield file


@pytest.fixture(scope="module")
def llama() -> Iterator[Path]:
    with tiny_llama(MODEL) as file:
        yield file


def test_some_hundred_requests(qwen: Path) -> None:
    chosen = [
        *attacks(seed=1, requests=290, bombs=8, bomb_bytes=MIB),
        *attacks(2, requests=2, bombs=2, bomb_bytes=30 * 10**6),
    ]
    with besieged(qwen, 640 * MIB, *OPTIONS) as server:
        siege = besiege(server, chosen, quiet=0.5)
    complaints = [*siege.complaints, *too_large(siege, 640 * MIB)]
    assert max(siege.seconds["health"]) < BUSY_HEALTH
    assert max(siege.seconds["first"]) < BUSY_FIRST_TOKEN
    assert not complaints, "\n".join([siege.figures(), *complaints])


@pytest.mark.deep
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("family", ["qwen", "llama"])
def test_four_thousand_requests(family: str, request: pytest.FixtureRequest) -> None:
    with besieged(request.getfixturevalue(family), 1024 * MIB, *OPTIONS) as server:
        siege = besiege(server, attacks(seed=7, requests=4000, bombs=160, bomb_bytes=LARGE), quiet=20)
    print(f"\n{family}\n{siege.figures()}")
    complaints = [*siege.complaints, *too_large(siege, 1024 * MIB), *too_late(siege)]
    assert not complaints, "\n".join([f"{len(complaints)} complaints", *complaints])


def too_large(siege: Siege, memory: int) -> list[str]:
    if siege.peak_bytes <= MEMORY * memory:
        return []
    return [f"memory reached {siege.peak_bytes / MIB:.0f} MiB with a budget of {memory / MIB:.0f} MiB"]


def too_late(siege: Siege) -> list[str]:
    """Times beyond the bars. What delays a server that does nothing is the machine, and is allowed on top."""
    idle, health = siege.seconds["idle"], siege.seconds["health"]
    usual = judge.percentile(siege.alone["first"], 0.5)
    times = {
        "health in 99 of 100 probes": (judge.percentile(health, 0.99), HEALTH_99 + judge.percentile(idle, 0.99)),
        "health": (max(health), HEALTH_ALWAYS + max(idle)),
        "the first token": (max(siege.seconds["first"]) - usual, FIRST_TOKEN + max(idle)),
    }
    return [
        f"{what} took {seconds:.3f} s: allowed {bar:.3f} s" for what, (seconds, bar) in times.items() if seconds > bar
    ]


def test_every_endpoint_is_attacked() -> None:
    assert {endpoint.path for endpoint in posts()} == set(VALID)
    names = {attack.name for attack in attacks(seed=3, requests=1500, bombs=40, bomb_bytes=100)}
    assert all(any(path in name for name in names) for path in VALID)


def test_holes_reach_what_is_inside() -> None:
    chat = next(endpoint for endpoint in posts() if endpoint.path == "/v1/chat/completions")
    found = dict(holes(chat, VALID[chat.path]))
    places = {".messages[].tool_calls[].function.arguments", ".logit_bias.*", ".tools[].*", ".functions", ".unknown"}
    assert places <= found.keys()
    assert all(body.count(HOLE.encode()) == 1 for body in found.values())


def test_the_same_seed_gives_the_same_requests() -> None:
    def sent(seed: int) -> list[bytes]:
        return [
            b"".join(piece for piece in attack.pieces() if isinstance(piece, bytes))
            for attack in attacks(seed, requests=60, bombs=6, bomb_bytes=1000)
        ]

    assert sent(4) == sent(4)
    assert sent(4) != sent(5)
