"""Experts that are read for a layer before its router has chosen, while the layer's mixer computes and the disk idles.

The guess is what the layer's router says about the layer's input. It changes what is in memory and no bit of an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoestring.streaming.policy import Key

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from shoestring.streaming.cache import ExpertCache

#: Experts that are guessed for a layer of a step.
_MOST = 4
#: While less than this part of the guesses is used, no layer is guessed, for so many layers; then it is tried again.
_PAYS, _REST = 0.5, 1000
#: Guesses that tell whether they pay, and how fast older ones fade.
_ENOUGH, _FADES = 16, 0.99


class Guesses:
    """The guesses for one layer at a time. They are pinned until the layer's router has chosen."""

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
