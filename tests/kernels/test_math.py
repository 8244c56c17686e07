"""The functions of lanes_math.h and rope.cpp: near the true values by stated bounds, equal in all variants."""

import numpy as np
import numpy.typing as npt
import pytest
from other_variants import same_in_all_variants

from shoestring import _kernels, ops

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

FUNCTIONS = ("exp", "log", "sigmoid", "silu", "softplus")


def function(name: str, x: Float32) -> Float32:
    out = np.empty_like(x)
    _kernels.math_function(FUNCTIONS.index(name), x, out)
    return out


def true_values(name: str, x: Float32) -> Float64:
    with np.errstate(all="ignore"):
        x64 = x.astype(np.float64)
        match name:
            case "exp":
                return np.exp(x64)
            case "log":
                return np.log(x64)
            case "sigmoid":
                return 1 / (1 + np.exp(-x64))
            case "silu":
                return x64 / (1 + np.exp(-x64))
            case _:
                return np.maximum(x64, 0) + np.log1p(np.exp(-np.abs(x64)))


@pytest.fixture(scope="module")
def everywhere() -> Float32:
    """Any bits, and the usual range densely, and edges."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 2**32, 200_000, dtype=np.uint32).view(np.float32)
    usual = np.concatenate([rng.standard_normal(100_000) * scale for scale in (0.01, 1, 10, 40)])
    edges = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 88.722831, 88.72284, 89, -87.33, -87.34, -104, 1e-45, 3e38]
    return np.concatenate([patterns, usual.astype(np.float32), np.array(edges, np.float32)])


@pytest.mark.parametrize(
    ("name", "ulps"), [("exp", 1.0), ("log", 2.0), ("sigmoid", 3.0), ("silu", 3.5), ("softplus", 3.0)]
)
def test_within_ulps_of_the_truth(name: str, ulps: float, everywhere: Float32) -> None:
    result, truth = function(name, everywhere), true_values(name, everywhere)
    with np.errstate(all="ignore"):
        rounded = truth.astype(np.float32)
        spacing = np.spacing(np.abs(rounded)).astype(np.float64)
        error = np.abs(result - truth) / spacing
    normal = np.isfinite(rounded) & (np.abs(rounded) > 1.2e-38)
    if name == "silu":
        normal &= everywhere > -88.7  # below it is -0
    assert error[normal].max() <= ulps
    assert (np.isnan(result) == np.isnan(everywhere))[~np.isnan(truth)].all()
    tiny = np.isfinite(rounded) & ~normal & ~np.isnan(everywhere)
    assert np.abs(result[tiny] - truth[tiny]).max(initial=0) <= 3e-37


@pytest.mark.parametrize("name", FUNCTIONS)
def test_same_in_all_variants(name: str, everywhere: Float32) -> None:
    same_in_all_variants(function, name, everywhere)
    for count in range(1, 35):  # tails, at any alignment
        whole = function(name, everywhere[-60:])
        assert function(name, everywhere[-60 : count - 60].copy()).tobytes() == whole[:count].tobytes()


def test_values_at_infinity() -> None:
    ends = np.array([-np.inf, np.inf, np.nan, -1e30, 1e30, 0], np.float32)
    assert function("exp", ends).tolist()[:2] == [0, np.inf]
    assert function("exp", ends)[5] == 1
    assert function("sigmoid", ends).tolist()[:2] == [0, 1]
    assert function("softplus", ends).tolist()[:2] == [0, np.inf]
    assert function("silu", ends).tolist()[3:] == [0, np.float32(1e30), 0]
    assert np.isnan(function("log", np.array([-1, np.nan], np.float32))).all()
    assert function("log", np.array([0, -0.0, np.inf, 1], np.float32)).tolist() == [-np.inf, -np.inf, np.inf, 0]
    for name in FUNCTIONS:
        assert np.isnan(function(name, ends)[2])


def test_float64_logarithm() -> None:
    rng = np.random.default_rng(1)
    for x in [1.0, 2.0, 4.0, 1e-300, 1e300, 5e-324, *np.exp(rng.uniform(-50, 50, 2000)), *rng.uniform(0.9, 1.1, 2000)]:
        truth = np.log(np.longdouble(x))
        assert abs(_kernels.natural_log(x) - truth) <= 2e-16 * max(abs(truth), np.longdouble(1e-12))
    assert ops.yarn_attention_factor(4.0) == pytest.approx(0.1 * np.log(4) + 1, rel=1e-15)


@pytest.mark.parametrize("position", [0, 1, 17, 4095, 262_144, 1_000_000, 9_999_999, 10_000_000, 2**31 + 5])
def test_rotary_table_at_any_position(position: int) -> None:
    """Angles of float64, so an error of position · 2^-53; beyond it only the rounding to float32."""
    frequencies = ops.rope_frequencies(128, 5e5)
    positions = np.array([[position, 3, 5]], np.int64)
    sections = np.array([0] * 62 + [1, 2], np.int32)
    cos, sin = ops.rotary_table(ops.Workspace(), positions, frequencies, sections, 1.0)
    places = positions[0, sections].astype(np.longdouble)
    angles = places * frequencies.astype(np.longdouble)
    bound = 2**-24 + position * 2.0**-52
    assert np.abs(cos[0] - np.cos(angles)).max() <= bound
    assert np.abs(sin[0] - np.sin(angles)).max() <= bound


def test_angles_beyond_all_positions_are_not_a_number() -> None:
    positions = np.array([[2**62, 0, 0]], np.int64)
    cos, sin = ops.rotary_table(ops.Workspace(), positions, np.ones(1), np.zeros(1, np.int32), 1.0)
    assert np.isnan(cos).all()
    assert np.isnan(sin).all()


@pytest.mark.parametrize(("dims", "theta"), [(64, 1e7), (128, 5e5), (64, 1e5), (2, 1e4)])
def test_frequencies(dims: int, theta: float) -> None:
    truth = np.longdouble(theta) ** (-2 * np.arange(dims // 2, dtype=np.longdouble) / dims)
    assert np.abs(ops.rope_frequencies(dims, theta) / truth - 1).max() < 1e-14


@pytest.mark.parametrize(("factor", "low", "high"), [(16.0, 1.0, 1.0), (8.0, 1.0, 4.0)])
def test_llama3_scaling(factor: float, low: float, high: float) -> None:
    plain = ops.rope_frequencies(128, 5e5)
    scaled = ops.rope_frequencies_llama3(plain, factor, low, high, 8192)
    waves = 2 * np.pi / plain
    assert (scaled[waves < 8192 / high] == plain[waves < 8192 / high]).all()
    assert (scaled[waves > 8192 / low] == plain[waves > 8192 / low] / factor).all()
    between = (waves >= 8192 / high) & (waves <= 8192 / low)
    if high > low:
        smooth = (8192 / waves[between] - low) / (high - low)
        wanted = ((1 - smooth) / factor + smooth) * plain[between]
        assert np.abs(scaled[between] / wanted - 1).max() < 1e-12
    assert np.isfinite(scaled).all()


def test_yarn_frequencies() -> None:
    dims, theta, factor, original = 64, 1e7, 4.0, 262_144
    scaled = ops.rope_frequencies_yarn(dims, theta, factor, original, 32.0, 1.0)
    plain = theta ** (-2 * np.arange(dims // 2) / dims)
    bounds = [dims * np.log(original / (turns * 2 * np.pi)) / (2 * np.log(theta)) for turns in (32.0, 1.0)]
    low, high = max(np.floor(bounds[0]), 0), min(np.ceil(bounds[1]), dims - 1)
    ramp = np.clip((np.arange(dims // 2) - low) / (high - low), 0, 1)
    assert np.abs(scaled / (plain / factor * ramp + plain * (1 - ramp)) - 1).max() < 1e-13


def test_attention_temperature_steps_at_the_floor() -> None:
    index = np.array([0, 8190, 8191, 8192, 16383, 10_000_000], np.int64)
    result = ops.attention_temperature(ops.Workspace(), index, 8192, 0.1)
    wanted = 1 + 0.1 * np.log1p(np.floor((index + 1) / 8192))
    assert np.abs(result - wanted).max() < 1e-7
    assert result[0] == result[1] == 1
    assert result[2] > 1
