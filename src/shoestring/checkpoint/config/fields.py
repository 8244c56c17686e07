"""Read the fields of a foreign config, with checks of type and range, and refuse unknown ones.

A field that is neither read nor listed as ignored is an error, unless its value (null, false, 0, empty) switches it
off: then it cannot change the answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shoestring.checkpoint.config.harmless import is_harmless
from shoestring.checkpoint.tensors import shown
from shoestring.errors import CheckpointError

#: Keys that change no answer: {reason: "key key …"}. A key that ends in "*" stands for all keys that begin so.
Ignored = Mapping[str, str]

#: The default of a required field
REQUIRED: Any = object()
#: Prefix of our own GGUF keys, which belong to no architecture
OWN = "shoestring."

#: Limits for counts: far above any model, low enough to prevent overflows and huge allocations
LARGEST_COUNT = 1 << 31
MOST_LAYERS = 4096
MOST_EXPERTS = 1 << 16


@dataclass
class Fields:
    """The fields of one JSON object or GGUF section. Errors name the file `where` and put `prefix` before keys."""

    where: str
    values: Mapping[str, Any]
    prefix: str = ""
    read: set[str] = field(default_factory=set)
    #: our name of a key → the name that the file uses, where that is another one
    spelled: dict[str, str] = field(default_factory=dict)
    #: names of the fields that were accepted because they cannot reach the arithmetic; None: none is accepted
    harmless: list[str] | None = None

    def __contains__(self, key: str) -> bool:
        return self.values.get(key) is not None

    def raw(self, key: str, default: Any = REQUIRED) -> Any:
        """The value, unchecked; `default` if it is null or absent."""
        self.read.add(key)
        value = self.values.get(key)
        if value is not None:
            return value
        if default is REQUIRED:
            raise CheckpointError(f"{self.where}: {self.name(key)} is missing: the file is incomplete")
        return default

    def name(self, key: str) -> str:
        """The key in the file."""
        key = self.spelled.get(key, key)
        return key if key.startswith(OWN) else self.prefix + key

    def rename(self, others: Mapping[str, str]) -> None:
        """Read other writers' keys as ours: {other: ours}. Raises CheckpointError if both are there and differ."""
        values = dict(self.values)
        for other, ours in others.items():
            if other not in self:
                continue
            value = values.pop(other)
            if ours in self and values[ours] != value:
                raise self.error(other, value, f"but {self.name(ours)} is {shown(repr(values[ours]))}")
            self.spelled.setdefault(ours, other)
            values[ours] = value
        self.values = values

    def error(self, key: str, value: Any, expected: str) -> CheckpointError:
        return CheckpointError(f"{self.where}: {self.name(key)} is {shown(repr(value))}, {expected}")

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
        """A boolean. 0 is false and other integers are true, as in transformers."""
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

    def same_for_all_layers(self, key: str) -> int:
        """A count that a GGUF file gives once, or for each layer; then all must be equal."""
        value = self.raw(key)
        if isinstance(value, list) and value and all(n == value[0] for n in value):
            value = value[0]
        if type(value) is not int or not 1 <= value <= LARGEST_COUNT:
            raise self.error(key, value, "one positive integer for all layers is needed")
        return value

    def expect(self, key: str, *allowed: Any) -> None:
        """Check that a field is absent or has one of the values that we support."""
        value = self.raw(key, None)
        if value is not None and value not in allowed:
            raise self.error(key, value, f"only {' or '.join(map(repr, allowed))} is supported")

    def section(self, key: str, default: Any = REQUIRED, harmless: list[str] | None = None) -> Fields:
        value = self.raw(key, default)
        if not isinstance(value, dict):
            raise self.error(key, value, "an object is needed")
        return Fields(self.where, value, f"{self.prefix}{key}.", harmless=harmless)

    def finish(self, *ignored: Ignored, inner: Fields | None = None) -> None:
        """Raise CheckpointError if a field was not read, is not listed and is not switched off.

        inner: the object of the text model in this one, whose fields this one may repeat: then both must be equal.
        """
        listed = {key for reasons in ignored for keys in reasons.values() for key in keys.split()}
        beginnings = tuple(key[:-1] for key in listed if key.endswith("*"))
        rest = {
            key: value
            for key, value in self.values.items()
            if key not in self.read | listed
            and not key.startswith(beginnings)
            and value not in (None, False, 0, "", [], {})
        }
        for key in [key for key in rest if inner is not None and key in inner]:
            assert inner is not None
            value = rest.pop(key)
            if value != inner.values[key]:
                raise self.error(key, value, f"but {inner.name(key)} is {shown(repr(inner.values[key]))}")
        unknown = [key for key in rest if self.harmless is None or not is_harmless(key)]
        if unknown:
            names = ", ".join(shown(self.name(key)) for key in unknown[:8])
            raise CheckpointError(
                f"{self.where}: unknown fields could change the answer: {names}: this version cannot run the model"
            )
        if self.harmless is not None:
            self.harmless += [self.name(key) for key in rest]


#: Fields of any config.json that do not change a text model's arithmetic
IGNORED_EVERYWHERE: Ignored = {
    "the class that transformers loads; model_type decides": "architectures",
    "decided the parser": "model_type",
    "who wrote the file": "transformers_version",
    "where the file was": "_name_or_path",
    "the type of each tensor is in its header": "torch_dtype dtype",
    "a cache is always used": "use_cache",
    "training": "initializer_range attention_dropout router_aux_loss_coef router_jitter_noise output_router_logits",
    "read by the tokenizer": "bos_token_id eos_token_id pad_token_id",
    "how transformers returns results": "return_dict output_hidden_states output_attentions",
    "does not change results": "chunk_size_feed_forward",
    "classification only": "problem_type id2label label2id",
    "documentation": "language",
    "images are not read yet": "vision_config",
    "documentation of a re-upload": "unsloth_fixed unsloth_version",
}


def check_quantization(fields: Fields) -> str | None:
    """Accept no quantization, or FP8 blocks as the vendors publish them. The result is a note for people, or None."""
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
            "each tensor's header says its type": "modules_to_not_convert ignored_layers",
            "weights are widened at load in any case": "dequantize",
            "who wrote the file": "quant_library",
        }
    )
    return "weights in FP8 blocks are widened to float32 at load, four bytes for each of theirs"
