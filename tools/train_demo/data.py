"""Training text: windows of books, and chats that the teacher generates. A part of each is held out.

Writes `books-*.npy` and `chats-*.npz` in the folder, once; the same seed gives the same files.
"""

from __future__ import annotations

import contextlib
import json
import lzma
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shoestring.checkpoint.text.chat_template import ChatTemplate
from shoestring.checkpoint.text.tokenizer import Tokenizer
from shoestring.errors import CheckpointError
from shoestring.runtime.loading import load
from shoestring.runtime.model import Model
from shoestring.samples.smollm_as_llama4 import ensure_demo
from train_demo.prompts import prompts

Ids = npt.NDArray[np.uint16]
Order = npt.NDArray[np.int64]

END = 2  # <|im_end|>
LONGEST_ANSWER = 192
BATCH = 192
#: Maximum tokens of a question with its answer, and number of parallel requests.
CONTEXT, AT_ONCE = 512, 32
#: Temperatures of the chats, close to greedy decoding. At 1 the small teacher writes nonsense.
TEMPERATURES = (0.4, 0.6, 0.8)
#: Characters to skip at the start of a book (titles, contents), and maximum characters to use.
_SKIPPED, _READ, _READ_HELD_OUT = 4_000, 12_000, 12_000
#: Number of words that chats are about.
_WORDS = 5_000
#: Every such book is held out.
_HELD_OUT_EVERY = 10


@dataclass(frozen=True)
class Chats:
    """All conversations, concatenated; `answered` marks the teacher's tokens."""

    tokens: Ids
    answered: npt.NDArray[np.bool_]
    starts: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Lesson:
    """The training data of a stage: `batch` of the windows [windows, T] per step, in this order."""

    windows: Ids
    order: Order
    batch: int
    steps: int

    def at(self, step: int) -> Ids:
        """The windows of a step, [batch, T]."""
        return self.windows[self.order[step * self.batch : (step + 1) * self.batch]]


def books(folder: Path, corpus: Path, tokenizer: Tokenizer, held_out: bool, most: int) -> Ids:
    """At least `most` tokens of books, as whole excerpts in a fixed order; cached in `folder`.

    Raises CheckpointError if the corpus has no books.
    """
    path = folder / f"books-{'held-out' if held_out else 'trained'}-{most}.npy"
    if path.exists():
        return np.asarray(np.load(path))
    parts: list[list[int]] = []
    total = 0
    for text in _excerpts(corpus, held_out):
        ids = tokenizer.encode(text)
        parts.append(ids)
        total += len(ids)
        if total >= most:
            break
    if not parts:
        raise CheckpointError(f"{corpus} has no books-*.jsonl.xz: give a folder of books with --corpus")
    tokens = np.concatenate([np.asarray(p, dtype=np.uint16) for p in parts])
    np.save(path, tokens)
    return tokens


def _excerpts(corpus: Path, held_out: bool) -> Iterator[str]:
    """An excerpt of every book, alternating between files; every tenth book is held out."""
    with contextlib.ExitStack() as stack:
        paths = sorted(corpus.glob("books-*.jsonl.xz"))
        files = [stack.enter_context(lzma.open(path, "rt", encoding="utf-8")) for path in paths]
        number = 0
        while files:
            for file in list(files):
                line = file.readline()
                if not line:
                    files.remove(file)
                    continue
                number += 1
                if (number % _HELD_OUT_EVERY == 0) == held_out:
                    size = _READ_HELD_OUT if held_out else _READ
                    yield json.loads(line)["text"][_SKIPPED : _SKIPPED + size]


