"""Default sampling: what generation_config.json sets, what it may not break, what is recommended else."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.checkpoint.tensors import Checkpoint
from shoestring.ops.sampling import Sampling
from shoestring.runtime.default_sampling import RECOMMENDED, default_sampling, sampling_fields

NAMES = [
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "do_sample",
    "eos_token_id",
]


def checkpoint(values: dict[str, Any]) -> Checkpoint:
    return Checkpoint(Path("folder"), "safetensors", {}, {}, (), generation_config=values)


def test_the_file_decides_and_the_vendor_else(caplog: pytest.LogCaptureFixture) -> None:
    fields = sampling_fields(checkpoint({"temperature": 1, "top_k": 20.0, "eos_token_id": [1, 9], "top_p": None}), 10)
    assert default_sampling("llama4", False, fields) == Sampling(temperature=1.0, top_k=20)
    assert default_sampling("llama4", False, {}) == RECOMMENDED["llama4", False]
    fields = sampling_fields(checkpoint({"do_sample": False, "temperature": 0.7}), 10)
    assert default_sampling("qwen3_5", True, fields).temperature == 0
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -1),
        ("temperature", "hot"),
        ("temperature", float("nan")),
        ("temperature", 10**400),
        ("temperature", True),
        ("top_k", 2.5),
        ("top_k", float("inf")),
        ("top_k", -3),
        ("top_p", 1.1),
        ("top_p", [0.9]),
        ("min_p", {}),
        ("repetition_penalty", 0),
        ("presence_penalty", 1e9),
        ("do_sample", "no"),
        ("eos_token_id", "\x1b[31m"),
        ("eos_token_id", [2, 10]),
        ("eos_token_id", -1),
        ("eos_token_id", True),
    ],
)
def test_a_value_that_cannot_be_used_is_ignored_with_one_warning(
    name: str, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    fields = sampling_fields(checkpoint({"min_p": 0.1, name: value, "frequency_penalty": "x" * 1000}), 10)
    assert name not in fields or (name == "min_p" and fields[name] == 0.1)
    assert fields.get("min_p") == (0.1 if name != "min_p" else None)
    (record,) = caplog.records
    message = record.getMessage()
    assert record.levelno == logging.WARNING
    assert message.startswith("warning: folder/generation_config.json: ignored")
    assert name in message
    assert "frequency_penalty" in message
    assert message.isprintable()
    assert len(message) < 500


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(NAMES), json_values))
def test_any_file_gives_a_sampling(values: dict[str, Any]) -> None:
    assert isinstance(default_sampling("qwen3_5", True, sampling_fields(checkpoint(values), 10)), Sampling)
