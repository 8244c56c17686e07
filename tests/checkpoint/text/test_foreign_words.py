"""Pre-tokenizers other than the families' own: the library's words, from a process that a pattern cannot stop."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from corpus import TEXTS
from small_vocabulary import write_folder

from shoestring.checkpoint.text.foreign_words import MOST_CHARACTERS
from shoestring.checkpoint.text.tokenizer import Tokenizer
from shoestring.errors import RequestError

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


def split(pattern: dict[str, str], behavior: str = "Isolated", invert: bool = False) -> dict[str, Any]:
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def folder_with(folder: Path, *parts: dict[str, Any]) -> Path:
    write_folder(folder)
    path = folder / "tokenizer.json"
    file = json.loads(path.read_text(encoding="utf-8"))
    file["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": list(parts)}
    file["added_tokens"] = []
    path.write_text(json.dumps(file), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "parts",
    [
        # groups digits from the right: looks ahead without end
        [split({"Regex": r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))"}), BYTE_LEVEL],
        [split({"Regex": r"(?<=[a-z])(?=[A-Z])"}), BYTE_LEVEL],
        [split({"Regex": r"\s+"}, "MergedWithNext"), BYTE_LEVEL],
        [split({"Regex": r"\w+|[^\w\s]+"}, "Removed", True), BYTE_LEVEL],
        [split({"String": "e"}, "MergedWithPrevious"), BYTE_LEVEL],
        [split({"Regex": "[aeiou]"}, "Contiguous"), {"type": "Digits", "individual_digits": True}, BYTE_LEVEL],
        [{"type": "Sequence", "pretokenizers": [split({"Regex": "l"})]}, {**BYTE_LEVEL, "use_regex": True}],
        [split({"Regex": "l|" + "z" * 4000}), BYTE_LEVEL],
    ],
)
def test_ids_are_the_librarys(parts: list[dict[str, Any]], tmp_path: Path) -> None:
    path = folder_with(tmp_path, *parts)
    ours, library = Tokenizer.from_folder(tmp_path), tokenizers.Tokenizer.from_file(str(path))
    for text in ("".join(TEXTS.values())[:20_000], "1234567 12 camelCase hello", "e\u0301e"):
        assert ours.encode(text) == library.encode(text, add_special_tokens=False).ids


def test_a_pattern_that_takes_too_long_ends_its_text_alone(tmp_path: Path) -> None:
    folder_with(tmp_path, split({"Regex": "(?:ab)+(?:ab)+(?:ab)+c|."}), BYTE_LEVEL)
    tokenizer = Tokenizer.from_folder(tmp_path)
    began = time.process_time()
    with pytest.raises(RequestError, match="too much time"):
        tokenizer.encode("ab" * 5000)
    assert time.process_time() - began < 1  # of this process: it only waits
    assert tokenizer.decode(tokenizer.encode("hello ab")) == "hello ab"


def test_a_long_text_is_refused(tmp_path: Path) -> None:
    folder_with(tmp_path, split({"Regex": "x"}), BYTE_LEVEL)
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert tokenizer.decode(tokenizer.encode("word " * (MOST_CHARACTERS // 5))) == "word " * (MOST_CHARACTERS // 5)
    with pytest.raises(RequestError, match="at most"):
        tokenizer.encode("word " * (MOST_CHARACTERS // 5) + "word ")


def test_short_texts_are_cut_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine encodes the same ones for each answer."""
    folder_with(tmp_path, split({"Regex": "x"}), BYTE_LEVEL)
    tokenizer = Tokenizer.from_folder(tmp_path)
    ids = tokenizer.encode("hello\n\n")
    monkeypatch.setattr(tokenizer._encoder._foreign, "_ask", None)
    assert tokenizer.encode("hello\n\n") == ids
