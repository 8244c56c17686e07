"""What stands in a prompt where a picture or a video was: markers, text, and the rows that the tower's output fills.

Markers and rows are added tokens by their names. Text is text: a user who types a marker's name gets its letters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Piece:
    """count: how often a row's token stands here; 1 for markers and texts."""

    kind: Literal["marker", "text", "rows"]
    text: str
    count: int = 1


def marker(name: str) -> Piece:
    return Piece("marker", name)


def written(pieces: Iterable[Piece]) -> str:
    """The pieces as one text, as the reference's processors write them."""
    return "".join(piece.text * piece.count for piece in pieces)


def row_count(pieces: Iterable[Piece]) -> int:
    """Rows that the tower fills."""
    return sum(piece.count for piece in pieces if piece.kind == "rows")


def timestamp_tokens(text: str) -> int:
    """Tokens of a timestamp like "<12.3 seconds>" in Qwen 3.5's vocabulary: one a character, " seconds" one."""
    return len(text.replace(" seconds", "s"))


def token_count(pieces: Iterable[Piece], tokens_of: Callable[[str], int]) -> int:
    """All tokens. tokens_of: the tokens of a text in the model's vocabulary."""
    return sum(tokens_of(piece.text) if piece.kind == "text" else piece.count for piece in pieces)
