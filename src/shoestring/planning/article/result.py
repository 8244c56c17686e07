"""What a check finds, and the two models that the article compares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shoestring.catalogue.schema import Catalogue
from shoestring.planning.candidates.candidates import Candidate, from_row

QWEN, SCOUT = "qwen3.5-397b-a17b", "llama-4-scout"
NAMES = {"qwen": QWEN, "scout": SCOUT}
Outcome = Literal["holds", "differs", "in part", "out of date"]


@dataclass(frozen=True)
class Result:
    """The outcome, the figure in a sentence, and the ids of the rows behind it."""

    outcome: Outcome
    text: str
    rows: tuple[str, ...]


def model(catalogue: Catalogue, name: str) -> Candidate:
    return from_row(catalogue.models[name], catalogue)