def write_chats(
    folder: Path,
    template: ChatTemplate,
    words: Sequence[str],
    seed: int,
    held_out: bool,
    count: int,
    report: Callable[[str], None],
) -> Chats:
    """Generate `count` conversations of one answer, in batches that are saved as they are complete.

    demo-llama4 answers, which computes the same as the teacher, with our engine: this is faster than torch, and the
    same on every machine.
    """
    name = "held-out" if held_out else "trained"
    prompt_ids = [
        list(template.render([{"role": "user", "content": text}], add_generation_prompt=True).token_ids)
        for text in islice(prompts(seed + held_out, held_out, words), count)
    ]
    batches = []
    model: Model | None = None
    for first in range(0, count, BATCH):
        path = folder / f"chats-{name}-{first}.npz"
        batch = prompt_ids[first : first + BATCH]
        if not path.exists():
            model = model or load(ensure_demo(), context=CONTEXT, parallel=AT_ONCE)
            started = time.perf_counter()
            answers = _answers(model, batch, seed * 1000 + first + held_out)
            _write_batch(path, batch, answers)
            speed = sum(map(len, answers)) / (time.perf_counter() - started)
            report(f"chats {name}: {first + len(batch)} of {count}, {speed:.0f} tokens/s")
        batches.append(np.load(path))
    tokens = np.concatenate([b["tokens"] for b in batches])
    answered = np.concatenate([b["answered"] for b in batches])
    lengths = np.concatenate([b["lengths"] for b in batches])
    return Chats(tokens, answered, np.concatenate([[0], np.cumsum(lengths)[:-1]]))


def _answers(model: Model, prompt_ids: list[list[int]], seed: int) -> list[list[int]]:
    """Generate an answer to each prompt, with its end token unless it was too long."""
    answers: list[list[int]] = [[] for _ in prompt_ids]
    for number, temperature in enumerate(TEMPERATURES):
        indices = range(number, len(prompt_ids), len(TEMPERATURES))
        pieces = model.generate(
            [prompt_ids[i] for i in indices],
            temperature=temperature, top_k=0, top_p=1.0, min_p=0.0, seed=seed + number, max_tokens=LONGEST_ANSWER,
        )  # fmt: skip
        for piece in pieces:
            answer = answers[indices[piece.index]]
            answer += [token.id for token in piece.tokens if token.id != END]
            if piece.finish_reason == "stop":
                answer.append(END)
    return answers


def _write_batch(path: Path, prompt_ids: list[list[int]], answers: list[list[int]]) -> None:
    chats = [a + b for a, b in zip(prompt_ids, answers, strict=True)]
    marks = [[False] * len(a) + [True] * len(b) for a, b in zip(prompt_ids, answers, strict=True)]
    temporary = path.with_name("." + path.name)
    np.savez(
        temporary,
        tokens=np.concatenate(chats).astype(np.uint16),
        answered=np.concatenate(marks).astype(np.bool_),
        lengths=np.asarray([len(chat) for chat in chats], dtype=np.int64),
    )
    temporary.rename(path)


def whole_words(tokenizer: Tokenizer) -> list[str]:
    """Common words of four or more lower-case letters that are one token each, in the order of their ids."""
    pieces = (tokenizer.decode([i]) for i in range(tokenizer.vocab_size))
    return [piece[1:] for piece in pieces if re.fullmatch(" [a-z]{4,}", piece)][:_WORDS]


def windows(tokens: Ids, length: int) -> Ids:
    """Cut tokens into [windows, length], without an incomplete window at the end."""
    return tokens[: len(tokens) // length * length].reshape(-1, length)


def mixed(books_count: int, chats_count: int, chats_of_eight: int, count: int, seed: int) -> Order:
    """An order of `count` windows (numbered books first, then chats), of which `chats_of_eight` in eight are chats.

    Both kinds come in random order, with a new order each time all of a kind has been used.
    """
    chance = np.random.default_rng(seed)

    def endless(first: int, size: int, length: int) -> Order:
        rounds = max(1, -(-length // size))
        return first + np.concatenate([chance.permutation(size) for _ in range(rounds)])[:length]

    turn = np.arange(count + 1) * chats_of_eight // 8
    is_chat = np.diff(turn) > 0
    order = np.empty(count, dtype=np.int64)
    order[~is_chat] = endless(0, books_count, count - turn[-1])
    order[is_chat] = endless(books_count, chats_count, turn[-1])
    return order


def shortened(order: Order, parts: int, seed: int) -> Order:
    """The order for windows that are `parts` times shorter; shuffles neighbours."""
    chance = np.random.default_rng(seed)
    groups = [(parts * order[i : i + 8, None] + np.arange(parts)).reshape(-1) for i in range(0, len(order), 8)]
    return np.concatenate([chance.permutation(group) for group in groups]) if groups else order
