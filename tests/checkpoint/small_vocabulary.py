"""A tokenizer small enough to build in every test: all bytes, some merges, added tokens of both families' shapes."""

import json
from pathlib import Path
from typing import Any

from vocabularies import BYTES

MERGES = (
    "h e",
    "l l",
    "he ll",
    "hell o",
    "Ġ w",
    "o r",
    "Ġw or",
    "t h",
    "th i",
    "n k",
    "thi nk",
    "Ã ©",
    "Ċ Ċ",
    "< |",
    "| >",
)
#: text, special; ids follow the merged tokens
ADDED = (
    ("<|endoftext|>", True),
    ("<|im_start|>", True),
    ("<|im_end|>", True),
    ("<think>", False),
    ("</think>", False),
    ("<tool_call>", False),
    ("</tool_call>", False),
    ("<tool_response>", False),
    ("</tool_response>", False),
    ("<|header_start|>", True),
    ("<|header_end|>", True),
    ("<|eot|>", True),
    ("<|begin_of_text|>", True),
    ("<|python_start|>", True),
    ("<|python_end|>", True),
    ("<|eom|>", True),
)
PLAIN = [*BYTES, *(merge.replace(" ", "") for merge in MERGES)]
IDS = {text: len(PLAIN) + number for number, (text, _) in enumerate(ADDED)}


def metadata(**changes: Any) -> dict[str, Any]:
    """GGUF keys of the small tokenizer; `changes` by the end of a key's name, None takes the key out."""
    keys = {
        "model": "gpt2",
        "pre": "qwen35",
        "tokens": [*PLAIN, *IDS],
        "token_type": [1] * len(PLAIN) + [3 if special else 4 for _, special in ADDED],
        "merges": list(MERGES),
        "eos_token_id": IDS["<|im_end|>"],
        "bos_token_id": IDS["<|begin_of_text|>"],
    } | changes
    return {f"tokenizer.ggml.{key}": value for key, value in keys.items() if value is not None}


def write_folder(folder: Path, model: dict[str, Any] | None = None, **settings: Any) -> None:
    """The same tokenizer as tokenizer.json; `settings` go into tokenizer_config.json."""
    split = {
        "type": "Split",
        "pattern": {
            "Regex": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}"
            r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        },
        "behavior": "Isolated",
        "invert": False,
    }
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    whole = {
        "version": "1.0",
        "added_tokens": [{"id": IDS[text], "content": text, "special": special, **flags} for text, special in ADDED],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": None,
        "decoder": byte_level,
        "model": model
        or {
            "type": "BPE",
            "vocab": {token: id for id, token in enumerate(PLAIN)},
            "merges": [merge.split(" ") for merge in MERGES],
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(whole), encoding="utf-8")
    settings = {"eos_token": "<|im_end|>", "bos_token": "<|begin_of_text|>"} | settings
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
