"""Encode text of any length with bounded memory, a short hold of the interpreter lock, and an end at any moment.

The library's `encode` keeps the interpreter lock and takes about 400 bytes of memory a byte of text. `encode_batch`
releases the lock, so we give it windows. A window ends somewhere inside a word: we keep all its words but the last two
and begin the next window there. That gives the tokens of the whole text because the patterns (words.py) look at most
one word ahead, and normalisation (NFC) never joins characters of two words.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import tokenizers
from tokenizers import models, normalizers

from shoestring.checkpoint.text.contents import Contents, one_line
from shoestring.checkpoint.text.foreign_words import ForeignWords
from shoestring.checkpoint.text.text_work import proceed
from shoestring.checkpoint.text.words import byte_level, pre_tokenizer
from shoestring.errors import RequestError, ShoestringError, TokenizerError

# The library would start a thread for every processor, beside those that compute the answers.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

#: Characters of a window: 15 to 90 ms of work.
WINDOW = 1 << 16
#: Bytes of a word. Its encoding takes 140 times as much memory.
MOST_WORD = 512 << 10

_FAILED = "this text cannot be tokenized"


class Encoder:
    """Byte-pair encoding of plain text; no added token is found in it."""

    def __init__(self, contents: Contents, source: str) -> None:
        """Raises TokenizerError."""
        with _panics(TokenizerError, f"{source} cannot be used"):
            model = models.BPE(
                vocab=dict(contents.vocab), merges=list(contents.merges), ignore_merges=contents.ignore_merges
            )
            self._normalizer = normalizers.NFC() if contents.nfc else None
            self._of_words = self._tokenizer(model, byte_level())
            if contents.words.are_local:
                self._foreign = None
                self._of_texts = self._tokenizer(model, pre_tokenizer(contents.words))
                # It gives each word the same token, which takes little time and memory.
                one = models.WordLevel(vocab={"?": 0}, unk_token="?")
                self._cutter = self._tokenizer(one, pre_tokenizer(contents.words, as_bytes=False))
            else:
                self._foreign = ForeignWords(contents.words, source)

    def _tokenizer(self, model: Any, pre_tokenizer: Any) -> tokenizers.Tokenizer:
        """The library's tokenizer around a model, which several may share."""
        built = tokenizers.Tokenizer(model)
        built.pre_tokenizer = pre_tokenizer
        if self._normalizer is not None:
            built.normalizer = self._normalizer
        return built

    def token(self, id: int) -> str | None:
        token: str | None = self._of_words.id_to_token(id)
        return token

    def encode(self, pieces: Iterable[str | int], window: int = WINDOW) -> Iterator[list[int]]:
        """Ids of a text in pieces, which are joined; an int is the id of an added token, which separates texts.

        Raises RequestError for a word of more than MOST_WORD bytes, and as `proceed` does.
        """
        if self._foreign is not None:
            yield from self._encode_foreign(pieces, self._foreign)
            return
        text, size = "", window
        for piece in pieces:
            if isinstance(piece, int):
                if text:
                    yield self._last(text)
                text, size = "", window
                yield [piece]
                continue
            text += piece
            while len(text) > size:
                proceed()
                first = text[:size]
                ids, end = self._window(first) if size == window else self._long_words(first)
                if end:
                    yield ids
                    text, size = text[end:], window
                    continue
                if len(first.encode()) > MOST_WORD:
                    raise RequestError(
                        f"a word has more than {MOST_WORD >> 10} KiB without a place to cut it: insert spaces"
                    )
                size += -(-size // 8)
        if text:
            yield self._last(text)

    def _window(self, text: str) -> tuple[list[int], int]:
        """Ids of all words but the last two, and the number of their characters; 0 if there are no more words."""
        with _panics(RequestError, _FAILED):
            (encoding,) = self._of_texts.encode_batch([text], add_special_tokens=False)
        last = encoding.token_to_word(len(encoding) - 1) if len(encoding) else None
        tokens = encoding.word_to_tokens(last - 1) if last is not None and last >= 2 else None
        if tokens is None:
            return [], 0
        return encoding.ids[: tokens[0]], _start(encoding, tokens[0])

    def _long_words(self, text: str) -> tuple[list[int], int]:
        """As `_window`, for a text that has few words: finds them first, because they may be only the last two."""
        with _panics(RequestError, _FAILED):
            (cut,) = self._cutter.encode_batch([text], add_special_tokens=False)
            # Only where a word begins is exact: of characters that NFC joins, the first counts.
            starts = [_start(cut, number) for number in range(len(cut) - 1)]
            del cut
        words = [text[start:end] for start, end in pairwise(starts)]
        return (self._ids_of(words), starts[-1]) if words else ([], 0)

    def _last(self, text: str) -> list[int]:
        """Ids of a text that ends here."""
        proceed()
        with _panics(RequestError, _FAILED):
            (encoding,) = self._of_texts.encode_batch_fast([text], add_special_tokens=False)
        ids: list[int] = encoding.ids
        return ids

    def _ids_of(self, words: list[str]) -> list[int]:
        proceed()
        with _panics(RequestError, _FAILED):
            (encoding,) = self._of_words.encode_batch_fast([words], is_pretokenized=True, add_special_tokens=False)
        ids: list[int] = encoding.ids
        return ids

    def _encode_foreign(self, pieces: Iterable[str | int], foreign: ForeignWords) -> Iterator[list[int]]:
        texts = _joined(pieces)
        if self._normalizer is not None:
            texts = [self._normalizer.normalize_str(text) if isinstance(text, str) else text for text in texts]
        words = iter(foreign.words([text for text in texts if isinstance(text, str)]))
        for text in texts:
            yield self._ids_of(next(words)) if isinstance(text, str) else [text]


def _start(encoding: tokenizers.Encoding, token: int) -> int:
    span = encoding.token_to_chars(token)
    assert span is not None
    return span[0]


def plain(text: str) -> Iterator[str]:
    """The text in pieces. Half of a surrogate pair, which UTF-8 cannot encode, becomes U+FFFD."""
    start = 0
    while start < len(text):
        end = start + WINDOW
        if end < len(text) and "\ud800" <= text[end - 1] <= "\udbff":
            end += 1  # its other half may follow
        yield encodable(text[start:end])
        start = end


def encodable(text: str) -> str:
    """The text with joined surrogate pairs, and U+FFFD for half ones. A copy only if there are any."""
    try:
        for start in range(0, len(text), WINDOW):
            text[start : start + WINDOW].encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _joined(pieces: Iterable[str | int]) -> list[str | int]:
    """Adjacent texts joined."""
    joined: list[str | int] = []
    texts: list[str] = []
    for piece in (*pieces, -1):
        if isinstance(piece, str):
            texts.append(piece)
            continue
        if texts:
            joined.append("".join(texts))
            texts.clear()
        joined.append(piece)
    return joined[:-1]


@contextmanager
def _panics(kind: type[ShoestringError], what: str) -> Iterator[None]:
    """Turn the library's errors into ours. Its panics are no Exception."""
    try:
        yield
    except (ShoestringError, MemoryError):
        raise
    except Exception as error:
        raise kind(f"{what}: {one_line(error)}") from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise kind(f"{what}: {one_line(error)}") from None
