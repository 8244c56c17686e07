"""Models are compared by the benchmarks that both have, and by nothing else."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.catalogue.load import builtin_catalogue
from shoestring.catalogue.schema import Benchmark, Catalogue, Score
from shoestring.planning.advice.scores import pairing, places

MODELS = ("a", "b", "c", "d")
NAMES = tuple(f"bench{i}" for i in range(5))
PROVENANCE = {"source": "article", "date": "2026-01-01", "kind": "independent"}

#: (model, benchmark) → (score, whether it compares)
Table = dict[tuple[str, str], tuple[int, bool]]
tables = st.dictionaries(
    st.tuples(st.sampled_from(MODELS), st.sampled_from(NAMES)), st.tuples(st.integers(0, 100), st.booleans())
)


def catalogue(table: Table) -> Catalogue:
    scores = [
        Score(
            f"{m}-{b}", model=m, benchmark=b, value=float(v), incomparable="" if fit else "another window", **PROVENANCE
        )
        for (m, b), (v, fit) in table.items()
    ]
    benchmarks = {b: Benchmark(b, title=b, area="text", **PROVENANCE) for b in (*NAMES, "new")}
    return replace(builtin_catalogue(), scores={s.id: s for s in scores}, benchmarks=benchmarks)


@given(tables, st.sampled_from(MODELS), st.integers(0, 100))
def test_a_benchmark_of_one_model_changes_no_rank(table: Table, model: str, value: int) -> None:
    before = places(MODELS, NAMES, catalogue(table))
    after = places(MODELS, (*NAMES, "new"), catalogue(table | {(model, "new"): (value, True)}))
    assert before == after


@given(tables, st.sampled_from(MODELS), st.sampled_from(NAMES), st.integers(0, 100))
def test_a_score_that_does_not_compare_changes_nothing(table: Table, model: str, name: str, value: int) -> None:
    without = {key: cell for key, cell in table.items() if key != (model, name)}
    assert places(MODELS, NAMES, catalogue(without)) == places(
        MODELS, NAMES, catalogue(without | {(model, name): (value, False)})
    )


@given(tables)
def test_without_a_shared_benchmark_there_is_no_order(table: Table) -> None:
    known = catalogue(table)
    ranks = places(MODELS, NAMES, known)
    for a, b in itertools.combinations(ranks, 2):
        assert pairing(a, b, NAMES, known) is not None
    assert len(ranks) != 1
    if all(pairing(a, b, NAMES, known) is None for a, b in itertools.combinations(MODELS, 2)):
        assert ranks == {}


@given(tables)
def test_ranks_follow_pairwise_wins(table: Table) -> None:
    """A better rank wins every comparison with a worse one; models of one rank tie, or stand in a cycle."""
    known = catalogue(table)
    ranks = places(MODELS, NAMES, known)
    for a, b in itertools.permutations(ranks, 2):
        pair = pairing(a, b, NAMES, known)
        assert pair is not None
        if ranks[a].rank < ranks[b].rank:
            assert pair.lead > 0
        if ranks[a].rank == ranks[b].rank:
            assert b in ranks[a].shared_with
            assert pair.lead == 0 or ranks[a].cycle
    assert all(place.rank == 1 + sum(ranks[b].rank < place.rank for b in ranks) for place in ranks.values())


@given(tables)
def test_a_lead_is_the_mean_of_the_shared_benchmarks(table: Table) -> None:
    known = catalogue(table)
    for a, b in itertools.permutations(MODELS, 2):
        shared = [n for n in NAMES if all(table.get((m, n), (0, False))[1] for m in (a, b))]
        pair, back = pairing(a, b, NAMES, known), pairing(b, a, NAMES, known)
        assert (pair is None) == (not shared)
        if pair is not None:
            assert back is not None
            assert pair.lead == -back.lead
            assert pair.lead == pytest.approx(sum(table[a, n][0] - table[b, n][0] for n in shared) / len(shared))


def test_a_cycle_shares_a_rank() -> None:
    """a wins against b on bench0, b against c on bench1, c against a on bench2."""
    cells: Table = {("a", "bench0"): (2, True), ("b", "bench0"): (1, True), ("b", "bench1"): (2, True),
                    ("c", "bench1"): (1, True), ("c", "bench2"): (2, True), ("a", "bench2"): (1, True)}  # fmt: skip
    ranks = places(("a", "b", "c"), NAMES, catalogue(cells))
    assert [ranks[m].rank for m in "abc"] == [1, 1, 1]
    assert all(ranks[m].cycle for m in "abc")


def test_the_catalogues_figures_that_do_not_compare() -> None:
    known = builtin_catalogue()
    marked = {s.id for s in known.scores.values() if s.incomparable}
    assert {"llama-4-scout-livecodebench", "llama-4-scout-mmmlu", "qwen3.5-397b-a17b-browsecomp"} <= marked
    pair = pairing("qwen3.5-397b-a17b", "llama-4-scout", list(known.benchmarks), known)
    assert pair is not None
    assert not {s for two in pair.pairs for s in two if s.id in marked}
    for score in known.scores.values():
        if known.models[score.model].flagship and score.id not in marked:
            assert known.sources[score.source].url.startswith("https://")
            assert score.source != "article"
