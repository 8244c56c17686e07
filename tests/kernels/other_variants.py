"""Runs a function in a process whose kernels are forced to another instruction set, to hold its result against ours."""

import atexit
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from typing import Any

from shoestring import _kernels

_ALL = [name for name in _kernels.variants() if name != _kernels.isa()]
#: variants that this CPU can run, but the one in use here: the plainest two; with SHOESTRING_TEST_VARIANTS=all, every
#: one, as the self-test and the golden hashes always compare
OTHERS = _ALL if os.environ.get("SHOESTRING_TEST_VARIANTS") == "all" else _ALL[:2]
#: functions that a test wanted to compare on a machine without other variants; conftest.py then skips the test
NOT_COMPARED: set[str] = set()


@cache
def _process(name: str) -> ProcessPoolExecutor:
    pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
    before = os.environ.get("SHOESTRING_ISA")
    os.environ["SHOESTRING_ISA"] = name  # read when the extension is imported there
    try:
        assert pool.submit(isa).result(timeout=120) == name
    finally:
        del os.environ["SHOESTRING_ISA"]
        if before is not None:
            os.environ["SHOESTRING_ISA"] = before
    atexit.register(pool.shutdown, wait=False, cancel_futures=True)
    return pool


def isa() -> str:
    return _kernels.isa()


def in_variant(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """function(*arguments) there; function is importable, arguments and result can be pickled."""
    return _process(name).submit(function, *arguments).result(timeout=120)


def same_in_all_variants(function: Callable[..., Any], *arguments: Any) -> Any:
    """function(*arguments) here, an array or a tuple of arrays, after every other variant gave the same bits.

    Without another variant the test goes on, and is skipped at its end.
    """
    here = function(*arguments)
    if not OTHERS:
        NOT_COMPARED.add(function.__name__)
    for name in OTHERS:
        assert bits(in_variant(name, function, *arguments)) == bits(here), name
    return here


def bits(result: Any) -> Any:
    """What must be equal: bytes of arrays; every NaN counts as the same."""
    if isinstance(result, tuple | list):
        return [bits(part) for part in result]
    if hasattr(result, "dtype"):
        if result.dtype.kind == "f":
            result = result.copy()
            result[result != result] = 0x7FC0
        return result.tobytes()
    return result
