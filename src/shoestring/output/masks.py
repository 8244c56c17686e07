"""Masks: which tokens a grammar allows next, computed by llguidance on a checkpoint's vocabulary.

llguidance reads a vocabulary once per tokenizer (seconds for 248,000 tokens), and the result lives as long as the
tokenizer. A grammar is compiled once per request, within limits, and copied for each answer.
"""

from __future__ import annotations

import json
import re
import threading
import time
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from shoestring import bounded_json
from shoestring.bounded_json import BoundError
from shoestring.errors import RequestError
from shoestring.output.syntax import Vocabulary
from shoestring.output.trials import trial
from shoestring.output.trials.child import parser_limits
from shoestring.printable import shortened

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

Mask = npt.NDArray[np.uint32]

#: llguidance allows or forbids all tokens of this shape at once (a "slice") where a line may continue with any byte, or
#: with any byte except one of </parameter>. It compares the text of the pattern, so grammars.py uses this constant.
LINE = r"[^</>aemprt\n][^\n]*"
#: A model's logits may be wider than its tokenizer's vocabulary: the mask is longer and allows nothing there.
_SPARE_WORDS = 256
_MOST_REASON = 300
#: Maximum tokens that one sampled token can force.
_MOST_FORCED = 64

_views: weakref.WeakKeyDictionary[Vocabulary, LLTokenizer] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


class _Wrapped:
    """A tokenizer with the interface that llguidance needs."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, tokenizer: Vocabulary) -> None:
        self._tokenizer = weakref.ref(tokenizer)
        self.eos_token_id = min(tokenizer.eos_ids, default=0)
        self.tokens = [tokenizer.token_bytes(id) for id in range(tokenizer.vocab_size)]
        # Tokens that text never encodes to: grammars refer to them by number.
        self.special_token_ids = sorted(tokenizer.added_ids)

    def __call__(self, text: str | bytes) -> list[int]:
        tokenizer = self._tokenizer()
        assert tokenizer is not None
        return tokenizer.encode(text if isinstance(text, str) else text.decode("utf-8", "replace"))


def vocabulary_of(tokenizer: Vocabulary) -> LLTokenizer:
    """llguidance's view of a tokenizer, built on first use. Call it early so that the first request does not wait."""
    with _lock:
        view = _views.get(tokenizer)
        if view is None:
            from llguidance import LLTokenizer

            view = _views[tokenizer] = LLTokenizer(
                _Wrapped(tokenizer),  # type: ignore[arg-type]
                eos_token=sorted(tokenizer.eos_ids),
                slices=[*LLTokenizer.general_slices(), LINE],
            )
        return view


def compile_grammar(tokenizer: Vocabulary, grammar: str, what: str, *, until: float, plain: bool = False) -> Matcher:
    """A matcher at the start of the grammar.

    until: when to give up, in time.monotonic(). plain: it is known to compile fast; others are tried in a child first.
    Raises RequestError with the reason if `what` cannot be compiled, BusyError if it has to wait too long.
    """
    from llguidance import LLMatcher

    if time.monotonic() > until:
        raise RequestError(f"{what}: {trial.TOO_COMPLEX}")
    if not plain:
        error = trial.check(tokenizer, grammar, what, until)
        if error:
            raise RequestError(f"{what}: {_reason(error)}")
    matcher = LLMatcher(vocabulary_of(tokenizer), grammar, log_level=0, limits=parser_limits())
    start = Matcher(matcher, tokenizer)
    if not matcher.is_error():
        matcher.compute_bitmask()  # refuse what exceeds the limits at once, before any work
    if matcher.is_error():
        raise RequestError(f"{what}: {_reason(matcher.get_error())}")
    return start


def lark(text: str) -> str:
    """A Lark grammar in llguidance's JSON."""
    return json.dumps({"grammars": [{"lark_grammar": text}]})


def _reason(error: str) -> str:
    """An error of llguidance on one line, without its internal state and without the text of the grammar."""
    error = re.sub(r"<(state|backtrace|non-verbose/)>.*", "", error, flags=re.DOTALL)
    error = re.sub(r"\s+\d+ \| .*", "", error, flags=re.DOTALL)
    if "panic" in error:
        return trial.TOO_COMPLEX
    return shortened(" ".join(error.split()), _MOST_REASON) or "it cannot be compiled"


class Matcher:
    """The position of one answer in a grammar."""

    def __init__(self, matcher: LLMatcher, tokenizer: Vocabulary) -> None:
        self._matcher, self._tokenizer = matcher, tokenizer
        self._mask: Mask = np.zeros(mask_words(tokenizer), np.uint32)

    def copy(self) -> Matcher:
        """A matcher for another answer at the same position."""
        return Matcher(self._matcher.deep_copy(), self._tokenizer)

    @property
    def over(self) -> bool:
        """Whether only the end can follow."""
        return self._matcher.is_stopped() or self._matcher.is_error()

    def mask(self) -> Mask:
        """The tokens that may follow. Raises RequestError if the grammar exceeds its limits."""
        words = -(-self._tokenizer.vocab_size // 32)
        self._matcher.unsafe_compute_mask_ptr(self._mask.ctypes.data, 4 * words)
        if self._matcher.is_error():
            raise RequestError(f"the requested format: {_reason(self._matcher.get_error())}")
        return self._mask

    def consume(self, token: int) -> bool:
        """Advance by a token. Returns False if the grammar does not allow it."""
        return bool(self._matcher.consume_token(token))

    def consume_text(self, text: str) -> bool:
        """Advance by a text, however it is split into tokens. Returns False if the grammar does not allow it."""
        tokens = vocabulary_of(self._tokenizer).tokenize_str(text)
        return self._matcher.try_consume_tokens(tokens) == len(tokens)

    def forced(self) -> Sequence[int]:
        """Tokens that are each the only one the mask would allow at their position: sampling would give the same.

        (llguidance tokenizes forced bytes as the vocabulary does, in its masks too; a test compares the two.) The end
        of the answer is never forced.
        """
        tokens = self._matcher.compute_ff_tokens()
        ends = [n for n, token in enumerate(tokens) if token in self._tokenizer.eos_ids]
        return tokens[: min([_MOST_FORCED, *ends])]


def mask_words(tokenizer: Vocabulary) -> int:
    return -(-tokenizer.vocab_size // 32) + _SPARE_WORDS


def mask_of(tokenizer: Vocabulary, ids: Sequence[int] | frozenset[int]) -> Mask:
    """A mask that allows only these tokens."""
    mask = np.zeros(mask_words(tokenizer), np.uint32)
    for id in ids:
        mask[id // 32] |= np.uint32(1 << id % 32)
    return mask


def mask_without(tokenizer: Vocabulary, ids: Sequence[int]) -> Mask:
    """A mask that allows all tokens except these."""
    mask = mask_of(tokenizer, range(tokenizer.vocab_size))
    return mask & ~mask_of(tokenizer, ids)


def schema_text(value: Any, what: str, max_length: int = 256 * 1024, max_depth: int = 64) -> str:
    """A schema as JSON text. Raises RequestError if it is too long (in characters), too deep, or not JSON."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except RecursionError:
        raise RequestError(f"{what} is nested too deeply: the limit is {max_depth} levels") from None
    except (TypeError, ValueError) as error:
        raise RequestError(f"{what} is not valid JSON: {' '.join(str(error).split())[:200]}") from None
    if len(text) > max_length:
        raise RequestError(f"{what} has {len(text)} characters: the limit is {max_length}")
    try:
        bounded_json.check(text, depth=max_depth)
    except BoundError as error:
        raise RequestError(f"{what} is too complex: {error}") from None
    return text
