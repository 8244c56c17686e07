"""`StreamedExperts`: the experts of a model in a budget of memory. What a step needs and memory lacks comes from disk.

The bits are those of resident experts: each pair of row and expert is computed from the same packed bytes, and a row's
results are added in ascending order of its experts (docs/numerics.md).

A step of few rows computes resident experts first, then each missed one as its pieces arrive, and adds up at the end. A
step of many rows, a pass over a prompt, takes the experts in ascending order and adds each at once, so that it keeps
nothing per expert; reads run ahead of it. Either way a missed expert is read once a step, however many rows use it.
"""

from __future__ import annotations

import time
from bisect import insort
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from shoestring import ops
from shoestring.errors import CheckpointError
from shoestring.streaming.cache import ExpertCache, Guesses
from shoestring.streaming.counters import Totals, totals
from shoestring.streaming.policy import Frequency, Key, Scores, decay_for
from shoestring.streaming.slots import SlotPlan
from shoestring.streaming.sources import LayerSources
from shoestring.streaming.store import Store

if TYPE_CHECKING:
    from shoestring._kernels import ExpertTable

#: Steps of more rows add experts in ascending order. Steps of fewer store a result per row and expert.
FEW_ROWS = 32
#: In a pass over many rows, slots of experts that are read ahead: at least so many, and this part of the arena.
_AHEAD_SLOTS, _AHEAD_PART = 4, 2
#: Experts of one call in such a pass: their slots become free together.
_TOGETHER = 8
#: A pass whose rows choose each expert so often on average will need nearly all experts of its next layer.
_CERTAIN = 3
#: Steps of few rows that may run between two layers of a pass, before what was read early for it can be evicted.
_PATIENCE = 4
#: More ids than these are counted by numpy, whose calls cost as much as counting so many.
_COUNTED = 32


def _rows_of(ids: ops.Int32) -> dict[int, int]:
    """How many rows use each expert, ascending. ids: [rows, k]."""
    if ids.size <= _COUNTED:
        return dict(sorted(Counter(ids.ravel().tolist()).items()))
    experts, counts = np.unique(ids, return_counts=True)
    return dict(zip(experts.tolist(), counts.tolist(), strict=True))


@dataclass
class _Layer:
    """The layer that is being computed. pairs: of a row and an expert.

    wanted: experts that its rows use. left: those that are not computed yet, all pinned. unread: those of `left` that
    have no slot yet, ascending. ahead: those of `left` that are or were read for this step. began: when its router had
    chosen for the last of its rows.
    """

    layer: int
    rows: int = 0
    pairs: int = 0
    wanted: set[int] = field(default_factory=set)
    left: set[Key] = field(default_factory=set)
    unread: list[int] = field(default_factory=list)
    ahead: set[int] = field(default_factory=set)
    began: float = 0.0

    @property
    def is_pass(self) -> bool:
        return self.rows > FEW_ROWS


