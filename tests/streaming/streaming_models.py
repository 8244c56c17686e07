"""Small mixtures on disk, their experts in memory and streamed, and readers that fail or deliver in any order."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import random_models

from shoestring import ops
from shoestring.checkpoint.config.types import Config
from shoestring.errors import ReadError
from shoestring.models.experts import ResidentExperts
from shoestring.models.weights import load_weights
from shoestring.ops.reading import Part, Priority
from shoestring.runtime.opening import Opened, open_model
from shoestring.samples.synthetic import write_synthetic
from shoestring.streaming.experts import StreamedExperts
from shoestring.streaming.policy import Scores
from shoestring.streaming.slots import SlotPlan, all_bytes, least_bytes, plan_slots
from shoestring.streaming.sources import LayerSources, expert_sources
from shoestring.streaming.store import Store, open_store

#: Budgets as shares of all experts; 0: the least that works.
SHARES = (0.0, 0.2, 0.5)


def config_of(family: str) -> Config:
    """Mixtures of 24 experts, 4 a token, and of 12, 1 a token."""
    if family == "qwen3_5":
        return replace(random_models.qwen3_5(layers=3, experts=24), num_experts_per_tok=4)
    return random_models.llama4(layers=3, experts=12)


def write(family: str, kind: str, path: Path) -> Path:
    write_synthetic(config_of(family), path, kind, seed=3)
    old(path)
    return path


def old(path: Path) -> None:
    """A file that was written to long ago."""
    os.utime(path, (time.time() - 1000,) * 2)


@dataclass(frozen=True)
class Mixture:
    """A model's experts: resident, and where they are on disk."""

    opened: Opened
    resident: ResidentExperts
    layers: tuple[LayerSources, ...]

    @property
    def experts_per_token(self) -> int:
        return self.opened.config.num_experts_per_tok

    def plan(self, share: float) -> SlotPlan:
        sizes = [layer.nbytes for layer in self.layers]
        budget = max(least_bytes(sizes, self.experts_per_token), int(share * all_bytes(sizes)))
        return plan_slots(sizes, self.experts_per_token, budget)


def mixture(path: Path) -> Mixture:
    opened = open_model(path)
    _, experts = load_weights(opened.config, opened.binding)
    return Mixture(opened, experts, expert_sources(opened.config, opened.binding))


@contextmanager
def streamed(
    model: Mixture,
    share: float,
    *,
    wrap: Callable[[Any], Any] = lambda reader: reader,
    warn: Callable[[str], None] | None = None,
    scores: Scores | None = None,
) -> Iterator[StreamedExperts]:
    """Streamed experts of a share of the slots, with a reader that `wrap` may replace."""
    warnings: list[str] = []
    plan = model.plan(share)
    store = open_store(model.layers, plan.arena_bytes, warn or warnings.append)
    try:
        used = Store(store.arena, wrap(store.reader), store.files, store.watch)
        yield StreamedExperts(used, model.layers, plan, scores)
        assert not warnings
    finally:
        store.close()


class Wrapped:
    """A reader that passes everything on."""

    def __init__(self, reader: Any) -> None:
        self.reader = reader

    def __getattr__(self, name: str) -> Any:
        return getattr(self.reader, name)


class Shuffled(Wrapped):
    """Tickets become done in any order, one or some at a time."""

    def __init__(self, reader: Any, seed: int) -> None:
        super().__init__(reader)
        self.draws = random.Random(seed)

    def wait(self, tickets: Collection[int]) -> list[int]:
        some = self.draws.sample(sorted(tickets), self.draws.randint(1, len(tickets)))
        done: list[int] = self.reader.wait(some)
        return done


class Interrupted(Wrapped):
    """Ctrl-C comes when the reader has returned and nobody knows yet what."""

    armed = False

    def wait(self, tickets: Collection[int]) -> list[int]:
        done: list[int] = self.reader.wait(tickets)
        if self.armed:
            self.armed = False
            raise KeyboardInterrupt
        return done


class Failing(Wrapped):
    """Reads of parts that touch certain bytes of the files fail, as those of a broken disk do."""

    def __init__(self, reader: Any, broken: Callable[[Part], bool]) -> None:
        super().__init__(reader)
        self.broken: Callable[[Part], bool] | None = broken
        self.errors: dict[int, ReadError] = {}
        self.done: set[int] = set()

    def submit(self, parts: Sequence[Part], priority: Priority) -> int:
        ticket: int = self.reader.submit(parts, priority)
        for part in parts:
            if self.broken is not None and self.broken(part):
                self.errors[ticket] = ReadError(str(part.file.path), part.begin, "Input/output error", ticket)
        return ticket

    def wait(self, tickets: Collection[int]) -> list[int]:
        if not self.done.intersection(tickets):
            self.done.update(self.reader.wait(list(tickets)))
        done = self.done.intersection(tickets)
        for ticket in done & self.errors.keys():
            self.done.remove(ticket)
            raise self.errors.pop(ticket)
        self.done -= done
        return list(done)


@dataclass(frozen=True)
class Rows:
    """Operands of a layer's experts."""

    x: ops.Float32
    ids: ops.Int32
    weights: ops.Float32


def rows(model: Mixture, count: int, seed: int, among: int | None = None) -> Rows:
    """Random rows, each with distinct experts of the first `among`."""
    draws = np.random.default_rng(seed)
    layer = model.layers[0]
    k = model.experts_per_token
    ids = np.stack([draws.permutation(among or len(layer.experts))[:k] for _ in range(count)]).astype(np.int32)
    x = draws.standard_normal((count, layer.hidden_size)).astype(np.float32)
    weights = draws.random((count, k)).astype(np.float32)
    return Rows(x, ids, weights)


def applied(experts: Any, layer: int, r: Rows, *, scale_input: bool, request: bool = True) -> bytes:
    """The bits of what experts do to rows."""
    with (ws := ops.Workspace()):
        if request:
            experts.request(layer, r.ids)
        return experts.apply(ws, layer, r.x, r.ids, r.weights, scale_input=scale_input).tobytes()  # type: ignore[no-any-return]
