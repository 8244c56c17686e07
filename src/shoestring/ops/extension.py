"""The compiled extension: loaded by the first call of an op, so that importing a model needs no compiled code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from shoestring import _kernels

#: Of docs/numerics.md. Bits of two builds may be compared only where it is equal; every golden hash carries it.
NUMERICS_VERSION = 1

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Uint32 = npt.NDArray[np.uint32]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Array = npt.NDArray[Any]


class Unloaded:
    """Stands for the extension in a module's namespace until its first use there, then gives it its place."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self._namespace = namespace

    def __getattr__(self, name: str) -> Any:
        from shoestring import _kernels as extension

        self._namespace["_kernels"] = extension
        return getattr(extension, name)


if not TYPE_CHECKING:
    _kernels = Unloaded(globals())


def isa() -> str:
    """The instruction set in use: the best that this CPU has, or the one that SHOESTRING_ISA names."""
    return _kernels.isa()


def variants() -> list[str]:
    """The instruction sets that this CPU can run."""
    return _kernels.variants()


def set_num_threads(count: int) -> None:
    """How many threads every op computes with; no bit depends on it."""
    _kernels.set_num_threads(count)


def num_threads() -> int:
    """As last set."""
    return _kernels.num_threads()


def install_sigbus_handler() -> None:
    """A mapped file that is truncated ends the process with one line and code 2. For programs, not for libraries."""
    _kernels.install_sigbus_handler()
