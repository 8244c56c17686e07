"""The budget of one rendering: steps, memory and depth.

A template is a program of a stranger. So each operation pays before it runs: for its steps, and for the bytes of its
result. The refusal depends on the template and the messages alone, not on the speed of the machine.
"""

import sys
from collections.abc import ItemsView, Iterable, Iterator, KeysView, ValuesView
from contextvars import ContextVar
from typing import Any, NamedTuple

from jinja2.exceptions import SecurityError
from jinja2.utils import Namespace

from shoestring.checkpoint.text.marks import Marks
from shoestring.checkpoint.text.text_work import proceed

#: A step takes at most about 100 ns. Both families' formats need 1 to 2 million for 2,000 messages with 300 tools.
STEPS = 10_000_000
#: Bytes of one value, of all large values alive at once, and of all small ones together
VALUE_BYTES = 32 << 20
LIVE_BYTES = 96 << 20
SMALL_BYTES = 32 << 20
#: Nesting of macros in calls, and of containers in each other
CALLS = 64
LEVELS = 128
#: Digits of a number are about 3 bits each; no prompt computes with larger ones.
NUMBER_BITS = 1024

_SMALL = 512
_PAUSE = 50_000

current: ContextVar["Budget"] = ContextVar("budget")


class Weight(NamedTuple):
    """What a value contains: values at all levels, characters of its strings and numbers, levels of containers."""

    values: int
    characters: int
    levels: int


class Budget:
    """What one rendering may still use, and its marks. Every method raises SecurityError when that is not enough."""

    def __init__(self, marks: Marks) -> None:
        self.marks = marks
        self.steps = STEPS
        self.pause_at = STEPS - _PAUSE
        self.calls = 0
        self._small = SMALL_BYTES
        self._live = 0
        self._large: dict[int, Any] = {}

    def spend(self, steps: int) -> None:
        """Pay for steps."""
        self.steps -= steps
        if self.steps < self.pause_at:
            self.pause()

    def pause(self) -> None:
        """Refuse a template that has no steps left. Raises StoppedError if nobody waits for the rendering."""
        if self.steps < 0:
            raise SecurityError("it takes more steps than a prompt can need")
        self.pause_at = max(0, self.steps - _PAUSE)
        proceed()

    def check_room(self, size: int) -> None:
        """Refuse a result of more than `size` bytes before it is built, and pay for the time to build it."""
        if size > VALUE_BYTES:
            raise SecurityError("it builds more text than a prompt can need")
        self.spend(size >> 9)

    def hold(self, value: Any) -> None:
        """Count the bytes of a new value, without those of its elements."""
        size = sys.getsizeof(value)
        if size < _SMALL:
            self._small -= size
            if self._small < 0:
                raise SecurityError("it builds more small values than a prompt can need")
        elif id(value) not in self._large:
            self._live += size
            self._large[id(value)] = value
            if self._live > LIVE_BYTES:
                self._sweep()

    def _sweep(self) -> None:
        """Forget the large values that only this budget refers to. Refuse a template that keeps too many alive."""
        values = [*self._large.values(), bytearray()]
        self._large.clear()
        self._live = alone = 0
        kept = []
        while values:  # the newest first: containers before their elements
            value = values.pop()
            references = sys.getrefcount(value)
            alone = alone or references
            if references > alone:
                kept.append(value)
                self._live += sys.getsizeof(value)
        self._large = {id(value): value for value in reversed(kept)}
        if self._live > LIVE_BYTES - VALUE_BYTES:
            raise SecurityError("it keeps more text than a prompt can need")

    def weigh(self, value: Any) -> Weight:
        """Walk through a value and pay for the walk. An element counts as often as it is reached."""
        if isinstance(value, str):
            return Weight(1, len(value), 1)
        values = characters = levels = 0
        level: list[Any] = [value]
        while level:
            levels += 1
            if levels > LEVELS:
                raise SecurityError(f"it nests values deeper than {LEVELS} levels")
            values += len(level)
            below: list[Any] = []
            for item in level:
                if isinstance(item, str):
                    characters += len(item)
                    continue
                if isinstance(item, Namespace):
                    item = object.__getattribute__(item, "_Namespace__attrs")
                if isinstance(item, dict):
                    self.spend(5 * len(item))
                    below.extend(item)
                    below.extend(item.values())
                elif isinstance(item, list | tuple | KeysView | ValuesView | ItemsView):
                    self.spend(3 * len(item))
                    below.extend(item)
                elif isinstance(item, int):
                    characters += 1 + item.bit_length() // 3
                else:
                    characters += 64
            level = below
        self.spend(characters >> 6)
        return Weight(values, characters, levels)


class Counted:
    """An iterable whose every item costs steps. It has a length if its source has one."""

    __slots__ = ("_budget", "_cost", "_source")

    def __init__(self, budget: Budget, source: Iterable[Any], cost: int) -> None:
        self._budget, self._source, self._cost = budget, source, cost

    def __len__(self) -> int:
        return len(self._source)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        budget, cost = self._budget, self._cost
        for item in self._source:
            budget.steps -= cost
            if budget.steps < budget.pause_at:
                budget.pause()
            yield item


class Lazy:
    """The result of a filter that computes its items on demand: an iterator without a length, always true."""

    __slots__ = ("_items",)

    def __init__(self, budget: Budget, source: Iterable[Any], cost: int) -> None:
        self._items = iter(Counted(budget, source, cost))

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._items)
