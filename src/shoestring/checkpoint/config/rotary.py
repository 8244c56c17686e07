"""The tables of rotary positions: theta, rotated dims, sections, scaling.

config.json has an object for them; older files have some fields beside it. GGUF has keys that begin with `rope.`, and
a tensor of divisors in place of llama3 scaling.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from shoestring.checkpoint.config.fields import LARGEST_COUNT
from shoestring.checkpoint.config.table import COUNT, NUMBER, Form, Key, Reading, Row, read_rows, write_rows
from shoestring.checkpoint.config.types import Config, Rotary
from shoestring.errors import CheckpointError, RequestError

#: The GGUF tensor that stores llama3 scaling as a divisor of each frequency
ROPE_FREQUENCIES = "rope_freqs.weight"
#: Further keys for the sections that Ollama's converter writes, beside the usual one or in its place
_OTHER_SECTIONS = ("rope.mrope_section", "mrope_sections")


def _read_theta(reading: Reading, key: str, absent: Any) -> float:
    return (reading.fields if key in reading.fields else reading.outer).number(key, absent)


def _read_dims(reading: Reading, key: str, absent: Any) -> int:
    """config.json has a fraction of head_dim; the product is rounded down."""
    fields, head_dim = reading.fields, reading.values["head_dim"]
    if reading.is_gguf:
        return fields.integer(key, most=head_dim)
    share = fields.number(key, reading.outer.number(key, absent))
    dims = int(head_dim * share)
    if share > 1 or dims < 2 or dims % 2:
        raise fields.error(key, share, f"an even share of head_dim {head_dim} is needed")
    return dims


def _write_dims(config: Config, is_gguf: bool, key: str) -> Mapping[str, Any]:
    dims, head_dim = config.rotary.dims, config.head_dim
    share = dims / head_dim
    if int(head_dim * share) < dims:  # readers round down and would lose a dim
        share = math.nextafter(share, 1)
    return {key: dims if is_gguf else share}


def _read_whole_head(reading: Reading, key: str, absent: Any) -> int:
    head_dim: int = reading.values["head_dim"]
    if head_dim % 2:
        raise CheckpointError(f"{reading.fields.where}: head_dim {head_dim} is odd, rotary pairs need an even one")
    reading.fields.expect(key, head_dim if reading.is_gguf else 1.0)
    return head_dim


def _read_sections(reading: Reading, key: str, absent: Any) -> tuple[int, ...]:
    fields, half = reading.fields, reading.values["dims"] // 2
    if reading.is_gguf:
        sections = _read_gguf_sections(reading, key)
    else:
        sections = fields.integers(key, absent)
        if sections and (len(sections) != 3 or sum(sections) != half):
            raise fields.error(key, list(sections), f"three numbers that add up to {half} are needed")
        fields.expect("mrope_interleaved", True)
    return sections[:3] if any(sections[1:]) else ()  # only time: the same as no sections


def _read_gguf_sections(reading: Reading, usual: str) -> tuple[int, ...]:
    fields, (half, odd) = reading.fields, divmod(reading.values["dims"], 2)
    names = [name for name in (usual, *_OTHER_SECTIONS) if name in fields] or [usual]
    for name in names:
        sections = fields.integers(name)
        if len(sections) not in (3, 4) or any(sections[3:]) or sum(sections) not in (0, half) or odd:
            raise fields.error(name, list(sections), f"t, h, w, 0 that add up to {half} are needed")
        if sections[:3] != fields.integers(names[0])[:3]:
            raise fields.error(name, list(sections), f"but {names[0]} is {fields.raw(names[0])}")
    return fields.integers(names[0])


def _write_sections(config: Config, is_gguf: bool, key: str) -> Mapping[str, Any]:
    sections = config.rotary.sections or (config.rotary.dims // 2, 0, 0)
    return {key: [*sections, 0]} if is_gguf else {key: list(sections), "mrope_interleaved": True}


def _scaling(kind: str, in_gguf: bool) -> Form:
    """No scaling, or `kind`. `in_gguf`: GGUF has keys for it."""

    def read(reading: Reading, key: str, absent: Any) -> str:
        fields = reading.fields
        value = fields.raw(key, absent if reading.is_gguf else fields.raw("type", absent))
        if reading.is_gguf and not in_gguf:
            fields.expect(key, absent)
        elif value not in (absent, kind):
            raise fields.error(key, value, f"only {absent!r} and {kind!r} are supported")
        return "none" if value == absent else kind

    def write(config: Config, is_gguf: bool, key: str) -> Mapping[str, Any]:
        is_none = config.rotary.scaling == "none"
        if is_gguf:
            return {} if is_none or not in_gguf else {key: kind}
        return {key: "default" if is_none else kind}

    return Form(read, write)


def _read_divisors(reading: Reading, key: str, absent: Any) -> tuple[float, ...]:
    tensor, length = reading.checkpoint.tensors.get(ROPE_FREQUENCIES), reading.values["dims"] // 2
    if tensor is None or not reading.is_gguf:
        return ()
    if tensor.type != "F32" or tensor.shape != (length,):
        raise CheckpointError(
            f"{tensor.file}: tensor {tensor.name} is {tensor.type} {tensor.shape}, F32 ({length},) is needed"
        )
    divisors = np.frombuffer(tensor.data.tobytes(), "<f4")
    if not (np.isfinite(divisors) & (divisors > 0)).all():
        raise CheckpointError(f"{tensor.file}: tensor {tensor.name} has a divisor that is not positive and finite")
    return tuple(divisors.tolist())


THETA = Form(_read_theta)
DIMS = Form(_read_dims, _write_dims)
WHOLE = Form(_read_whole_head, lambda config, is_gguf, key: {key: config.rotary.dims} if is_gguf else {})
SECTIONS = Form(_read_sections, _write_sections)
IF_YARN, IF_LLAMA3 = _scaling("yarn", in_gguf=True), _scaling("llama3", in_gguf=False)
STRETCH = Form(lambda reading, key, absent: reading.fields.number(key, absent, 0.99))
OPT = Form(lambda reading, key, absent: reading.fields.number(key) if key in reading.fields else absent)
DIVISORS = Form(_read_divisors)

# fmt: off
_QWEN = (
    #   ours                  Hugging Face                        GGUF                                      form
    Row("theta",              "rope_theta",                       "rope.freq_base",                         THETA),
    Row("dims",               Key("partial_rotary_factor", 0.25), "rope.dimension_count",                   DIMS),
    Row("sections",           Key("mrope_section", ()),           "rope.dimension_sections",                SECTIONS),
    Row("scaling",            Key("rope_type", "default"),        Key("rope.scaling.type", "none"),         IF_YARN),
)
_LLAMA = (
    Row("dims",               "partial_rotary_factor",            "rope.dimension_count",                   WHOLE),
    Row("theta",              Key("rope_theta", 500_000.0),       "rope.freq_base",                         THETA),
    Row("scaling",            Key("rope_type", "default"),        Key("rope.scaling.type", "none"),         IF_LLAMA3),
    Row("frequency_divisors", "",                                 "",                                       DIVISORS),
)
_YARN = (
    Row("original_context",   "original_max_position_embeddings", "rope.scaling.original_context_length",   COUNT),
    Row("factor",             "factor",                           "rope.scaling.factor",                    STRETCH),
    Row("beta_fast",          Key("beta_fast", 32.0),             Key("rope.scaling.yarn_beta_fast", 32.0), NUMBER),
    Row("beta_slow",          Key("beta_slow", 1.0),              Key("rope.scaling.yarn_beta_slow", 1.0),  NUMBER),
    # The converter writes transformers' attention_factor here, which is the complete factor.
    Row("attention_factor",   Key("attention_factor", None),      Key("rope.scaling.yarn_attn_factor", None), OPT),
)
_LLAMA3 = (
    Row("factor",             "factor",                           "",                                       NUMBER),
    Row("original_context",   "original_max_position_embeddings", "",                                       COUNT),
    Row("low_frequency_factor",  "low_freq_factor",               "",                                       NUMBER),
    Row("high_frequency_factor", "high_freq_factor",              "",                                       NUMBER),
)
# fmt: on
_SCALING = {"none": (), "yarn": _YARN, "llama3": _LLAMA3}


def _rotary(rows: tuple[Row, ...]) -> Form:
    def read(reading: Reading, key: str, absent: Any) -> Rotary:
        text, head_dim = reading.fields, reading.values["head_dim"]
        section = text
        if not reading.is_gguf:
            section = text.section("rope_parameters" if "rope_parameters" in text else "rope_scaling", {})
            text.read.update(("rope_parameters", "rope_scaling", "rope_theta"))
        rope = Reading(reading.checkpoint, text, section, {"head_dim": head_dim})
        read_rows(rows, rope)
        read_rows(_SCALING[rope.values["scaling"]], rope)
        rotary = Rotary(**{name: value for name, value in rope.values.items() if name != "head_dim"})
        if rotary.scaling == "yarn":
            section.expect("truncate", True)
            reading.notes.append(
                f"YaRN stretches positions {rotary.factor:g} times, which costs quality on short prompts"
            )
            # Users enable YaRN by adding only its fields, so the file may still state the old context.
            context = max(reading.values["max_position_embeddings"], int(rotary.factor * rotary.original_context))
            reading.values["max_position_embeddings"] = min(context, LARGEST_COUNT)
        if rotary.high_frequency_factor < rotary.low_frequency_factor:
            high = rotary.high_frequency_factor
            raise section.error("high_freq_factor", high, "not less than low_freq_factor is needed")
        if not reading.is_gguf:
            section.finish()
        elif rotary.scaling == "none":
            section.expect("rope.scaling.factor", 1.0)
        return rotary

    def write(config: Config, is_gguf: bool, key: str) -> Mapping[str, Any]:
        rotary = config.rotary
        keys = write_rows(rows + _SCALING[rotary.scaling], vars(rotary), config, is_gguf)
        if is_gguf:
            return keys
        if rotary.frequency_divisors:
            raise RequestError(f"config.json has no field for the divisors that a GGUF file has in {ROPE_FREQUENCIES}")
        # Theta is beside the older `rope_scaling`, not in it.
        return {key: keys} if key == "rope_parameters" else {"rope_theta": keys.pop("rope_theta"), key: keys}

    return Form(read, write)


QWEN_ROTARY, LLAMA_ROTARY = _rotary(_QWEN), _rotary(_LLAMA)


def frequency_divisors(rotary: Rotary) -> tuple[float, ...]:
    """The values of the GGUF tensor `rope_freqs.weight`, [dims/2]; empty: the file needs no such tensor."""
    if rotary.frequency_divisors or rotary.scaling != "llama3":
        return rotary.frequency_divisors
    divisors = []
    for i in range(rotary.dims // 2):
        turns = rotary.original_context * rotary.theta ** (-2 * i / rotary.dims) / (2 * math.pi)
        low, high = rotary.low_frequency_factor, rotary.high_frequency_factor
        if turns > high:
            divisors.append(1.0)
        elif turns < low:
            divisors.append(rotary.factor)
        else:
            share = (turns - low) / (high - low)
            divisors.append(1 / ((1 - share) / rotary.factor + share))
    return tuple(divisors)
