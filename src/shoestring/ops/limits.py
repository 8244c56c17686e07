"""What this machine's instructions and memory reach at most, measured without any product around them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shoestring.ops import extension
from shoestring.ops.arena import arena
from shoestring.ops.extension import Bytes

if TYPE_CHECKING:
    from shoestring import _kernels
else:
    _kernels = extension.Unloaded(globals())

#: seconds that one measurement of a peak takes at least
_PEAK_SECONDS = 0.1
#: bytes that are read: more than processors cache
READ_BYTES = 1 << 30


@dataclass(frozen=True)
class Peaks:
    """Operations per second of all threads; a multiplication and an addition are two.

    `fma`: fused multiply-adds of float32. `dot`: the sequence of instructions that multiplies unsigned bytes with
    activations and adds them up, for all block types but Q8_0. `signed_dot`: that for the int8 weights of Q8_0.
    """

    fma: float
    dot: float
    signed_dot: float

    def of(self, tensor_type: str) -> float:
        """The peak for products of a weight type."""
        if tensor_type in ("F32", "F16", "BF16"):
            return self.fma
        return self.signed_dot if tensor_type == "Q8_0" else self.dot


def peaks() -> Peaks:
    """The peaks of the variant and the threads in use; takes about a second."""
    return Peaks(_peak("fma"), _peak("dot"), _peak("signed dot"))


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
    return max(memory.nbytes / _kernels.run_read(memory) for _ in range(passes))