class StreamedExperts:
    """Implements `models.experts.Experts`. Only the engine's thread calls it.

    A step that fails leaves cache and tables consistent: the next one reads again what is missing.
    """

    def __init__(
        self, store: Store, layers: Sequence[LayerSources], plan: SlotPlan, scores: Scores | None = None
    ) -> None:
        """plan: of an arena that is the store's. scores: default: frequency with decay."""
        self._store = store
        self._tables: dict[int, ExpertTable] = {}
        for layer in layers:
            table = ops.empty_table(len(layer.experts), layer.types, layer.hidden_size, layer.intermediate_size)
            assert (table.slot_bytes, table.part_offsets) == (layer.nbytes.slot_bytes, layer.part_offsets)
            self._tables[layer.layer] = table
        self._most_ahead = {n: max(_AHEAD_SLOTS, c.slots // _AHEAD_PART) for c in plan.classes for n in c.layers}
        order = [layer.layer for layer in layers]
        self._next_layer = dict(pairwise(order))
        self._cache = ExpertCache(store, layers, plan, self._tables, scores or Frequency(decay_for(plan.tokens)))
        self._guesses = Guesses(self._cache)
        self._running: _Layer | None = None
        self._early: set[Key] = set()  # read for the next layer of a pass, pinned
        self._steps_since_pass = 0
        self._last_layer = order[-1]
        self._expert_seconds = 0.0

    def guesses(self, rows: int) -> bool:
        """Whether `guess` is worth computing what it takes, for the next layer of a step with so many rows."""
        return rows <= FEW_ROWS and self._guesses.pay()

    def guess(self, layer: int, ids: ops.Int32) -> None:
        """Begin to read some of what the rows may request in this layer, [rows, k], and lack."""
        self._guesses.begin(layer, list(dict.fromkeys(ids.T.ravel().tolist())), self._early)

    def request(self, layer: int, ids: ops.Int32) -> None:
        """Begin to read what the rows with these experts, [rows, k], lack in a layer.

        A layer may be requested in several parts before it is applied.
        """
        running, cache = self._running, self._cache
        if running is None or running.layer != layer:
            if running is not None:
                self._release(running)  # its step has failed or was cancelled
            running = self._running = _Layer(layer)
        running.began = time.perf_counter()
        rows_of = _rows_of(ids)
        cache.scores.use(layer, rows_of, len(ids))
        running.rows += len(ids)
        running.pairs += ids.size
        counters = cache.counters[layer]
        for expert in rows_of:
            key = layer, expert
            if expert in running.wanted:
                continue
            running.wanted.add(expert)
            running.left.add(key)
            counters.asked += 1
            if cache.is_absent(key):
                insort(running.unread, expert)
                continue
            cache.pin(key)
            if cache.is_arriving(key):
                cache.hurry(key)
            if key in self._early or key in self._guesses:
                running.ahead.add(expert)
            else:
                counters.hits += 1
        self._guesses.settle(layer, running.wanted)
        self._begin_reads(running)

    def apply(
        self,
        ws: ops.Workspace,
        layer: int,
        x: ops.Float32,
        ids: ops.Int32,
        weights: ops.Float32,
        *,
        scale_input: bool,
    ) -> ops.Float32:
        """Σ over each row's experts in ascending order, [R, H]: `ops.experts`, bit for bit.

        Raises CheckpointError with file and offset if an expert cannot be read, or its file has changed.
        """
        experts = list(_rows_of(ids))
        running = self._running
        if running is None or running.layer != layer or not running.wanted.issuperset(experts):
            self.request(layer, ids)
            running = self._running
            assert running is not None
        self._forget_others(running, set(experts), len(x))
        counters = self._cache.counters[layer]
        waited = counters.wait_seconds
        compute = self._as_they_arrive if len(x) <= FEW_ROWS else self._in_order
        try:
            out = compute(running, experts, ws, x, ids, weights, scale_input)
        finally:
            self._release(running)
            self._verify(running)
        self._expert_seconds += time.perf_counter() - running.began - (counters.wait_seconds - waited)
        return out

    def _forget_others(self, running: _Layer, experts: set[int], rows: int) -> None:
        """Need no longer what only a cancelled step has requested in this layer."""
        running.rows = rows
        others = running.wanted - experts
        if others:
            running.wanted -= others
            running.unread = [expert for expert in running.unread if expert not in others]
            running.ahead -= others
            keys = running.left & {(running.layer, expert) for expert in others}
            running.left -= keys
            self._cache.unpin(key for key in keys if not self._cache.is_absent(key))
            self._begin_reads(running)

    def _as_they_arrive(
        self,
        running: _Layer,
        experts: list[int],
        ws: ops.Workspace,
        x: ops.Float32,
        ids: ops.Int32,
        weights: ops.Float32,
        scale_input: bool,
    ) -> ops.Float32:
        """What is in memory first, then each piece as it arrives; the sum last. At once where nothing is missing."""
        layer, cache = running.layer, self._cache
        if all(cache.is_resident((layer, expert)) for expert in experts):
            out = ops.experts(ws, x, ids, weights, self._tables[layer], scale_input=scale_input)
            self._computed(running, experts)
            return out
        call = ops.begin_experts(ws, x, ids, weights, self._tables[layer], scale_input=scale_input)
        before_gate_up, before_down = experts, list[int]()
        while before_gate_up or before_down:
            ups = [e for e in before_gate_up if cache.has_piece((layer, e), "gate_up")]
            before_gate_up = [e for e in before_gate_up if e not in ups]
            before_down += ups
            downs = [e for e in before_down if cache.has_piece((layer, e), "down")]
            before_down = [e for e in before_down if e not in downs]
            if ups:
                ops.gate_up(call, ups)
            if downs:
                ops.down(call, downs)
                self._computed(running, downs)
            if not ups and not downs:
                cache.wait(layer, running.left)
                self._begin_reads(running)
        return ops.sum_experts(ws, call)

    def _in_order(
        self,
        running: _Layer,
        experts: list[int],
        ws: ops.Workspace,
        x: ops.Float32,
        ids: ops.Int32,
        weights: ops.Float32,
        scale_input: bool,
    ) -> ops.Float32:
        """Ascending experts, several at once where they are in memory; each is added to the result."""
        layer, cache, table = running.layer, self._cache, self._tables[running.layer]
        out = ws.floats(len(x), table.hidden_size)
        out.fill(0)
        done = 0
        while done < len(experts):
            ready = []
            for expert in experts[done : done + _TOGETHER]:
                if not cache.is_resident((layer, expert)):
                    break
                ready.append(expert)
            if ready:
                ops.add_experts(ws, x, ids, weights, table, ready, out, scale_input=scale_input)
                self._computed(running, ready)
                done += len(ready)
                continue
            if cache.is_absent((layer, experts[done])):
                self._begin_now(running, experts[done])
            cache.wait(layer, running.left)
            self._begin_reads(running)
        return out

    def _computed(self, running: _Layer, experts: list[int]) -> None:
        keys = {(running.layer, expert) for expert in experts}
        running.left -= keys
        running.ahead.difference_update(experts)
        if running.is_pass:
            self._early -= keys
        self._cache.unpin(keys - self._early)
        self._begin_reads(running)

    def _begin_reads(self, running: _Layer) -> None:
        """Begin to read in ascending order: what there are slots for; in a pass over many rows only some ahead."""
        most = self._most_ahead[running.layer] if running.is_pass else len(running.wanted)
        while running.unread and len(running.ahead) < most and self._begin(running, running.unread[0]):
            pass
        if running.is_pass and not running.unread:
            self._begin_next_layer(running)

    def _begin(self, running: _Layer, expert: int) -> bool:
        begun = self._cache.begin((running.layer, expert), "now")
        if not begun and self._early:
            self._let_early_go()
            begun = self._cache.begin((running.layer, expert), "now")
        if begun:
            running.unread.remove(expert)
            running.ahead.add(expert)
        return begun

    def _begin_now(self, running: _Layer, expert: int) -> None:
        """Begin to read the expert whose turn it is, although those of later turns have all slots: evict one of these.

        Does nothing if all slots are arriving.
        """
        later = [key for key in running.left if self._cache.is_resident(key)]
        for among in ([key for key in later if key[1] not in running.ahead], later):
            self._cache.unpin(among)
            if self._begin(running, expert):
                break
        for key in later:
            if not self._cache.is_absent(key):
                self._cache.pin(key)
                continue
            insort(running.unread, key[1])
            if key[1] in running.ahead:
                running.ahead.remove(key[1])
            else:
                self._cache.counters[running.layer].hits -= 1

    def _let_early_go(self) -> None:
        self._cache.unpin(key for key in self._early if self._running is None or key not in self._running.left)
        self._early.clear()

    def _begin_next_layer(self, running: _Layer) -> None:
        """Read ahead into the next layer of a pass, whose rows will choose nearly all of its experts.

        Its attention takes time in which the disk would idle, as its router comes after that.
        """
        layer = self._next_layer.get(running.layer)
        if layer is None:
            return
        count = len(self._tables[layer])
        if running.pairs < _CERTAIN * count:
            return
        for expert in range(count):
            if len(running.ahead) + len(self._early) >= self._most_ahead[layer]:
                return
            key = layer, expert
            if self._cache.is_absent(key):
                if not self._cache.begin(key, "guess"):
                    return
                self._early.add(key)

    def _release(self, running: _Layer) -> None:
        """The end of a layer, after a failure too: nothing of it is arriving or pinned."""
        self._running = None
        cache = self._cache
        cache.drain(running.left)
        cache.unpin(key for key in running.left if not cache.is_absent(key))
        if running.is_pass:
            self._steps_since_pass = 0
            unwanted = {key for key in self._early if key[0] == running.layer}
            self._early -= unwanted
            cache.unpin(unwanted)
            for layer, _ in unwanted:
                cache.waste(layer)
        elif self._early and running.layer == self._last_layer:
            self._steps_since_pass += 1
            if self._steps_since_pass > _PATIENCE:
                self._let_early_go()

    def _verify(self, running: _Layer) -> None:
        """Whether what was read comes from the files that were opened. If not, it becomes absent.

        Raises CheckpointError if this layer needed any of it.
        """
        cache = self._cache
        if not cache.has_unverified:
            return
        try:
            self._store.watch.check()
        except CheckpointError as error:
            doubtful = cache.forget_unverified()
            self._early -= doubtful
            needed = sorted(key for key in doubtful if key[0] == running.layer and key[1] in running.wanted)
            if needed:
                raise CheckpointError(f"{error} (needed: {cache.where(needed[0])})") from None
        else:
            cache.verified()

    def observe_reads(self, observe: Callable[[Key], None] | None) -> None:
        """Call `observe` with layer and expert whenever a read begins; None: no more."""
        self._cache.on_read = observe

    def totals(self) -> Totals:
        """Sums over all layers since the model was loaded."""
        reader = self._store.reader.counters
        return totals(
            self._cache.counters.values(),
            expert_seconds=self._expert_seconds,
            disk_bytes=reader.bytes_read,
            disk_seconds=reader.busy_seconds,
        )

    def by_layer(self) -> dict[int, Totals]:
        """The same counts of each layer; times of the disk are not known by layer."""
        return {
            layer: totals([counters], expert_seconds=0, disk_bytes=0, disk_seconds=0)
            for layer, counters in self._cache.counters.items()
        }
