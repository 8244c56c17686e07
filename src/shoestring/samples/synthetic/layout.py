"""Lay out the tensors and metadata of a GGUF file of each family, as llama.cpp's converter writes them.

Names come from the tables of `checkpoint/names`, shapes from the model files, the scale of each tensor from here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from shoestring.checkpoint.config.parse import write_config
from shoestring.checkpoint.config.rotary import ROPE_FREQUENCIES, frequency_divisors
from shoestring.checkpoint.config.types import Config, Qwen3_5Config
from shoestring.checkpoint.names.bind import WeightShape
from shoestring.checkpoint.names.tables import GGUF_EXPERTS, HEAD, layer_rows, model_rows
from shoestring.errors import RequestError
from shoestring.models.shapes import wanted_shapes
from shoestring.samples.synthetic.vocabulary import vocabulary

Fill = Literal["matrix", "norm", "decay", "dt_bias", "convolution", "values"]
#: Vectors that are filled by their role; norms and matrices are the others.
_FILLS: dict[str, Fill] = {"decay": "decay", "dt_bias": "dt_bias", "convolution": "convolution"}


@dataclass(frozen=True)
class Slot:
    """A tensor to fill. `gain`: a matrix multiplies the standard deviation of its input by about this."""

    name: str
    shape: tuple[int, ...]
    fill: Fill = "matrix"
    gain: float = 1.0
    values: tuple[float, ...] = ()


def layout(config: Config) -> Iterator[Slot]:
    """All tensors of a model, in the order of the file.

    Raises RequestError for a config that GGUF has no keys for.
    """
    if isinstance(config, Qwen3_5Config) and config.linear_key_head_dim != config.linear_value_head_dim:
        raise RequestError("linear_key_head_dim and linear_value_head_dim differ, which GGUF has no key for")
    shapes = wanted_shapes(config)
    for row in (*model_rows(config), *(() if config.tie_word_embeddings else (HEAD,))):
        yield _slot(config, row.gguf, row.ours, shapes[row.ours])
    if divisors := frequency_divisors(config.rotary):
        yield Slot(ROPE_FREQUENCIES, (len(divisors),), "values", values=divisors)
    for layer in range(config.num_hidden_layers):
        for row in layer_rows(config, layer):
            names = {row.ours: row.gguf}
            if row.ours == "shared.gate":  # the converter writes the routed experts before the shared one
                experts = {f"experts.{role}": GGUF_EXPERTS.stacked.format(role) for role in ("gate", "up", "down")}
                names = experts | names
            for ours, gguf in names.items():
                yield _slot(config, f"blk.{layer}.{gguf}", ours, shapes[f"layers.{layer}.{ours}"])


#: The embedding's name.
EMBEDDING = "token_embd.weight"
#: How a synthetic model's name begins.
NAME = "synthetic"


def metadata(config: Config, *, vision: bool = False) -> dict[str, Any]:
    """All metadata except the file type. vision: the vocabulary has the markers of pictures."""
    if isinstance(config, Qwen3_5Config):
        config = replace(config, mtp_num_hidden_layers=0)  # the file has no tensors for them
    keys = write_config(config, "gguf")
    name = keys["general.architecture"]
    return {
        **keys,
        "general.type": "model",
        "general.name": f"{NAME} {name}",
        "general.quantization_version": 2,
        **vocabulary(name.removesuffix("moe"), config.vocab_size, vision=vision),
    }


def _slot(config: Config, name: str, ours: str, shape: WeightShape) -> Slot:
    stack = (shape.count,) if ours.startswith("experts.") else ()
    role = ours.rpartition(".")[2]
    is_row = role == "shared_gate" or (shape.rows == 1 and not shape.is_matrix)
    rows = () if is_row else (shape.rows,)
    fill: Fill = "norm" if role.endswith("norm") else _FILLS.get(role, "matrix")
    return Slot(name, (*stack, *rows, shape.columns), fill, _gain(config, role))


def _gain(config: Config, role: str) -> float:
    is_qwen = isinstance(config, Qwen3_5Config)
    match role:
        case "embedding" if not config.tie_word_embeddings:
            return float(config.hidden_size**0.5)
        case "embedding" | "head":
            return 3.0  # the logits' standard deviation: the input is normed
        case "router":
            return 2.0 if is_qwen else 4.0
        case "output" if is_qwen:
            return 2.0  # the input is gated by sigmoid
        case "down":
            return 2.0  # the input, silu(gate) · up, is about ½
    return 1.0
