"""Words: where a pre-tokenizer cuts a text before byte-pair encoding.

The patterns of the two families and of GPT-2 look at most a few characters beyond a word, so a long text is cut in
windows (windows.py). Another pattern can look anywhere and take any time: it runs in a process of its own
(foreign_words.py), on the whole text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Regex, pre_tokenizers

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_WHITESPACE = (r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+")


def _letters_and_symbols(digits: str) -> str:
    letters, symbols = r"[^\r\n\p{L}\p{N}]?\p{L}+", r" ?[^\s\p{L}\p{N}]+[\r\n]*"
    return "|".join((_CONTRACTIONS, letters, digits, symbols, *_WHITESPACE))


#: Qwen 3.5: combining marks count as letters, each digit is a word.
QWEN35 = "|".join(
    (_CONTRACTIONS, r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+", r"\p{N}", r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*", *_WHITESPACE)
)
#: Llama 4 (o200k): an upper-case letter begins a new word, up to three digits form one.
LLAMA4 = "|".join(
    (
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTIONS}?",
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTIONS}?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        *_WHITESPACE,
    )
)
QWEN2, LLAMA3 = _letters_and_symbols(r"\p{N}"), _letters_and_symbols(r"\p{N}{1,3}")
#: Patterns whose words depend on nothing beyond the next two words.
LOCAL_PATTERNS = frozenset((QWEN35, LLAMA4, QWEN2, LLAMA3))


@dataclass(frozen=True)
class Split:
    """Cut at the matches of a pattern. behavior: as tokenizer.json spells it."""

    pattern: str
    is_regex: bool = True
    behavior: str = "Isolated"
    invert: bool = False


@dataclass(frozen=True)
class Digits:
    """Cut between digits and the rest; with `individual`, between digits too."""

    individual: bool = False


@dataclass(frozen=True)
class Words:
    """The parts of a pre-tokenizer, in order, without the ByteLevel at its end. gpt2: whether that also cuts."""

    parts: Sequence[Split | Digits]
    gpt2: bool = False

    @property
    def are_local(self) -> bool:
        """Whether a text can be cut in windows."""
        match list(self.parts), self.gpt2:
            case [Split(pattern, True, "Isolated", False)], False:
                return pattern in LOCAL_PATTERNS
            case (([] | [Digits()]), True):
                return True
        return False


def pre_tokenizer(words: Words, *, as_bytes: bool = True) -> Any:
    """The library's pre-tokenizer for local words. as_bytes: also write them in byte characters."""
    parts: list[Any] = []
    for part in words.parts:
        if isinstance(part, Digits):
            parts.append(pre_tokenizers.Digits(individual_digits=part.individual))
        else:
            parts.append(pre_tokenizers.Split(Regex(part.pattern), behavior="isolated"))
    if as_bytes or words.gpt2:
        parts.append(byte_level(gpt2=words.gpt2))
    return pre_tokenizers.Sequence(parts)


def byte_level(*, gpt2: bool = False) -> Any:
    """Bytes as characters; gpt2: cut by GPT-2's pattern, too."""
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=gpt2)
