"""The tokenizer of a MODEL and its family, without its weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from shoestring.errors import CheckpointError

if TYPE_CHECKING:
    from shoestring.checkpoint.text.tokenizer import Tokenizer

#: family → its name, and the catalogue's model whose price counts
FAMILIES = {"qwen3_5": ("Qwen 3.5", "qwen3.5-397b-a17b"), "llama4": ("Llama 4", "llama-4-scout")}


def open_tokenizer(name: str, path: Path) -> tuple[Tokenizer, str]:
    """A tokenizer and its family. Reads no weights. Raises CheckpointError."""
    from shoestring.checkpoint.formats.json_file import read_json
    from shoestring.checkpoint.open import open_checkpoint
    from shoestring.checkpoint.text.tokenizer import Tokenizer
    from shoestring.stores import FAMILIES as BY_TYPE

    if (path / "tokenizer.json").is_file():
        kind = str(read_json(path / "config.json", CheckpointError).get("model_type"))
        tokenizer = Tokenizer.from_folder(path)
    else:
        checkpoint = open_checkpoint(path)
        tokenizer = Tokenizer.from_checkpoint(checkpoint)
        kind = str(checkpoint.metadata.get("general.architecture") or checkpoint.metadata.get("model_type"))
    if kind not in BY_TYPE:
        raise CheckpointError(f"{name} is of architecture {kind}: tokens compares Qwen 3.5 and Llama 4")
    return tokenizer, BY_TYPE[kind]
