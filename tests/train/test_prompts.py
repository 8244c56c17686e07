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

from shoestring import demo
from shoestring.checkpoint.gguf import open_gguf
from shoestring.checkpoint.tokenizer import Tokenizer
from shoestring.errors import CheckpointError
from shoestring.train.data import books, mixed, windows
from shoestring.train.prompts import prompts
from shoestring.train.questions import QUESTIONS


def test_forty_questions_of_every_kind() -> None:
    assert len(QUESTIONS) == len({question.text for question in QUESTIONS}) == 40
    assert {q.kind for q in QUESTIONS} == {"fact", "arithmetic", "rewriting", "story", "list", "explanation"}
    assert all(bool(q.accepted) == (q.kind in ("fact", "arithmetic")) for q in QUESTIONS)


def test_prompts_are_apart_and_repeatable() -> None:
    trained, held_out = (set(islice(prompts(5, part), 3000)) for part in (False, True))
    assert not trained & held_out
    assert not (trained | held_out) & {question.text for question in QUESTIONS}
    assert list(islice(prompts(5, False), 50)) == list(islice(prompts(5, False), 50))
    assert list(islice(prompts(5, False), 50)) != list(islice(prompts(6, False), 50))
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
    whole = order[: count // 8 * 8].reshape(-1, 8)
    assert ((whole >= books).sum(axis=1) == of_eight).all()
    assert np.array_equal(order, mixed(books, chats, of_eight, count, seed))


def test_windows_leave_out_the_rest() -> None:
    cut = windows(np.arange(10, dtype=np.uint16), 4)
    assert cut.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    try:
        return Tokenizer.from_checkpoint(open_gguf(demo.source_path()))
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
