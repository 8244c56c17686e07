"""Tokens of one text by language: how much more a family's vocabulary takes than another, and what that costs."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Literal

from shoestring.catalogue.schema import Catalogue, Language
from shoestring.planning.advice import findings
from shoestring.planning.advice.sentences import Finding, Sentence, sentence
from shoestring.planning.assess import Assessment

Vocabulary = Literal["qwen3_5", "llama4", "qwen2_5"]

#: for costs: copies of the text
COPIES = 1000


@dataclass(frozen=True)
class Study:
    """Percent more (or, below 0, fewer) tokens that Qwen 3.5 takes than another vocabulary."""

    #: of all languages
    changes: dict[str, float]
    #: over the large languages: how many, in how many it takes fewer, and the extremes by name
    count: int
    fewer: int
    median: float
    least: tuple[str, float]
    most: tuple[str, float]


def study(against: Vocabulary, catalogue: Catalogue) -> Study:
    changes = {t.name: change(t, "qwen3_5", against) for t in catalogue.tokens.values()}
    large = {t.name: changes[t.name] for t in catalogue.tokens.values() if t.large}
    names = sorted(large, key=lambda name: large[name])
    return Study(
        changes, len(large), sum(c < 0 for c in large.values()), statistics.median(large.values()),
        (names[0], large[names[0]]), (names[-1], large[names[-1]]),
    )  # fmt: skip


def change(count: Language, one: Vocabulary, other: Vocabulary) -> float:
    """Percent more tokens that `one` takes."""
    return 100 * (float(getattr(count, one)) / float(getattr(count, other)) - 1)


def more(percent: float) -> str:
    """A change in words: "7.6 % more"."""
    return f"{abs(percent):.1f} % {'fewer' if percent < 0 else 'more'}"


def vocabulary(a: Assessment) -> Vocabulary:
    return "llama4" if a.candidate.config.family == "llama4" else "qwen3_5"


def price(a: Assessment) -> tuple[float, str] | None:
    """Dollars per million tokens, and where: the cheapest provider, else this machine; None if neither is known."""
    if a.cost.cheapest is not None:
        return a.cost.cheapest.usd_per_million, a.cost.cheapest.price.provider
    return (a.cost.usd_per_million, "this machine") if a.cost.usd_per_million is not None else None


@dataclass(frozen=True)
class LanguageLine:
    """One language for two models: tokens of the text, percent more on the left, dollars for COPIES copies."""

    count: Language
    tokens: tuple[int, int]
    change: float
    dollars: tuple[float | None, float | None]


def language_lines(left: Assessment, right: Assessment, catalogue: Catalogue) -> tuple[LanguageLine, ...]:
    """A line for each language, English first; () if both models have one vocabulary."""
    one, other = vocabulary(left), vocabulary(right)
    if one == other:
        return ()
    prices = [found[0] if (found := price(a)) is not None else None for a in (left, right)]
    lines = []
    for t in sorted(catalogue.tokens.values(), key=lambda t: (t.name != "English", not t.large, t.name)):
        tokens = (getattr(t, one), getattr(t, other))
        first, second = (COPIES * n / 1e6 * p if p is not None else None for n, p in zip(tokens, prices, strict=True))
        lines.append(LanguageLine(t, tokens, change(t, one, other), (first, second)))
    return tuple(lines)


def tokens_sentence(left: Assessment, right: Assessment, catalogue: Catalogue) -> Sentence | None:
    """What the vocabularies of two models mean for other languages; None if both models have one vocabulary."""
    if vocabulary(left) == vocabulary(right):
        return None
    qwen, llama = (left, right) if vocabulary(left) == "qwen3_5" else (right, left)
    s = study("llama4", catalogue)
    prices = [(a, found) for a in (left, right) if (found := price(a)) is not None]
    figure = Finding(qwen.candidate.id, f"tokens against {llama.candidate.id}", "median", more(s.median))
    text = (
        f"over the Universal Declaration of Human Rights in {s.count} large languages, {qwen.candidate.name} takes "
        f"{figure.figure} tokens than {llama.candidate.name} in the median, and fewer in {s.fewer}: from "
        f"{more(s.least[1])} ({s.least[0]}) to {more(s.most[1])} ({s.most[0]})"
    )
    if prices:
        paid = ", ".join(f"{a.candidate.name} {findings.dollars(usd)} at {where}" for a, (usd, where) in prices)
        text += f"; costs are of {COPIES:,} copies at the price of a million tokens: {paid}"
    return sentence(text, figure, rows=tuple(t.id for t in catalogue.tokens.values() if t.large))
