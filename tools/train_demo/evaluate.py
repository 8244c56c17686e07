"""Evaluate the student: perplexities compared with the teacher's, on held-out text.

Computes the figures of the model card that need the model's internals; `bench/demo_qwen3_5.py` has those of the
finished file.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from shoestring.samples.demo_qwen3_5.layout import ACTIVE, EXPERTS, FULL_LAYERS
from train_demo import student, teacher
from train_demo.data import Chats, Ids, windows
from train_demo.student import Parameters
from train_demo.teacher import Teacher, as_tokens, rms_norm, rotary

Hidden = Callable[[Tensor], Tensor]
"""Tokens [B, T] → input of the head, [B, T, H]."""

SHORT, LONG = 256, 1024
_BATCH_TOKENS = 2048


@dataclass(frozen=True)
class Measures:
    """Perplexities, and the smallest share of a layer's choices that any expert gets."""

    teacher_books: float
    books: float
    teacher_chats: float
    chats: float
    teacher_far: float
    far: float
    books_shuffled: float
    second_half: float
    second_half_cleared: float
    smallest_share: float
    book_tokens: int
    chat_tokens: int

    def rows(self) -> list[tuple[str, float, float, float, str]]:
        """(name, figure, reference figure, ratio or share, aim)."""

        def row(what: str, value: float, against: float, aim: str) -> tuple[str, float, float, float, str]:
            return what, value, against, value / against, aim

        return [
            row(f"books, windows of {SHORT}", self.books, self.teacher_books, "<= 1.15"),
            row("chats, answers alone", self.chats, self.teacher_chats, "<= 1.25"),
            row(f"books, places {SHORT} to {LONG}", self.far, self.teacher_far, "<= 1.20"),
            row("books, router rows shuffled", self.books_shuffled, self.books, ">= 1.05"),
            row("books, state cleared in the middle", self.second_half_cleared, self.second_half, ">= 1.02"),
            ("smallest share of an expert", self.smallest_share, 1.0, self.smallest_share, ">= 0.05"),
        ]

    def lines(self) -> list[str]:
        """The figures as a table, with misses marked."""
        lines = [f"{'':36}{'student':>9}{'against':>9}{'ratio':>8}  aim"]
        for what, value, against, ratio, aim in self.rows():
            sign, aim = aim.split()
            reached = ratio <= float(aim) if sign == "<=" else ratio >= float(aim)
            verdict = "" if reached else "  MISSED"
            lines.append(f"{what:36}{value:9.3f}{against:9.3f}{ratio:8.3f}  {aim}{verdict}")
        lines.append(f"perplexity of {self.book_tokens} tokens of unseen books, {self.chat_tokens} of unseen answers")
        return lines


