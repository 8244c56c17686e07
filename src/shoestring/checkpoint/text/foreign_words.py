"""Words by patterns other than the families' own, in a process of their own that is given little time and memory.

A pattern runs in oniguruma, which backtracks: a hostile one takes hours, or all memory. Nothing in this process can
stop it, so a child (foreign_words_child.py) cuts the texts. One that takes too long ends itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shoestring.checkpoint.text.words import Digits, Split, Words
from shoestring.errors import RequestError, TokenizerError
from shoestring.printable import shortened

#: Characters of one request's texts: the child takes 300 bytes for each.
MOST_CHARACTERS = 1 << 18
_CHILD = Path(__file__).with_name("foreign_words_child.py")
#: Texts that a hostile pattern is tried on at load: runs of each character in it, and of common ones, then another.
_TRIAL = "aA0 \n!_-é漢"
_TRIAL_LENGTH, _TRIAL_END = 2000, "\x00"
#: Short texts whose words are stored: the engine encodes the same ones for each answer.
_MOST_STORED = 256


class ForeignWords:
    """Cuts texts by one pre-tokenizer."""

    def __init__(self, words: Words, source: str) -> None:
        """Tries the patterns. Raises TokenizerError if they are invalid or take too long."""
        self._parts = [_spelled(part) for part in words.parts]
        self._gpt2 = words.gpt2
        self._source = source
        self._stored: dict[str, list[str]] = {}
        characters = dict.fromkeys([*_TRIAL, *(c for part in self._parts for c in part.get("pattern", ""))])
        problem, _ = self._ask([character * _TRIAL_LENGTH + _TRIAL_END for character in list(characters)[:64]])
        if problem:
            raise TokenizerError(f"{source}: its pre_tokenizer cannot be used: {problem}")

    def words(self, texts: Sequence[str]) -> list[list[str]]:
        """The words of each text. Raises RequestError for too much text, or a pattern that takes too long on it."""
        if all(text in self._stored for text in texts):
            return [self._stored[text] for text in texts]
        if sum(map(len, texts)) > MOST_CHARACTERS:
            raise RequestError(
                f"{self._source} has a pre_tokenizer of its own, which takes at most {MOST_CHARACTERS:,} characters "
                "at once: shorten the text"
            )
        problem, spans = self._ask(texts)
        if problem:
            raise RequestError(f"{self._source}: its pre_tokenizer fails on this text: {problem}")
        found = [
            [text[a:b] for a, b in zip(s[::2], s[1::2], strict=True)] for text, s in zip(texts, spans, strict=True)
        ]
        for text, words in zip(texts, found, strict=True):
            if len(text) <= 64 and len(self._stored) < _MOST_STORED:
                self._stored[text] = words
        return found

    def _ask(self, texts: Sequence[str]) -> tuple[str, list[list[int]]]:
        """What is wrong, or the start and end of each word in each text."""
        question = json.dumps({"parts": self._parts, "gpt2": self._gpt2, "texts": texts}).encode()
        child = subprocess.run(
            [sys.executable, str(_CHILD)],
            input=question,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        if child.returncode < 0:
            return "it takes too much time or memory", []
        try:
            answer: dict[str, Any] = json.loads(child.stdout)
        except ValueError:
            return "it takes too much time or memory", []
        return shortened(answer["problem"], 200), answer["spans"]


def _spelled(part: Split | Digits) -> Mapping[str, Any]:
    if isinstance(part, Digits):
        return {"individual": part.individual}
    return {"pattern": part.pattern, "is_regex": part.is_regex, "behavior": part.behavior, "invert": part.invert}
