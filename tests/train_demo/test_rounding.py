"""Rounding while training is the rounding of the export, and gradients do not see it."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from shoestring.reference.dequantize import q5_0
from shoestring.samples.demo_qwen3_5.blocks import to_q5_0
from train_demo import rounding

blocks = arrays.arrays(
    np.float32, (6, 64), elements=st.floats(-50, 50, width=32).filter(lambda x: x == 0 or abs(x) > 1e-3)
)


@given(blocks)
def test_the_same_bits_as_the_export(values: np.ndarray) -> None:  # type: ignore[type-arg]
    exported = q5_0(to_q5_0(values)).reshape(values.shape)
    assert np.array_equal(rounding.q5_0(torch.from_numpy(values)).numpy(), exported)
    other_way = rounding.q5_0(torch.from_numpy(values.T.copy()), 0).numpy()
    assert np.array_equal(other_way, exported.T)


@given(blocks)
def test_what_is_rounded_stays_as_it_is(values: np.ndarray) -> None:  # type: ignore[type-arg]
    once = rounding.q5_0(torch.from_numpy(values))
    assert torch.equal(rounding.q5_0(once), once)


def test_gradients_reach_the_numbers_behind() -> None:
    p = {"out_proj": torch.randn(4, 32, requires_grad=True), "norm": torch.ones(4, requires_grad=True)}
    made = rounding.rounded(p)
    assert not torch.equal(made["out_proj"], p["out_proj"])
    assert made["norm"] is p["norm"]
    (3 * made["out_proj"]).sum().backward()  # type: ignore[no-untyped-call]
    assert p["out_proj"].grad is not None
    assert torch.equal(p["out_proj"].grad, torch.full((4, 32), 3.0))
