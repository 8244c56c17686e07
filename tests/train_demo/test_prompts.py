"""Text to learn from: nothing that judges the student is ever trained on."""

from __future__ import annotations

import json
import lzma
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.checkpoint.formats.gguf import open_gguf
from shoestring.checkpoint.text.tokenizer import Tokenizer
from shoestring.errors import CheckpointError
from shoestring.samples import smollm_as_llama4
from train_demo.data import books, mixed, shortened, whole_words, windows
from train_demo.prompts import SUBJECTS, prompts
from train_demo.questions import QUESTIONS


def test_forty_questions_of_every_kind() -> None:
    assert len(QUESTIONS) == len({question.text for question in QUESTIONS}) == 40
    assert {q.kind for q in QUESTIONS} == {"fact", "arithmetic", "rewriting", "story", "list", "explanation"}
    assert all(bool(q.accepted) == (q.kind in ("fact", "arithmetic")) for q in QUESTIONS)


def test_prompts_are_apart_and_repeatable() -> None:
    words = ["these", *SUBJECTS[:100], *(f"word{i}" for i in range(99))]  # a subject may be a word too

    def some(seed: int, held_out: bool, count: int = 50) -> list[str]:
        return list(islice(prompts(seed, held_out, words), count))

    trained, held_out = (set(some(5, part, 3000)) for part in (False, True))
    assert not trained & held_out
    assert not (trained | held_out) & {question.text for question in QUESTIONS}
    assert some(5, False) == some(5, False)
    assert some(5, False) != some(6, False)
    assert not any("{}" in text or "  " in text for text in trained | held_out)


@given(
    books=st.integers(1, 40), chats=st.integers(1, 40), of_eight=st.integers(1, 7), count=st.integers(1, 200),
    seed=st.integers(0, 9),
)  # fmt: skip
def test_the_mix_uses_all_of_a_kind_before_any_again(
    books: int, chats: int, of_eight: int, count: int, seed: int
) -> None:
    order = mixed(books, chats, of_eight, count, seed)
    assert len(order) == count
    for kind, size in ((order[order < books], books), (order[order >= books], chats)):
        times = np.bincount(kind - kind.min(initial=0), minlength=1)
        assert kind.max(initial=0) < books + chats
        assert times.max(initial=0) <= -(-len(kind) // size)
    for first in range(count - 7):  # spread: any eight in a row
        assert (order[first : first + 8] >= books).sum() == of_eight
    assert np.array_equal(order, mixed(books, chats, of_eight, count, seed))


@given(order=st.permutations(range(20)), parts=st.integers(1, 4), taken=st.integers(0, 20))
def test_shorter_windows_are_the_same_text(order: list[int], parts: int, taken: int) -> None:
    long = np.asarray(order[:taken], dtype=np.int64)
    short = shortened(long, parts, 1)
    assert sorted(short // parts) == sorted(np.repeat(long, parts))
    assert len(set(short)) == len(short)
    assert np.array_equal(short[: 8 * parts], shortened(long[:8], parts, 1))  # more steps begin alike


def test_words_are_whole_and_common(tokenizer: Tokenizer) -> None:
    words = whole_words(tokenizer)
    assert len(set(words)) == 5000
    assert {"water", "house", "friend"} <= set(words)
    assert all(len(tokenizer.encode(" " + word)) == 1 for word in words)


def test_windows_leave_out_the_rest() -> None:
    cut = windows(np.arange(10, dtype=np.uint16), 4)
    assert cut.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    try:
        return Tokenizer.from_checkpoint(open_gguf(smollm_as_llama4.source_path()))
    except CheckpointError as error:
        pytest.skip(str(error))


def test_every_tenth_book_is_held_out(tmp_path: Path, tokenizer: Tokenizer) -> None:
    with lzma.open(tmp_path / "books-a.jsonl.xz", "wt", encoding="utf-8") as file:
        for number in range(1, 31):
            file.write(json.dumps({"text": "front " * 700 + f"book{number} " * 2000}) + "\n")
    trained = tokenizer.decode(books(tmp_path, tmp_path, tokenizer, False, 10**6).tolist())
    held_out = tokenizer.decode(books(tmp_path, tmp_path, tokenizer, True, 10**6).tolist())
    for number in range(1, 31):
        assert (f"book{number} " in held_out) == (number % 10 == 0)
        assert (f"book{number} " in trained) == (number % 10 != 0)
    with pytest.raises(CheckpointError, match="has no books"):
        books(tmp_path, tmp_path / "empty", tokenizer, True, 99)
