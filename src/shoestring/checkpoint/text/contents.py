"""Contents: what a file says about its tokenizer, checked so that building it can neither fail nor grow.

The `tokenizers` library panics on some of what it reads, and some of it ends the process. So both readers,
tokenizer_json.py and tokenizer_gguf.py, end in `checked`, and the library gets what has passed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shoestring.checkpoint.text.words import Words
from shoestring.errors import TokenizerError
from shoestring.printable import shortened

#: The published vocabularies have 248,077 and 202,048 tokens of at most 128 bytes.
MOST_TOKENS = 1 << 20
MOST_ADDED = 1 << 14
MOST_CHARACTERS = 1024
#: Characters of all added tokens; Llama 4's 2,048 have 60,000.
MOST_ADDED_CHARACTERS = 1 << 18

Fail = Callable[[str], TokenizerError]


@dataclass(frozen=True)
class AddedToken:
    """A token outside the BPE vocabulary. `special`: `decode` can skip it."""

    id: int
    text: str
    special: bool
    strip_left: bool = False
    strip_right: bool = False


@dataclass(frozen=True)
class Contents:
    """The parts of a byte-level BPE tokenizer.

    vocab: id by token, in byte characters. merges: pairs of tokens, first come first. nfc: whether text is normalised.
    vocab_size: larger ids have no text. template_tokens: texts by the names that chat templates use.
    """

    vocab: Mapping[str, int]
    merges: Sequence[tuple[str, str]]
    #: take a word that is a token whole, without merges
    ignore_merges: bool
    nfc: bool
    words: Words
    added: Sequence[AddedToken]
    vocab_size: int
    bos: int | None = None
    eos: frozenset[int] = frozenset()
    pad: int | None = None
    add_bos: bool = False
    template_tokens: Mapping[str, str] = field(default_factory=dict)


def checked(contents: Contents, fail: Fail) -> Contents:
    """Returns `contents`. Raises what `fail` makes of a fault: ids, sizes, merges without their tokens."""
    vocab, added = contents.vocab, contents.added
    if not vocab:
        raise fail("its vocabulary is empty")
    if len(added) > MOST_ADDED:
        raise fail(f"it has {len(added):,} added tokens: the limit is {MOST_ADDED:,}")
    if sum(len(token.text) for token in added) > MOST_ADDED_CHARACTERS:
        raise fail(f"its added tokens have more than {MOST_ADDED_CHARACTERS:,} characters")
    for text, id in (*vocab.items(), *((token.text, token.id) for token in added)):
        if type(id) is not int or not 0 <= id < MOST_TOKENS:
            raise fail(f"token {_shown(text)} has the id {_shown(id)}: choose one from 0 to {MOST_TOKENS - 1:,}")
        if len(text) > MOST_CHARACTERS:
            raise fail(f"token {id} has {len(text):,} characters: the limit is {MOST_CHARACTERS:,}")
    if len(set(vocab.values())) != len(vocab):
        raise fail("two tokens of its vocabulary have one id")
    for token in added:
        if vocab.get(token.text, token.id) != token.id:
            raise fail(f"added token {_shown(token.text)} has the id {token.id}, in the vocabulary {vocab[token.text]}")
    if len(contents.merges) > MOST_TOKENS:
        raise fail(f"it has {len(contents.merges):,} merges: the limit is {MOST_TOKENS:,}")
    for left, right in contents.merges:
        if not left or not right or left not in vocab or right not in vocab or left + right not in vocab:
            raise fail(
                f"its tokens and merges do not match: {_shown(left)} and {_shown(right)} are not two tokens "
                "that form a third"
            )
    for id in (*contents.eos, *((contents.bos,) if contents.bos is not None else ())):
        if not 0 <= id < contents.vocab_size:
            raise fail(f"bos or eos id {_shown(id)} is outside its vocabulary of {contents.vocab_size}")
    return contents


def _shown(value: Any) -> str:
    return shortened(repr(value), 80)


def one_line(error: BaseException) -> str:
    return shortened(" ".join(str(error).split()), 300) or type(error).__name__
