"""The experts in memory: slots of an arena, what each of them contains, and the reads that fill them.

Every expert is absent, arriving (it has a slot, and reads of its two pieces are in flight) or resident. Only the
engine's thread calls this; the reader's threads write nothing but the slots of arriving experts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from shoestring.errors import CheckpointError, ReadError
from shoestring.ops.reading import Priority
from shoestring.streaming.counters import LayerCounters
from shoestring.streaming.policy import Key, Residents, Scores
from shoestring.streaming.slots import SlotPlan
from shoestring.streaming.sources import LayerSources, parts
from shoestring.streaming.store import Store

if TYPE_CHECKING:
    from shoestring._kernels import ExpertTable

Piece = Literal["gate_up", "down"]
PIECES: tuple[Piece, Piece] = ("gate_up", "down")
#: Experts that are guessed for a layer of a step.
_MOST = 4
#: While less than this part of the guesses is used, no layer is guessed, for so many layers; then it is tried again.
_PAYS, _REST = 0.5, 1000
#: Guesses that tell whether they pay, and how fast older ones fade.
_ENOUGH, _FADES = 16, 0.99


@dataclass
class _Arriving:
    """An expert that is being read. missing: pieces that are not in memory. tickets: of those in flight.

    pinned: whether it stays pinned when it has arrived.
    """

    missing: set[Piece] = field(default_factory=lambda: set(PIECES))
    tickets: set[int] = field(default_factory=set)
    pinned: bool = True


@dataclass(frozen=True)
class _Class:
    """The slots of one size: offsets of the free ones, and who has the others."""

    free: list[int]
    residents: Residents


class ExpertCache:
    """Slots of all size classes in one arena. `counters`: of each layer. `on_read`: called when a read begins."""

    def __init__(
        self,
        store: Store,
        layers: Sequence[LayerSources],
        plan: SlotPlan,
        tables: Mapping[int, ExpertTable],
        scores: Scores,
    ) -> None:
        self.counters = {layer.layer: LayerCounters() for layer in layers}
        self.scores = scores
        self.on_read: Callable[[Key], None] | None = None
        self._store = store
        self._sources = {layer.layer: layer for layer in layers}
        self._stored = {layer.layer: layer.nbytes.stored_bytes for layer in layers}
        self._tables = tables
        self._classes: dict[int, _Class] = {}
        begin = 0
        for c in plan.classes:
            offsets = [begin + i * c.slot_bytes for i in range(c.slots)]
            self._classes |= dict.fromkeys(c.layers, _Class(offsets[::-1], Residents(scores, c.floor)))
            begin += c.nbytes
        self._slots: dict[Key, int] = {}
        self._arriving: dict[Key, _Arriving] = {}
        self._tickets: dict[int, tuple[Key, Piece]] = {}
        self._unverified: set[Key] = set()

    def is_resident(self, key: Key) -> bool:
        """Whether all of an expert is in memory."""
        return key in self._slots and key not in self._arriving

    def is_arriving(self, key: Key) -> bool:
        return key in self._arriving

    def is_absent(self, key: Key) -> bool:
        return key not in self._slots

    def has_piece(self, key: Key, piece: Piece) -> bool:
        """Whether that piece of an expert is in memory."""
        return key in self._slots and (key not in self._arriving or piece not in self._arriving[key].missing)

    def pin(self, key: Key) -> None:
        """Keep an expert that is not absent until it is unpinned."""
        if key in self._arriving:
            self._arriving[key].pinned = True
        else:
            self._classes[key[0]].residents.pin(key)

    def unpin(self, keys: Iterable[Key]) -> None:
        """Let those of these experts be evicted that are not absent: arriving ones when they have arrived."""
        for key in keys:
            if key in self._arriving:
                self._arriving[key].pinned = False
            else:
                self._classes[key[0]].residents.unpin(key)

    def begin(self, key: Key, priority: Priority) -> bool:
        """Give an absent expert a slot, pinned, and begin to read it. False: no slot is free or can be freed."""
        layer, expert = key
        own = self._classes[layer]
        if not own.free:
            victim = own.residents.evict(layer)
            if victim is None:
                return False
            self._tables[victim[0]].drop(victim[1])
            own.free.append(self._slots.pop(victim))
        slot = own.free.pop()
        own.residents.add(key)
        self._slots[key] = slot
        self._tables[layer].put(expert, self._store.arena, slot)
        self._unverified.add(key)
        arriving = self._arriving[key] = _Arriving()
        sources = self._sources[layer]
        gate, up, down = sources.experts[expert]
        to_gate, to_up, to_down = (slot + offset for offset in sources.part_offsets)
        for piece, wanted in zip(PIECES, ([(gate, to_gate), (up, to_up)], [(down, to_down)]), strict=True):
            ticket = self._store.reader.submit(parts(self._store.files, wanted), priority)
            self._tickets[ticket] = key, piece
            arriving.tickets.add(ticket)
        counters = self.counters[layer]
        counters.reads += 1
        counters.read_bytes += self._stored[layer]
        if self.on_read is not None:
            self.on_read(key)
        return True

    def hurry(self, key: Key) -> None:
        """Read what is left of an arriving expert before everything that is only guessed."""
        for ticket in self._arriving[key].tickets:
            self._store.reader.raise_priority(ticket, "now")

    def wait(self, layer: int, needed: Collection[Key]) -> None:
        """Block until at least one piece in flight has arrived.

        Raises CheckpointError with file and offset if one of `needed` cannot be read. Then all of them are resident or
        absent. Others that cannot be read become absent.
        """
        assert self._tickets, "nothing is in flight"
        began = time.perf_counter()
        failure = self._wait(self._tickets)
        if failure is not None and failure[0] in needed:
            self.drain(needed)
        self.counters[layer].wait_seconds += time.perf_counter() - began
        if failure is not None and failure[0] in needed:
            raise CheckpointError(f"{failure[1]} (an expert of layer {layer})") from failure[1]

    def drain(self, keys: Iterable[Key]) -> None:
        """Wait until none of these is arriving. What cannot be read is absent afterwards."""
        for key in keys:
            while key in self._arriving:
                if self._arriving[key].tickets:
                    self._wait(self._arriving[key].tickets)
                else:
                    self._abandon(key)

    def drain_all(self) -> None:
        """Wait until nothing is in flight."""
        self.drain(list(self._arriving))

    def forget_unverified(self) -> set[Key]:
        """Make those experts absent that were read since `verified`, and return them."""
        forgotten = {key for key in self._unverified if self.is_resident(key)}
        for key in forgotten:
            self._give_back(key)
        return forgotten

    def verified(self) -> None:
        """The files are the ones that were opened: what is resident is right."""
        self._unverified.intersection_update(self._arriving)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in flight."""
        return not self._tickets

    def waste(self, layer: int) -> None:
        """Count an expert that was read for a layer without need."""
        self.counters[layer].wasted += 1
        self.counters[layer].wasted_bytes += self._stored[layer]

    @property
    def has_unverified(self) -> bool:
        return bool(self._unverified)

    def where(self, key: Key) -> str:
        """File and first byte of an expert, for an error."""
        gate = self._sources[key[0]].experts[key[1]][0]
        return f"{gate.tensor.file}, byte {gate.tensor.offset + gate.offset}"

    def _wait(self, tickets: Iterable[int]) -> tuple[Key, ReadError] | None:
        """Block until one of the tickets is done. An expert that cannot be read is absent then, and returned."""
        tickets = list(tickets)
        try:
            done = self._store.reader.wait(tickets)
        except ReadError as error:
            key = self._tickets[error.ticket][0]
            self._abandon(key)
            return key, error
        except ValueError:  # Ctrl-C came between the reader and here: which pieces arrived is lost
            for key in {self._tickets[ticket][0] for ticket in tickets}:
                self._abandon(key)
            return None
        for ticket in done:
            key, piece = self._tickets[ticket]
            arriving = self._arriving[key]
            arriving.missing.discard(piece)
            arriving.tickets.discard(ticket)
            del self._tickets[ticket]
            if not arriving.missing:
                del self._arriving[key]
                if not arriving.pinned:
                    self._classes[key[0]].residents.unpin(key)
        return None

    def _abandon(self, key: Key) -> None:
        """Make an arriving expert absent, once nothing writes into its slot any more."""
        for ticket in [ticket for ticket, (other, _) in self._tickets.items() if other == key]:
            with suppress(ReadError, ValueError):
                self._store.reader.wait([ticket])
            del self._tickets[ticket]
        del self._arriving[key]
        self._give_back(key)

    def _give_back(self, key: Key) -> None:
        """Make an expert absent, of whose pieces none is in flight."""
        layer, expert = key
        own = self._classes[layer]
        self._tables[layer].drop(expert)
        own.residents.remove(key)
        own.free.append(self._slots.pop(key))
        self._unverified.discard(key)


