"""Checks of what a caller of the Python API passes: whole numbers, token ids, the size of a result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np

from shoestring.errors import CapacityError
from shoestring.runtime.memory import free_memory
from shoestring.sizes import human

#: Results below this size are not compared with free memory, which takes time to read.
_SMALL_BYTES = 64 << 20


def whole(value: Any, name: str) -> int:
    """The integer that `value` is. Raises TypeError for any other type, booleans and 1.0 included."""
    if type(value) is int:
        return value
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} is {_shown(value)}: give an integer")
    return int(value)


def whole_numbers(values: Any, name: str, check_length: Callable[[int], None] | None = None) -> list[int]:
    """The integers of a list, tuple, range or one-dimensional integer array. Raises TypeError for anything else.

    check_length: called with their number before they are read.
    """
    if hasattr(values, "__array__"):
        values = np.asarray(values)
        if values.ndim != 1 or (values.dtype.kind not in "iu" and values.size):
            raise TypeError(f"{name} is an array {values.dtype} {values.shape}: give integers in one dimension")
    elif not isinstance(values, Sequence) or isinstance(values, str | bytes | bytearray | memoryview):
        raise TypeError(f"{name} is {_shown(values)}: give a list of integers or an integer array")
    if check_length is not None:
        check_length(len(values))
    if isinstance(values, np.ndarray):
        numbers: list[int] = values.tolist()
        return numbers
    if all(type(value) is int for value in values):
        return [*values]
    return [whole(value, f"{name}[{i}]") for i, value in enumerate(values)]


def switch(value: Any, name: str) -> bool:
    """`value`, which is a bool. Raises TypeError for anything else."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} is {_shown(value)}: give True or False")
    return value


def text_of(value: Any, name: str) -> str:
    """`value`, which is a str. Raises TypeError for anything else."""
    if not isinstance(value, str):
        raise TypeError(f"{name} is {_shown(value)}: give a text")
    return value


def unknown_option(function: str, name: str, known: Iterable[str]) -> TypeError:
    """The error for a keyword that a function does not have; it suggests a similar one."""
    near = get_close_matches(name, [*known], n=1)
    return TypeError(f"{function} has no option {name!r}" + (f": did you mean {near[0]!r}?" if near else ""))


def check_context(tokens: int, context: int) -> None:
    """Raise CapacityError for more tokens than the context."""
    if tokens > context:
        raise CapacityError(f"{tokens} tokens are more than the context of {context}: give fewer, or load with more")


def check_result(*shape: int, fewer: str) -> None:
    """Raise CapacityError if a float32 array of this shape does not fit into free memory."""
    nbytes = 4
    for length in shape:
        nbytes *= length
    if nbytes > _SMALL_BYTES and nbytes > (free := free_memory()):
        dimensions = " × ".join(map(str, shape))
        raise CapacityError(
            f"{dimensions} numbers need {human(nbytes, 'up')} and {human(free, 'down')} are free: {fewer}"
        )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
