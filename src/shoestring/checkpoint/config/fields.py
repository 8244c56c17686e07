"""Reads the fields of a foreign config one by one, and knows at the end which nobody read.

Owns types, ranges and the rule of unknown fields: what is neither read nor listed as ignorable is an error, unless
it is switched off (null, false, 0, empty) and so cannot change the answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shoestring.checkpoint.tensors import shown
from shoestring.errors import CheckpointError

#: Default of a field that must be there.
REQUIRED: Any = object()

#: Bounds of every count in a config: far above any model, far below what could overflow or be allocated in vain.
LARGEST_COUNT = 1 << 31
MOST_LAYERS = 4096
MOST_EXPERTS = 1 << 16


@dataclass
class Fields:
    """The fields of one JSON object or GGUF section. `where` is the file, `prefix` is put before names in errors."""

    where: str
    values: Mapping[str, Any]
    prefix: str = ""
    read: set[str] = field(default_factory=set)

    def __contains__(self, key: str) -> bool:
        return self.values.get(key) is not None

    def raw(self, key: str, default: Any = REQUIRED) -> Any:
        """The value as it is. A null counts as absent."""
        self.read.add(key)
        value = self.values.get(key)
        if value is not None:
            return value
        if default is REQUIRED:
            raise CheckpointError(f"{self.where}: {self.prefix}{key} is missing: the file is incomplete")
        return default

    def error(self, key: str, value: Any, wanted: str) -> CheckpointError:
        told = shown(repr(value))
        return CheckpointError(f"{self.where}: {self.prefix}{key} is {told}, {wanted}")

    def integer(self, key: str, default: Any = REQUIRED, least: int = 1, most: int = LARGEST_COUNT) -> int:
        value = self.raw(key, default)
        if type(value) is not int or not least <= value <= most:
            raise self.error(key, value, f"an integer from {least} to {most} is needed")
        return value

    def number(self, key: str, default: Any = REQUIRED, least: float = 0.0) -> float:
        """A finite number above `least`."""
        value = self.raw(key, default)
        usable = type(value) in (int, float) and abs(value) < 1e300 and math.isfinite(value) and value > least
        if not usable:
            raise self.error(key, value, f"a number above {least} is needed")
        return float(value)

    def boolean(self, key: str, default: Any = REQUIRED) -> bool:
        """A truth value; 0 and other integers count as false and true, as in the reference."""
        value = self.raw(key, default)
        if type(value) not in (bool, int):
            raise self.error(key, value, "true or false is needed")
        return bool(value)

    def integers(self, key: str, default: Any = REQUIRED, most: int = LARGEST_COUNT) -> tuple[int, ...]:
        value = self.raw(key, default)
        usable = isinstance(value, list | tuple) and all(isinstance(n, int) and 0 <= n <= most for n in value)
        if not usable:
            raise self.error(key, value, f"a list of integers from 0 to {most} is needed")
        return tuple(int(n) for n in value)

    def same_for_all_layers(self, key: str, default: Any = REQUIRED) -> int:
        """A count that a GGUF file may give once or once a layer, where all must be equal."""
        value = self.raw(key, default)
        if isinstance(value, list) and value and all(n == value[0] for n in value):
            value = value[0]
        if type(value) is not int or not 1 <= value <= LARGEST_COUNT:
            raise self.error(key, value, "one positive integer for all layers is needed")
        return value

    def expect(self, key: str, *allowed: Any) -> None:
        """A field that, where present, must have a value that we compute with."""
        value = self.raw(key, None)
        if value is not None and value not in allowed:
            raise self.error(key, value, f"only {' or '.join(map(repr, allowed))} is supported")

    def section(self, key: str, default: Any = REQUIRED) -> Fields:
        value = self.raw(key, default)
        if not isinstance(value, dict):
            raise self.error(key, value, "an object is needed")
        return Fields(self.where, value, f"{self.prefix}{key}.")

    def finish(self, ignorable: Mapping[str, str]) -> None:
        """Refuse what nobody read, what is not listed, and what is not switched off."""
        unknown = [
            key
            for key, value in self.values.items()
            if key not in self.read and key not in ignorable and value not in (None, False, 0, "", [], {})
        ]
        if unknown:
            names = ", ".join(shown(self.prefix + key) for key in unknown[:8])
            raise CheckpointError(
                f"{self.where}: unknown fields could change the answer: {names}: this version cannot run the model"
            )


#: Fields of any config.json that no arithmetic of a text model follows.
IGNORED_EVERYWHERE: Mapping[str, str] = {
    "architectures": "the class that transformers loads; model_type decides",
    "model_type": "decided the parser",
    "transformers_version": "who wrote the file",
    "_name_or_path": "where the file was",
    "torch_dtype": "the type of each tensor is in its header",
    "dtype": "the type of each tensor is in its header",
    "use_cache": "a cache is always used",
    "initializer_range": "training",
    "attention_dropout": "training",
    "router_aux_loss_coef": "training",
    "router_jitter_noise": "training",
    "output_router_logits": "training",
    "bos_token_id": "read by the tokenizer",
    "eos_token_id": "read by the tokenizer",
    "pad_token_id": "read by the tokenizer",
    "return_dict": "how transformers returns results",
    "output_hidden_states": "how transformers returns results",
    "output_attentions": "how transformers returns results",
    "chunk_size_feed_forward": "does not change results",
    "problem_type": "classification only",
    "id2label": "classification only",
    "label2id": "classification only",
    "language": "documentation",
    "vision_config": "images are not read yet",
    "unsloth_fixed": "documentation of a re-upload",
    "unsloth_version": "documentation of a re-upload",
}


def check_quantization(fields: Fields) -> str | None:
    """Accept no quantization, or block FP8 as the vendors publish it; a note for people when there is one."""
    if "quantization_config" not in fields:
        return None
    config = fields.section("quantization_config")
    method = config.raw("quant_method", None)
    if method != "fp8":
        raise config.error("quant_method", method, "only 'fp8' in blocks is supported")
    config.expect("fmt", "e4m3")
    config.expect("activation_scheme", "dynamic")
    block = config.raw("weight_block_size", None)
    if block != [128, 128]:
        raise config.error("weight_block_size", block, "only [128, 128] is supported")
    config.expect("scale_fmt", "float")
    config.finish(
        {
            "modules_to_not_convert": "each tensor's header says its type",
            "ignored_layers": "each tensor's header says its type",
            "dequantize": "weights are widened at load in any case",
            "quant_library": "who wrote the file",
        }
    )
    return "weights in FP8 blocks are widened to float32 at load, four bytes for each of theirs"
