"""Parse a checkpoint's metadata to a config, and write a config as metadata, by the family's table.

Every field of a file is read, or listed as ignored with a reason, or an error.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from shoestring.checkpoint.config import llama4, qwen3_5
from shoestring.checkpoint.config.fields import IGNORED_EVERYWHERE, OWN, Fields, check_quantization
from shoestring.checkpoint.config.table import Family, Reading, read_rows, write_rows
from shoestring.checkpoint.config.types import GGUF_ARCHITECTURES, MODEL_TYPES, Config, Qwen3_5Config
from shoestring.checkpoint.tensors import Checkpoint, shown
from shoestring.errors import CheckpointError

#: Names in one note; `inspect` shows the file's path, where the others are
_MOST_LISTED = 20
_MULTIPLES = (
    ("num_attention_heads", "num_key_value_heads"),
    ("linear_num_value_heads", "linear_num_key_heads"),
)


def parse_config(checkpoint: Checkpoint) -> Config:
    """The config of a checkpoint, from either format.

    Raises CheckpointError for another family and for a field that is missing, wrong or unknown.
    """
    is_gguf = checkpoint.format == "gguf"
    key, known = ("general.architecture", GGUF_ARCHITECTURES) if is_gguf else ("model_type", MODEL_TYPES)
    name = checkpoint.metadata.get(key)
    where = str(checkpoint.path if is_gguf else checkpoint.path / "config.json")
    if not isinstance(name, str) or name not in known:
        problem = f"{key} is {shown(repr(name))}" if name is not None else f"there is no {key}"
        raise CheckpointError(f"{where}: {problem}: models of {', '.join(known)} are run")
    family = qwen3_5.FAMILY if name.startswith("qwen") else llama4.FAMILY
    reading = (
        _gguf_fields(checkpoint, where, name, family) if is_gguf else _hugging_face_fields(checkpoint, where, name)
    )
    constants = family.constant_gguf if is_gguf else {**family.constant_text, **family.default_text}
    for constant, allowed in constants.items():
        reading.fields.expect(constant, *allowed)
    read_rows(family.rows_of(name), reading)
    fields, outer = reading.fields, reading.outer
    if is_gguf:
        fields.finish(family.ignored_gguf)
    elif fields is outer:
        fields.finish(IGNORED_EVERYWHERE, family.ignored_outer, family.ignored_text)
    else:
        fields.finish(IGNORED_EVERYWHERE, family.ignored_text)
        outer.finish(IGNORED_EVERYWHERE, family.ignored_outer, inner=fields)
    if fields.harmless:
        reading.notes.append(f"fields that change no result: {_listed(fields.harmless)}")
    config = family.config(**reading.values, notes=tuple(reading.notes))
    values = vars(config)
    for name, divisor in _MULTIPLES:
        if values.get(name, 0) % values.get(divisor, 1):
            raise CheckpointError(f"{where}: {name} {values[name]} is no multiple of {divisor} {values[divisor]}")
    active, total = "num_experts_per_tok", "num_experts" if "num_experts" in values else "num_local_experts"
    if values[active] > values[total]:
        raise CheckpointError(f"{where}: {active} {values[active]} exceeds {total} {values[total]}")
    return config


def write_config(config: Config, format: Literal["gguf", "safetensors"]) -> dict[str, Any]:
    """The inverse of `parse_config`: GGUF metadata for `write_gguf`, or a text-only config.json.

    Describes the model, not its tokenizer or the types of its tensors. GGUF expresses two facts by tensors instead:
    `output.weight` exists if the head is not tied, `rope_freqs.weight` if `frequency_divisors` returns any.
    The format decides the order of value heads.

    Raises RequestError for a value that config.json has no field for.
    """
    is_gguf = format == "gguf"
    family = qwen3_5.FAMILY if isinstance(config, Qwen3_5Config) else llama4.FAMILY
    architecture, model_type, transformers_class = family.names(config)
    fields = write_rows(family.rows_of(architecture), vars(config), config, is_gguf)
    if is_gguf:
        prefix = architecture + "."
        foreign = {prefix + key: value for key, value in fields.items() if not key.startswith(OWN)}
        # Converters write float32; our own keys keep float64.
        own = {k: np.float64(v) if isinstance(v, float) else v for k, v in fields.items() if k.startswith(OWN)}
        return {"general.architecture": architecture, **foreign, **own}
    constants = {key: allowed[0] for key, allowed in family.constant_text.items()}
    return {"architectures": [transformers_class], "model_type": model_type, **constants, **fields}


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST_LISTED
    return ", ".join(shown(name) for name in names[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")


def _gguf_fields(checkpoint: Checkpoint, where: str, architecture: str, family: Family) -> Reading:
    prefix = architecture + "."
    values = {k.removeprefix(prefix): v for k, v in checkpoint.metadata.items() if k.startswith((prefix, OWN))}
    fields = Fields(where, values, prefix)
    fields.rename(family.renamed_gguf)
    return Reading(checkpoint, fields, fields)


def _hugging_face_fields(checkpoint: Checkpoint, where: str, model_type: str) -> Reading:
    outer = Fields(where, checkpoint.metadata, harmless=[])
    note = check_quantization(outer)
    text = outer
    if not model_type.endswith("_text"):
        text = outer.section("text_config", harmless=outer.harmless)
        text.expect("model_type", f"{model_type}_text", model_type)
    return Reading(checkpoint, outer, text, notes=[note] if note else [])
