"""A siege: hostile requests from all generators against one server, with a normal client and a health prober beside."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hostile import judge
from hostile.attack import Attack, Outcome, send
from hostile.bombs import text_bombs, value_bombs
from hostile.connections import hostile_connections
from hostile.fields import hostile_fields, hostile_requests
from hostile.forms import hostile_forms
from hostile.heads import hostile_heads
from hostile.media import hostile_media
from hostile.process import Besieged
from servers import Server
from soak import at_rest

#: Of each hundred small requests, how many come from which generator.
_SHARES = {
    hostile_fields: 50,
    hostile_requests: 13,
    hostile_forms: 12,
    hostile_heads: 10,
    hostile_connections: 8,
    hostile_media: 7,
}


@dataclass(frozen=True)
class Siege:
    """What happened. complaints: what must not happen; seconds by kind: see watch.py."""

    outcomes: Sequence[Outcome]
    complaints: Sequence[str]
    seconds: Mapping[str, Sequence[float]]
    alone: Mapping[str, Sequence[float]]
    peak_bytes: int

    def figures(self) -> str:
        """The measured numbers, one line each."""
        lines = [f"{len(self.outcomes)} requests: {judge.counted(self.outcomes)}"]
        for name, label in (("health", "health"), ("idle", "a server that does nothing"), ("first", "first token")):
            for when, seconds in (("before", self.alone[name]), ("during", self.seconds[name])):
                values = (judge.percentile(seconds, part) * 1e3 for part in (0.5, 0.99, 1.0))
                lines.append("{}, {}: median {:.0f} ms, 99 % {:.0f} ms, most {:.0f} ms".format(label, when, *values))
        lines.append(f"peak memory {self.peak_bytes / 2**20:.0f} MiB")
        return "\n".join(lines)


def attacks(seed: int, requests: int, bombs: int, bomb_bytes: int) -> list[Attack]:
    """`requests` attacks, the same for the same seed; `bombs` of them have about `bomb_bytes`."""
    source = random.Random(seed)
    small = {maker: maker(source) for maker in _SHARES}
    makers = source.choices(list(_SHARES), list(_SHARES.values()), k=requests - bombs)
    chosen = [next(small[maker]) for maker in makers]
    large: tuple[Iterator[Attack], ...] = (text_bombs(source, bomb_bytes), value_bombs(source, bomb_bytes))
    chosen += [next(large[number % 2]) for number in range(bombs)]
    source.shuffle(chosen)
    return chosen


def besiege(
    server: Besieged, chosen: Sequence[Attack], *, at_once: int = 16, patience: float = 60.0, quiet: float = 2.0
) -> Siege:
    """Send all attacks, `at_once` at a time, `quiet` seconds after the other clients have begun."""
    alone = _watched(server, lambda: time.sleep(quiet))[0]
    seconds, outcomes = _watched(server, lambda: asyncio.run(_play(server.port, chosen, at_once, patience)))
    after = _watched(server, lambda: time.sleep(0.5))[0]
    complaints = at_rest(Server("besieged", f"http://127.0.0.1:{server.port}", server.pid, server.log))
    for attack, outcome in zip(chosen, outcomes, strict=True):
        problem = judge.of_reply(outcome, attack.replied)
        if problem is not None:
            complaints.append(
                f"{attack.name}: {problem}\n    sent {_shown(outcome.sent)}\n    got {outcome.body[:300]!r}"
            )
    complaints += [
        f"normal client: {problem}" for problem in [*alone["problems"], *seconds["problems"], *after["problems"]]
    ]
    if len({*alone["answers"], *seconds["answers"], *after["answers"]}) != 1:
        complaints.append(f"the normal client's answers differ: {alone['answers']}, then {seconds['answers']}")
    complaints += judge.of_log(server.log)
    return Siege(outcomes, complaints, seconds, alone, server.peak_bytes)


def _shown(sent: bytes) -> str:
    head, _, body = sent.partition(b"\r\n\r\n")
    return repr(body[:200] if body else head[:200])


def _watched(server: Besieged, act: Any) -> tuple[dict[str, Any], Any]:
    """What the other clients saw while `act` ran, and its result."""
    command = [sys.executable, str(Path(__file__).with_name("watch.py")), str(server.port)]
    watch = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        result = act()
        text, _ = watch.communicate(timeout=300)
    finally:
        watch.kill()
        watch.wait()
    return json.loads(text), result


async def _play(port: int, chosen: Sequence[Attack], at_once: int, patience: float) -> list[Outcome]:
    outcomes: list[Outcome | None] = [None] * len(chosen)
    waiting = iter(enumerate(chosen))

    async def attacker() -> None:
        for number, attack in waiting:
            outcomes[number] = await send(attack, port, patience)

    await asyncio.gather(*(attacker() for _ in range(at_once)))
    return [outcome for outcome in outcomes if outcome is not None]
