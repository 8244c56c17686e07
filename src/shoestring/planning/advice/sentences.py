"""A printed sentence, and the findings that it states: one record for each thing that it says about a model.

Reports print no other sentences. Two sentences of one report never state different findings on one subject, because
each finding has one function that computes it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What a sentence says about a model: `verdict` in a word or two, `figure` as printed; "" if there is none.

    `model` is a candidate's id, or "" for the report as a whole.
    """

    model: str
    subject: str
    verdict: str
    figure: str = ""


@dataclass(frozen=True)
class Sentence:
    """A sentence, its findings, and the ids of the rows behind it."""

    text: str
    findings: tuple[Finding, ...]
    rows: tuple[str, ...] = ()


def sentence(text: str, *findings: Finding, rows: tuple[str, ...] = ()) -> Sentence:
    """`text` with an upper-case beginning and a full stop."""
    return Sentence(text[:1].upper() + text[1:] + "." * (not text.endswith((".", "!", "?"))), findings, rows)
