"""The compiled extension, loaded by the first call of an op, so that importing a model needs no compiled code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from shoestring import _kernels

#: Version of docs/numerics.md. Only builds of the same version give the same bits; the golden hashes carry it.
NUMERICS_VERSION = 1

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Uint32 = npt.NDArray[np.uint32]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Array = npt.NDArray[Any]


class Unloaded:
    """A placeholder for the extension in a module's namespace; the first use loads the extension and replaces it."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self._namespace = namespace

    def __getattr__(self, name: str) -> Any:
        from shoestring import _kernels as extension

        self._namespace["_kernels"] = extension
        return getattr(extension, name)


if not TYPE_CHECKING:
    _kernels = Unloaded(globals())


def isa() -> str:
    """The instruction set in use: the best of this CPU, or the one in SHOESTRING_ISA."""
    return _kernels.isa()


def variants() -> list[str]:
    """The instruction sets that this CPU can run."""
    return _kernels.variants()


def set_num_threads(count: int) -> None:
    """Set the number of threads of every op. No bit depends on it."""
    _kernels.set_num_threads(count)


def num_threads() -> int:
    """The number of threads of every op."""
    return _kernels.num_threads()


def num_regions() -> int:
    """Parallel regions of all ops so far: how often the threads were woken."""
    return _kernels.num_regions()


@contextmanager
def standard_arithmetic() -> Iterator[None]:
    """Inside, this thread computes as docs/numerics.md says; afterwards in the caller's own mode again.

    The caller may round in another direction or flush subnormals to zero: then not only kernels give other bits, but
    also numpy and Python, even `float("1e-6")`. Never let a generator suspend inside.
    """
    mode = _kernels.set_standard_mode()
    try:
        yield
    finally:
        _kernels.set_mode(mode)


def install_sigbus_handler() -> None:
    """End the process with one line and code 2 if a mapped file is truncated. For programs, not for libraries."""
    _kernels.install_sigbus_handler()