class Guesses:
    """Experts that are read for a layer before its router has chosen, while its mixer computes and the disk idles.

    The guess is what the layer's router says about the layer's input. It changes what is in memory and no bit of an
    answer. Guesses are for one layer at a time, and pinned until its router has chosen.
    """

    def __init__(self, cache: ExpertCache) -> None:
        self._cache = cache
        self._keys: set[Key] = set()
        self._used = self._made = 0.0
        self._rest = 0

    def __contains__(self, key: Key) -> bool:
        return key in self._keys

    def pay(self) -> bool:
        """Whether to guess for the next layer."""
        if self._rest:
            self._rest -= 1
            return False
        return True

    def begin(self, layer: int, experts: Sequence[int], pinned: Collection[Key]) -> None:
        """Read the first of `experts` that are absent, if nothing else is being read. pinned: that stay pinned."""
        self.forget()
        if not self._cache.is_idle:
            return
        keys = [(layer, expert) for expert in experts]
        absent = [key for key in keys if self._cache.is_absent(key)][:_MOST]
        kept = [key for key in keys if not self._cache.is_absent(key) and key not in pinned] if absent else []
        for key in kept:  # a guess must not evict what it expects to be used
            self._cache.pin(key)
        for key in absent:
            if not self._cache.begin(key, "guess"):
                break
            self._keys.add(key)
        self._cache.unpin(kept)

    def settle(self, layer: int, wanted: set[int]) -> None:
        """The router has chosen: count what was useful, late and wasted; let the last go."""
        if not self._keys:
            return
        used = {key for key in self._keys if key[0] == layer and key[1] in wanted}
        counters = self._cache.counters[layer]
        counters.useful += len(used)
        counters.late += sum(map(self._cache.is_arriving, used))
        self._used = _FADES * self._used + len(used)
        self._made = _FADES * self._made + len(self._keys)
        if self._made >= _ENOUGH and self._used < _PAYS * self._made:
            self._used, self._made, self._rest = 0.0, 0.0, _REST
        self._keys -= used
        self.forget()

    def forget(self) -> None:
        """Let the guesses go that no router has chosen."""
        for layer, _ in self._keys:
            self._cache.waste(layer)
        self._cache.unpin(self._keys)
        self._keys.clear()
