"""What this machine's instructions and memory reach at most, measured without any product around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shoestring.ops import extension
from shoestring.ops.arena import arena
from shoestring.ops.extension import Bytes

if TYPE_CHECKING:
    from shoestring import _kernels
    from shoestring._kernels import Matrix
else:
    _kernels = extension.Unloaded(globals())

#: seconds that one measurement of a peak takes at least
_PEAK_SECONDS = 0.1
#: bytes that are read: more than processors cache
READ_BYTES = 1 << 30
FLOATS = ("F32", "F16", "BF16")


@dataclass(frozen=True)
class Peaks:
    """Operations per second of all threads; a multiplication and an addition are two.

    `fma`: fused multiply-adds of float32. `dot`: the sequence of instructions that multiplies unsigned bytes with
    activations and adds them up. `signed_dot`: that for int8 weights, which `signed_types` become: Q8_0, and where
    products take AMX every type whose blocks have 32 columns. AMX multiplies the weights of K-quants as two digits,
    so two of its products count as one there.
    """

    fma: float
    dot: float
    signed_dot: float
    signed_types: tuple[str, ...] = ("Q8_0",)

    def of(self, tensor_type: str) -> float:
        """The peak for products of a weight type."""
        if tensor_type in FLOATS:
            return self.fma
        return self.signed_dot if tensor_type in self.signed_types else self.dot


def peaks() -> Peaks:
    """The peaks of the variant and the threads in use; takes about a second."""
    return Peaks(_peak("fma"), _peak("dot"), _peak("signed dot"), signed_types())


def signed_types() -> tuple[str, ...]:
    """The types whose weights the variant in use multiplies as int8."""
    if _kernels.isa() != "amx":
        return ("Q8_0",)
    return tuple(name for name, *_, activation in _kernels.weight_formats() if activation == 32)


def weight_types() -> tuple[str, ...]:
    """The types of weights that the kernels multiply."""
    return tuple(name for name, *_ in _kernels.weight_formats())


def _peak(what: str) -> float:
    rounds, best = 1 << 14, 0.0
    for _ in range(5):
        operations, seconds = _kernels.run_peak(what, rounds)
        while seconds < _PEAK_SECONDS and rounds < 1 << 30:
            rounds *= 2
            operations, seconds = _kernels.run_peak(what, rounds)
        best = max(best, operations / seconds)
    return best


def memory_to_read() -> Bytes:
    """READ_BYTES of written memory with huge pages, as weights have them."""
    memory = arena(READ_BYTES)
    memory[:] = 1
    return memory


def read_bandwidth(memory: Bytes, passes: int = 5) -> float:
    """Bytes per second in which all threads read the memory once; the best of several passes."""
    return max(memory.nbytes / read_seconds((), (memory,)) for _ in range(passes))


def read_seconds(matrices: Sequence[Matrix], arrays: Sequence[Bytes]) -> float:
    """Seconds in which all threads read the packed matrices and the arrays once, and do nothing else."""
    return _kernels.run_read(matrices, arrays)
