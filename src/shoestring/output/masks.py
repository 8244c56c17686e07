"""Masks: which tokens a grammar allows next, through llguidance, on the vocabulary of a checkpoint.

A vocabulary is taken over once a tokenizer (seconds at 248,000 tokens) and kept as long as it; a grammar is compiled
once a request, in bounds, and copied for each answer.
"""

from __future__ import annotations

import json
import re
import threading
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from shoestring.errors import RequestError
from shoestring.output.syntax import Vocabulary

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

Mask = npt.NDArray[np.uint32]

#: Tokens of this shape are allowed or not in one look (llguidance's "slices") where a line may go on by any byte, or by
#: any but one of </parameter>. llguidance knows it again by its form: grammars.py spells lines with this very text.
LINE = r"[^</>aemprt\n][^\n]*"
#: A model's logits may be wider than its tokenizer's vocabulary: the mask goes on, with nothing allowed there.
_SPARE_WORDS = 256
#: Most tokens that one sampled token can force.
_MOST_FORCED = 64

_kept: weakref.WeakKeyDictionary[Vocabulary, LLTokenizer] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


class _Wrapped:
    """A tokenizer as llguidance asks for one."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, tokenizer: Vocabulary) -> None:
        self._tokenizer = weakref.ref(tokenizer)
        self.eos_token_id = min(tokenizer.eos_ids, default=0)
        self.tokens = [tokenizer.token_bytes(id) for id in range(tokenizer.vocab_size)]
        # Tokens that text never becomes: they stand in grammars by their number alone.
        self.special_token_ids = sorted(tokenizer.added_ids)

    def __call__(self, text: str | bytes) -> list[int]:
        tokenizer = self._tokenizer()
        assert tokenizer is not None
        return tokenizer.encode(text if isinstance(text, str) else text.decode("utf-8", "replace"))


def vocabulary_of(tokenizer: Vocabulary) -> LLTokenizer:
    """llguidance's view of a tokenizer, built at its first use; call it early and the first request need not wait."""
    with _lock:
        found = _kept.get(tokenizer)
        if found is None:
            from llguidance import LLTokenizer

            found = _kept[tokenizer] = LLTokenizer(
                _Wrapped(tokenizer),  # type: ignore[arg-type]
                eos_token=sorted(tokenizer.eos_ids),
                slices=[*LLTokenizer.general_slices(), LINE],
            )
        return found


def compile_grammar(tokenizer: Vocabulary, grammar: str, what: str) -> Matcher:
    """A matcher at the grammar's beginning. Raises RequestError that says why `what` cannot be honoured."""
    from llguidance import LLMatcher, LLParserLimits

    # Bounds of work, not of time, so that a grammar is refused or accepted alike on every machine. By them the worst
    # takes seconds, in compiling or in one mask.
    limits = LLParserLimits(max_lexer_states=50_000, max_grammar_size=200_000, verbose_errors=False)
    matcher = LLMatcher(vocabulary_of(tokenizer), grammar, log_level=0, limits=limits)
    found = Matcher(matcher, tokenizer)
    if not matcher.is_error():
        matcher.compute_bitmask()  # what outgrows the bounds at once is refused before any work
    if matcher.is_error():
        raise RequestError(f"{what}: {_reason(matcher.get_error())}")
    return found


def lark(text: str) -> str:
    """A Lark grammar in llguidance's own form."""
    return json.dumps({"grammars": [{"lark_grammar": text}]})


def _reason(error: str) -> str:
    """An error of llguidance on one line, without what concerns its inside."""
    error = re.sub(r"<state>.*", "", error, flags=re.DOTALL)
    return " ".join(error.split())[:300] or "it cannot be compiled"


class Matcher:
    """Where one answer stands in a grammar."""

    def __init__(self, matcher: LLMatcher, tokenizer: Vocabulary) -> None:
        self._matcher, self._tokenizer = matcher, tokenizer
        self._mask: Mask = np.zeros(mask_words(tokenizer), np.uint32)

    def copy(self) -> Matcher:
        """Another answer at the same place."""
        return Matcher(self._matcher.deep_copy(), self._tokenizer)

    @property
    def over(self) -> bool:
        """Nothing can follow but the end."""
        return self._matcher.is_stopped() or self._matcher.is_error()

    def mask(self) -> Mask:
        """The tokens that may follow. Raises RequestError when the grammar grew beyond its bounds."""
        words = -(-self._tokenizer.vocab_size // 32)
        self._matcher.unsafe_compute_mask_ptr(self._mask.ctypes.data, 4 * words)
        if self._matcher.is_error():
            raise RequestError(f"the requested format: {_reason(self._matcher.get_error())}")
        return self._mask

    def consume(self, token: int) -> bool:
        """Go on behind a token; False: the grammar does not allow it."""
        return bool(self._matcher.consume_token(token))

    def consume_text(self, text: str) -> bool:
        """Go on behind a text, however it was cut into tokens."""
        tokens = vocabulary_of(self._tokenizer).tokenize_str(text)
        return self._matcher.try_consume_tokens(tokens) == len(tokens)

    def forced(self) -> Sequence[int]:
        """Tokens of which each is the only one that the mask would allow in its place: sampling would give the same.

        (llguidance writes bytes that are forced in the vocabulary's own way, its masks too; a test holds the two
        together.) The end of the answer is never forced.
        """
        tokens = self._matcher.compute_ff_tokens()
        ends = [n for n, token in enumerate(tokens) if token in self._tokenizer.eos_ids]
        return tokens[: min([_MOST_FORCED, *ends])]


def mask_words(tokenizer: Vocabulary) -> int:
    return -(-tokenizer.vocab_size // 32) + _SPARE_WORDS


def mask_of(tokenizer: Vocabulary, ids: Sequence[int] | frozenset[int]) -> Mask:
    """A mask that allows these tokens alone."""
    mask = np.zeros(mask_words(tokenizer), np.uint32)
    for id in ids:
        mask[id // 32] |= np.uint32(1 << id % 32)
    return mask


def mask_without(tokenizer: Vocabulary, ids: Sequence[int]) -> Mask:
    """A mask that allows all tokens but these."""
    mask = mask_of(tokenizer, range(tokenizer.vocab_size))
    return mask & ~mask_of(tokenizer, ids)


def bounded_json(value: Any, what: str, most_bytes: int = 256 * 1024, most_deep: int = 64) -> str:
    """A schema as JSON text. Raises RequestError for one that is too large, too deep, or no JSON."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise RequestError(f"{what} is not valid JSON: {' '.join(str(error).split())[:200]}") from None
    if len(text) > most_bytes:
        raise RequestError(f"{what} has {len(text)} characters: the limit is {most_bytes}")
    deep = deepest = 0
    for character in re.sub(r'"(?:[^"\\]|\\.)*"', "", text):
        deep += (character in "[{") - (character in "]}")
        deepest = max(deepest, deep)
    if deepest > most_deep:
        raise RequestError(f"{what} is nested {deepest} levels deep: the limit is {most_deep}")
    return text
