"""A checkpoint's config, whichever family and format: the choice of the parser.

The fields of a file are read in `qwen3_5` and `llama4`. Every field is read, listed there as ignored
with a reason, or an error.
"""

from __future__ import annotations

from shoestring.checkpoint.config import llama4, qwen3_5
from shoestring.checkpoint.config.types import GGUF_ARCHITECTURES, MODEL_TYPES, Config
from shoestring.checkpoint.tensors import Checkpoint, shown
from shoestring.errors import CheckpointError


def parse_config(checkpoint: Checkpoint) -> Config:
    """The config of a checkpoint of either family, from either format.

    Raises CheckpointError for another family, by name, and for a field that is absent, wrong or unknown.
    """
    key, known = (
        ("general.architecture", GGUF_ARCHITECTURES) if checkpoint.format == "gguf" else ("model_type", MODEL_TYPES)
    )
    name = checkpoint.metadata.get(key)
    where = checkpoint.path if checkpoint.format == "gguf" else checkpoint.path / "config.json"
    if not isinstance(name, str) or name not in known:
        told = f"{key} is {shown(repr(name))}" if name is not None else f"there is no {key}"
        raise CheckpointError(f"{where}: {told}: models of {', '.join(known)} are run")
    match checkpoint.format, name.startswith("qwen"):
        case "gguf", True:
            return qwen3_5.from_gguf(checkpoint)
        case "gguf", False:
            return llama4.from_gguf(checkpoint)
        case _, True:
            return qwen3_5.from_hugging_face(checkpoint)
        case _:
            return llama4.from_hugging_face(checkpoint)
