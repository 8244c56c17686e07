"""Rotary frequencies by the kernels against the float64 reference, for the published scalings."""

import numpy as np
import pytest

from shoestring.checkpoint.config.types import Rotary
from shoestring.models.constants import rotary_constants, rotary_sections
from shoestring.reference import functions

QWEN = Rotary(64, 1e7, sections=(11, 11, 10))
YARN = Rotary(64, 1e7, sections=(11, 11, 10), scaling="yarn", factor=4.0, original_context=262_144)
FIRST_SCOUT = Rotary(
    128, 5e5, scaling="llama3", factor=8.0, original_context=8192, low_frequency_factor=1.0, high_frequency_factor=4.0
)
SCOUT = Rotary(128, 5e5, scaling="llama3", factor=16.0, original_context=8192)
DIVIDED = Rotary(8, 5e5, frequency_divisors=(1.0, 1.5, 16.0, 16.0))
FIXED_FACTOR = Rotary(64, 1e7, scaling="yarn", factor=4.0, original_context=262_144, attention_factor=1.0)


@pytest.mark.parametrize("rotary", [QWEN, YARN, FIRST_SCOUT, SCOUT, DIVIDED, FIXED_FACTOR])
def test_frequencies_equal_the_reference(rotary: Rotary) -> None:
    ours, reference = rotary_constants(rotary), functions.rotary_constants(rotary)
    assert ours.frequencies.dtype == np.float64
    # At 10,000,000 an angle is then right to 1e-7.
    assert np.abs(ours.frequencies / reference.frequencies - 1).max() < 1e-14
    assert ours.factor == pytest.approx(reference.factor, rel=1e-15)
    assert np.array_equal(ours.sections, reference.sections)


def test_yarn_keeps_the_fast_and_stretches_the_slow() -> None:
    plain, yarn = rotary_constants(QWEN).frequencies, rotary_constants(YARN).frequencies
    assert yarn[0] == plain[0]
    assert yarn[-1] == pytest.approx(plain[-1] / 4, rel=1e-15)
    assert rotary_constants(YARN).factor == pytest.approx(0.1 * np.log(4) + 1)
    assert rotary_constants(FIXED_FACTOR).factor == 1.0


def test_scout_has_no_smooth_part() -> None:
    """low = high: each frequency is unchanged or divided by 16, with no blend and no division by zero."""
    plain = rotary_constants(Rotary(128, 5e5)).frequencies
    ratio = plain / rotary_constants(SCOUT).frequencies
    assert set(ratio.round(9)) == {1.0, 16.0}


def test_sections_interleave_until_they_are_used_up() -> None:
    assert rotary_sections(QWEN).tolist() == [0, 1, 2] * 10 + [0, 1]
    assert rotary_sections(Rotary(12, 1e4, sections=(3, 2, 1))).tolist() == [0, 1, 2, 0, 1, 0]
    assert rotary_sections(SCOUT).tolist() == [0] * 64
