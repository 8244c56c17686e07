"""Floating-point modes that a caller may have set: rounding directions, and subnormals flushed to zero.

As a program: set the mode of the first argument, only then import (and compile) shoestring, and print what the models
in the other arguments compute.
"""

from __future__ import annotations

import ctypes
import hashlib
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

_X86 = platform.machine() in ("x86_64", "AMD64")
_MATH = ctypes.CDLL(None)
#: C's FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO
_DIRECTIONS = (0x400, 0x800, 0xC00) if _X86 else (0x800000, 0x400000, 0xC00000)
#: where fenv_t has the control register, and its bits that flush results and operands to zero
_REGISTER, _FLUSH = (7, 0x8040) if _X86 else (0, 1 << 24)
MODES = ("downward", "upward", "zero", "flush")


@contextmanager
def caller_mode(mode: str) -> Iterator[None]:
    """Compute in the mode inside. Compare nothing inside: numpy and Python compute in it too."""
    before = (ctypes.c_uint32 * 16)()
    _MATH.fegetenv(before)
    if mode == "flush":
        changed = (ctypes.c_uint32 * 16)(*before)
        changed[_REGISTER] |= _FLUSH
        _MATH.fesetenv(changed)
    else:
        assert _MATH.fesetround(_DIRECTIONS[MODES.index(mode)]) == 0
    try:
        yield
    finally:
        _MATH.fesetenv(before)


def current() -> str:
    """The mode that this thread computes in now; "nearest" if none of MODES."""
    one, three = np.float64(1), np.float64(3)
    above, below = (one / three).hex().endswith("6p-2"), (-one / three).hex().endswith("6p-2")
    if np.float64(2.0**-1000) * np.float64(2.0**-70) == 0:
        return "flush"
    if above or below:
        return "upward" if above else "downward"
    return "nearest" if (one / np.float64(10)).hex().endswith("ap-4") else "zero"


def computed(path: Path) -> str:
    """A hash of logits, of a sampled answer with its log-probabilities, and of the perplexity of a text."""
    import shoestring

    with shoestring.load(path, threads=2, context=512) as model:
        numbers = hashlib.sha256(model.logits([1, 2, 3, *range(100, 200)], chunk=40).tobytes())
        for piece in model.generate([5, 6, 7], seed=3, max_tokens=8, logprobs=3, logit_bias={9: 0.1}, ignore_eos=True):
            numbers.update(repr(piece.tokens).encode())
        numbers.update(repr(model.perplexity("one two three four " * 40, context=32)).encode())
    return numbers.hexdigest()


if __name__ == "__main__":
    sys.pycache_prefix = sys.argv[2]  # an empty folder: the constants in the source are compiled in the mode too
    with caller_mode(sys.argv[1]):
        results = [computed(Path(name)) for name in sys.argv[3:]]

        from shoestring.checkpoint.config.types import Llama4Config
    assert Llama4Config.attn_scale == float("0.1"), "a constant of the source has changed"
    print("\n".join(results))
