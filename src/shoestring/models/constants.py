"""Constants that a config determines, computed once at load: rotary frequencies, the scale of attention.

They must be the same bits on every machine, so nothing here calls libm: kernels compute the frequencies, and the other
arithmetic is exact or done in software, and rounded once.
"""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np

from shoestring import ops
from shoestring.checkpoint.config.types import Rotary
from shoestring.ops import Float64, Int32


@dataclass(frozen=True)
class RotaryConstants:
    """Arguments of ops.rotary_table, beside positions."""

    frequencies: Float64  # [dims/2]
    sections: Int32  # [dims/2]: 0 time, 1 height, 2 width
    factor: float  # multiplies cos and sin


def rotary_constants(rotary: Rotary) -> RotaryConstants:
    """Frequencies with the config's scaling, computed by the kernels."""
    dims, theta = rotary.dims, rotary.theta
    frequencies = ops.rope_frequencies(dims, theta)
    factor = 1.0
    if rotary.frequency_divisors:
        frequencies = divided(frequencies, rotary.frequency_divisors)
    elif rotary.scaling == "llama3":
        frequencies = ops.rope_frequencies_llama3(
            frequencies,
            rotary.factor,
            rotary.low_frequency_factor,
            rotary.high_frequency_factor,
            rotary.original_context,
        )
    elif rotary.scaling == "yarn":
        frequencies = ops.rope_frequencies_yarn(
            dims, theta, rotary.factor, rotary.original_context, rotary.beta_fast, rotary.beta_slow
        )
        factor = ops.yarn_attention_factor(rotary.factor)
        if rotary.attention_factor is not None:
            factor = rotary.attention_factor
    return RotaryConstants(frequencies, rotary_sections(rotary), factor)


def divided(frequencies: Float64, divisors: tuple[float, ...]) -> Float64:
    """frequencies[i] / divisors[i], each quotient exact, then rounded once."""
    pairs = zip(frequencies.tolist(), divisors, strict=True)
    return np.array([float(Fraction(f) * Fraction(d) ** -1) for f, d in pairs], dtype=np.float64)


def rotary_sections(rotary: Rotary) -> Int32:
    """Which position (0 time, 1 height, 2 width) each of the dims/2 frequencies follows.

    Interleaved t h w t h w … up to the length of each section; the rest follows time.
    """
    sections = np.zeros(rotary.dims // 2, dtype=np.int32)
    for axis, length in enumerate(rotary.sections):
        if axis:
            sections[axis : 3 * length : 3] = axis
    return sections


def inverse_square_root(n: int) -> float:
    """1 / sqrt(n), in decimal software arithmetic: the same double on every machine."""
    return float(Decimal(n) ** Decimal("-0.5"))