def evaluate(layers: list[Parameters], taught_by: Teacher, book_tokens: Ids, chats: Chats) -> Measures:
    """Compute all figures in float32; takes one to five minutes on two cores."""

    def student_hidden(tokens: Tensor) -> Tensor:
        return hidden(layers, taught_by, tokens)

    def teacher_hidden(tokens: Tensor) -> Tensor:
        return teacher.hidden(taught_by, tokens)

    device = taught_by.embedding.device
    short, long = as_tokens(windows(book_tokens, SHORT), device), as_tokens(windows(book_tokens, LONG), device)
    talk = as_tokens(windows(chats.tokens, SHORT), device)
    answered = torch.tensor(windows_of(chats.answered), device=device)
    everything, later = torch.ones_like(short, dtype=torch.bool), torch.zeros_like(short, dtype=torch.bool)
    later[:, SHORT // 2 :] = True
    far = torch.zeros_like(long, dtype=torch.bool)
    far[:, SHORT:] = True

    def measured(of: Hidden, tokens: Tensor, scored: Tensor) -> float:
        return perplexity(of, taught_by.embedding, tokens, scored)

    return Measures(
        teacher_books=measured(teacher_hidden, short, everything),
        books=measured(student_hidden, short, everything),
        teacher_chats=measured(teacher_hidden, talk, answered),
        chats=measured(student_hidden, talk, answered),
        teacher_far=measured(teacher_hidden, long, far),
        far=measured(student_hidden, long, far),
        books_shuffled=measured(lambda t: hidden(shuffled(layers), taught_by, t), short, everything),
        second_half=measured(student_hidden, short, later),
        second_half_cleared=measured(lambda t: hidden(layers, taught_by, t, SHORT // 2), short, later),
        smallest_share=min(min(shares) for shares in expert_shares(layers, taught_by, short[:8])),
        book_tokens=short.numel(),
        chat_tokens=int(answered.sum()),
    )


def windows_of(marks: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    return marks[: len(marks) // SHORT * SHORT].reshape(-1, SHORT)


@torch.no_grad()
def perplexity(of: Hidden, embedding: Tensor, tokens: Tensor, scored: Tensor) -> float:
    """Perplexity of the tokens [B, T] that `scored` marks, given the tokens before them; the first is never scored."""
    rows = max(1, _BATCH_TOKENS // tokens.shape[1])
    total, count = 0.0, 0
    for batch, marks in zip(tokens.split(rows), scored.split(rows), strict=True):
        after = of(batch)[:, :-1][marks[:, 1:]]
        targets = batch[:, 1:][marks[:, 1:]]
        for x, ids in zip(after.split(512), targets.split(512), strict=True):
            total += float(F.cross_entropy(F.linear(x, embedding), ids, reduction="sum"))
        count += len(targets)
    return math.exp(total / count)


@torch.no_grad()
def hidden(layers: list[Parameters], taught_by: Teacher, tokens: Tensor, cleared_at: int | None = None) -> Tensor:
    """The student's hidden states after the last norm; `cleared_at`: where to clear the delta-net states."""
    cos, sin = rotary(tokens.shape[1], tokens.device)
    x = taught_by.embedding[tokens]
    for i, p in enumerate(layers):
        h = rms_norm(x, p["input_norm"])
        if i in FULL_LAYERS:
            x = x + student.attention(p, h, cos, sin)
        elif cleared_at is None:
            x = x + student.delta_net(p, h)
        else:
            x = x + torch.cat([student.delta_net(p, part) for part in (h[:, :cleared_at], h[:, cleared_at:])], 1)
        x = x + student.mixture(p, rms_norm(x, p["post_norm"]))[0]
    return rms_norm(x, taught_by.norm)


def shuffled(layers: list[Parameters]) -> list[Parameters]:
    """Rotate the rows of every router by one or more, so that all tokens get other experts."""
    return [{**p, "router": p["router"].roll(1 + i % (EXPERTS - 1), 0)} for i, p in enumerate(layers)]


@torch.no_grad()
def expert_shares(layers: list[Parameters], taught_by: Teacher, tokens: Tensor) -> list[list[float]]:
    """The share of each expert in the choices of each layer's router."""
    cos, sin = rotary(tokens.shape[1], tokens.device)
    x = taught_by.embedding[tokens]
    shares = []
    for i, p in enumerate(layers):
        h = rms_norm(x, p["input_norm"])
        middle = x + (student.attention(p, h, cos, sin) if i in FULL_LAYERS else student.delta_net(p, h))
        chosen = F.linear(rms_norm(middle, p["post_norm"]), p["router"]).topk(ACTIVE, -1).indices
        counts = torch.bincount(chosen.reshape(-1), minlength=EXPERTS)
        shares.append(sorted((counts / counts.sum()).tolist()))
        x, _ = student.layer(p, x, i in FULL_LAYERS, cos, sin)
    return shares


def read_held_out(folder: Path) -> tuple[Ids, Chats]:
    """Read the held-out text that `stages.prepare` wrote."""
    (books_path,) = sorted(folder.glob("books-held-out-*.npy"))[:1]
    batches = [np.load(path) for path in sorted(folder.glob("chats-held-out-*.npz"))]
    starts = np.concatenate([[0], np.cumsum(np.concatenate([b["lengths"] for b in batches]))[:-1]])
    tokens, answered = (np.concatenate([b[name] for b in batches]) for name in ("tokens", "answered"))
    return np.load(books_path), Chats(tokens, answered, starts)
