"""Verdicts follow the data: a sentence changes only with the rows that it cites."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoestring.catalogue.load import builtin_catalogue
from shoestring.catalogue.schema import Catalogue
from shoestring.planning.assess import Question
from shoestring.planning.candidates.candidates import from_row
from shoestring.planning.claims import check_claims
from shoestring.planning.compare import Comparison, compare
from shoestring.planning.cost import Money
from shoestring.planning.hardware.parse import parse_hardware
from shoestring.planning.plan import Plan, find_row, make_plan
from shoestring.planning.verdict import Verdict

CATALOGUE = builtin_catalogue()
QWEN, SCOUT = "qwen3.5-397b-a17b", "llama-4-scout"
USES = list(CATALOGUE.uses)


@cache
def unchanged(hardware: str = "8xh100") -> Plan:
    return planned(CATALOGUE, hardware)


def planned(catalogue: Catalogue = CATALOGUE, hardware: str = "8xh100", *models: str, **question: object) -> Plan:
    candidates = [from_row(catalogue.models[name]) for name in models or catalogue.models]
    return make_plan(candidates, parse_hardware(hardware, catalogue), Question(**question), catalogue)  # type: ignore[arg-type]


def compared(catalogue: Catalogue = CATALOGUE, hardware: str = "8xh100", **question: object) -> Comparison:
    return compare(planned(catalogue, hardware, QWEN, SCOUT, **question), QWEN, SCOUT)


def order(verdict: Verdict) -> list[str]:
    return [r.assessment.candidate.id for r in verdict.ranking]


def with_score(id: str, value: float) -> Catalogue:
    scores = dict(CATALOGUE.scores)
    scores[id] = replace(scores[id], value=value)
    return replace(CATALOGUE, scores=scores)


def with_price(id: str, factor: float) -> Catalogue:
    prices = dict(CATALOGUE.prices)
    old = prices[id]
    prices[id] = replace(old, input_usd=old.input_usd * factor, output_usd=old.output_usd * factor)
    return replace(CATALOGUE, prices=prices)


# --- scores ----------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(sorted(CATALOGUE.scores)), st.floats(0, 100), st.sampled_from(["8xh100", "rtx-5090+64g"]))
def test_a_score_changes_only_sentences_that_cite_it(id: str, value: float, hardware: str) -> None:
    before, after = unchanged(hardware), planned(with_score(id, value), hardware)
    for old, new in zip(before.verdicts, after.verdicts, strict=True):
        if order(old) != order(new) or [r.sentences for r in old.ranking] != [r.sentences for r in new.ranking]:
            # The general score decides which models count in uses that are not about quality.
            weighs = old.use.benchmarks if old.use.measure == "quality" else CATALOGUE.uses["budget"].benchmarks
            assert CATALOGUE.scores[id].benchmark in weighs


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(sorted(CATALOGUE.scores)), st.floats(0, 100))
def test_a_better_score_never_lowers_a_model(id: str, more: float) -> None:
    score = CATALOGUE.scores[id]
    better = with_score(id, min(100.0, score.value + more))
    for old, new in zip(unchanged().verdicts, planned(better).verdicts, strict=True):
        if old.use.measure == "quality":
            assert order(new).index(score.model) <= order(old).index(score.model)


def test_a_score_changes_the_sentence_that_cites_it() -> None:
    id = f"{QWEN}-livecodebench"
    before, after = compared(use="code"), compared(with_score(id, 20.0), use="code")
    assert any(id in s.rows and "83.6" in s.text for s in before.choose_left)
    assert any(id in s.rows and "LiveCodeBench v6 20" in s.text for s in after.choose_left)


def test_scores_change_the_choice() -> None:
    assert order(planned(CATALOGUE, "8xh100", QWEN, SCOUT, use="multilingual").verdicts[0])[0] == QWEN
    worse = with_score(f"{QWEN}-mmmlu", 50.0)
    assert order(planned(worse, "8xh100", QWEN, SCOUT, use="multilingual").verdicts[0])[0] == SCOUT


# --- prices ----------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(sorted(CATALOGUE.prices)), st.floats(0.05, 20))
def test_a_price_changes_only_the_price_ranking(id: str, factor: float) -> None:
    model = CATALOGUE.prices[id].model
    for old, new in zip(unchanged().verdicts, planned(with_price(id, factor)).verdicts, strict=True):
        if old.use.measure != "price":
            assert order(old) == order(new)
        elif factor < 1:
            assert order(new).index(model) <= order(old).index(model)
        else:
            assert order(new).index(model) >= order(old).index(model)


@settings(deadline=None, max_examples=25)
@given(
    st.floats(0.01, 100),
    st.floats(0, 1),
    st.floats(0.01, 1),
    st.floats(0, 1),
    st.sampled_from(["8xh100", "rtx-5090+64g"]),
)
def test_cheaper_hours_never_raise_token_costs(
    rent: float, share: float, utilisation: float, less: float, hardware: str
) -> None:
    money = Money(input_share=share, utilisation=utilisation, rent_usd_hour=rent)
    for old, new in zip(
        planned(CATALOGUE, hardware, money=money).assessments,
        planned(CATALOGUE, hardware, money=replace(money, rent_usd_hour=max(1e-9, rent * less))).assessments,
        strict=True,
    ):
        if old.cost.usd_per_million is None:
            assert new.cost.usd_per_million is None
            continue
        assert new.cost.usd_per_million is not None
        assert new.cost.usd_per_million <= old.cost.usd_per_million
        for a, b in zip(old.cost.offers, new.cost.offers, strict=True):
            if a.break_even_tokens is not None:
                assert b.break_even_tokens is not None
                assert b.break_even_tokens <= a.break_even_tokens


def test_break_even_is_where_both_cost_the_same() -> None:
    plan = planned(CATALOGUE, "rtx-5090+64g", "qwen3.5-9b", users=64)
    cost = plan.assessments[0].cost
    offer = next(o for o in cost.offers if o.break_even_tokens is not None)
    assert cost.capacity_tokens is not None
    assert offer.break_even_tokens is not None
    assert offer.break_even_tokens / 1e6 * offer.usd_per_million == pytest.approx(cost.usd_per_month)
    assert offer.break_even_tokens <= cost.capacity_tokens


def test_the_articles_prices_do_not_count_as_offers() -> None:
    cost = planned(CATALOGUE, "8xh100", QWEN).assessments[0].cost
    assert cost.cheapest is not None
    assert any(o.price.source == "article" and o.usd_per_million < cost.cheapest.usd_per_million for o in cost.offers)


# --- who the user is -------------------------------------------------------------------------------------------


def test_a_large_company_needs_metas_licence() -> None:
    small, large = compared(company_mau=700_000_000), compared(company_mau=700_000_001)
    assert not any("exceed" in s.text for s in small.choose_left)
    cited = [s for s in large.choose_left if "exceed" in s.text]
    assert cited
    assert all("llama4-community" in s.rows for s in cited)
    assert any(s.text.startswith("Licence: ") and s.rows == ("llama4-community",) for s in cited)
    assert large.right.terms is not None
    assert not large.right.terms.usable
    for verdict in large.plan.verdicts:
        group = {r.assessment.candidate.id: r.group for r in verdict.ranking}
        assert group[SCOUT] > 0


def test_multimodal_rights_in_the_european_union() -> None:
    here, there = compared(use="multimodal"), compared(use="multimodal", eu=True)
    assert not any("European" in s.text for s in here.choose_left)
    assert any("European" in s.text and "llama4-community" in s.rows for s in there.choose_left)
    assert there.right.problems
    assert not here.right.problems
    assert compared(use="code", eu=True).right.problems == ()


@pytest.mark.parametrize("use", USES)
def test_a_use_gives_one_verdict_with_its_reasons(use: str) -> None:
    plan = planned(use=use)
    assert [v.use.id for v in plan.verdicts] == [use]
    best = plan.verdicts[0].best
    assert best is not None
    assert plan.assessments[0] is best.assessment
    cited = {CATALOGUE.scores[row].benchmark for row in best.sentences[0].rows if row in CATALOGUE.scores}
    if plan.verdicts[0].use.measure == "quality":
        assert cited == set(CATALOGUE.uses[use].benchmarks)


def test_every_cited_row_exists() -> None:
    for hardware in ("8xh100", "rtx-5090+64g", "cpu:8c-2ch-ddr5+32g"):
        c = compared(hardware=hardware, company_mau=10**9, eu=True)
        sentences = [
            *c.choose_left,
            *c.choose_right,
            *(s for v in c.plan.verdicts for r in v.ranking for s in r.sentences),
        ]
        rows = {row for s in sentences for row in s.rows} | {row for k in c.claims for row in k.rows}
        rows |= {row for section in c.sections for line in section.lines for row in line.rows}
        missing = [row for row in rows if find_row(CATALOGUE, row) is None]
        assert missing == []


# --- the machine -----------------------------------------------------------------------------------------------


def test_the_machine_changes_the_ranking_with_a_reason() -> None:
    code_large = planned(CATALOGUE, "8xh100", QWEN, "qwen3.5-35b-a3b", use="code").verdicts[0]
    code_small = planned(CATALOGUE, "rtx-5090+64g", QWEN, "qwen3.5-35b-a3b", use="code").verdicts[0]
    assert order(code_large)[0] == QWEN
    assert order(code_small)[0] == "qwen3.5-35b-a3b"
    loser = code_small.ranking[1]
    assert loser.group > 0
    assert "bits per weight" in loser.sentences[1].text


def test_too_slow_is_a_reservation() -> None:
    fast = planned(CATALOGUE, "8xh100", QWEN, use="code", min_speed=1.0).verdicts[0].ranking[0]
    slow = planned(CATALOGUE, "8xh100", QWEN, use="code", min_speed=1e6).verdicts[0].ranking[0]
    assert (fast.group, slow.group) == (0, 1)
    assert "below the required" in slow.sentences[1].text


def test_nothing_runs_on_a_tiny_machine() -> None:
    verdict = planned(CATALOGUE, "cpu:1c+4g", QWEN, SCOUT, use="code").verdicts[0]
    assert verdict.best is None
    assert "none of them runs" in verdict.line


def test_a_third_model_is_named_if_neither_suits() -> None:
    small = compared(hardware="cpu:8c-2ch-ddr5+32g", use="code", min_speed=4.0)
    assert small.instead is not None
    assert small.instead.assessment.suits
    assert small.instead.assessment.candidate.id == "qwen3.6-35b-a3b"
    assert compared(hardware="8xh100", use="code").instead is None


def test_the_better_model_is_named_if_the_machine_decides() -> None:
    c = compared(hardware="cpu:32c-8ch-ddr5+96g", use="code")
    said = [s for s in c.choose_right if s.text.startswith("Code: only because")]
    assert len(said) == 1
    assert "70.8 to 10.9 with 1 of 3 scores published" in said[0].text
    assert f"{QWEN}-livecodebench" in said[0].rows


# --- the article -----------------------------------------------------------------------------------------------


def test_claims_of_the_article() -> None:
    found = {k.claim.id: k for k in check_claims(CATALOGUE)}
    assert found["scout-48gb"].outcome == "differs"
    assert "60.8 GB" in found["scout-48gb"].text
    assert found["qwen-8xh100"].outcome == "in part"
    assert "FP8 needs 401 GB and fits; BF16 needs 795 GB and does not fit" in found["qwen-8xh100"].text
    assert "6 of the 6" in found["80-percent"].text
    assert "7 have no score" in found["80-percent"].text
    assert "512 experts, 10 + 1 active" in found["experts-unknown"].text
    assert "24.0 % fewer than with Qwen's previous vocabulary" in found["tokens"].text
    assert found["price"].outcome == "differs"


def test_claims_follow_the_rows() -> None:
    lost = with_score(f"{QWEN}-gpqa", 10.0)
    assert "5 of the 6" in {k.claim.id: k.text for k in check_claims(lost)}["80-percent"]


def test_a_mac_costs_its_price_over_the_years_and_power() -> None:
    power = 0.110 * 0.15
    for memory, usd in ((48, 3099.0), (64, 3499.0), (128, 5099.0)):
        (a,) = planned(CATALOGUE, f"mac-m5-max-{memory}g", "qwen3.5-9b").assessments
        assert a.cost.rows == (f"mac-m5-max-{memory}g",)
        assert a.cost.usd_per_hour == pytest.approx(usd / (3 * 365.25 * 24) + power)
    (longer,) = planned(CATALOGUE, "mac-m5-max-64g", "qwen3.5-9b", money=Money(years=6.0)).assessments
    assert longer.cost.usd_per_hour == pytest.approx(3499 / (6 * 365.25 * 24) + power)
    (unsold,) = planned(CATALOGUE, "mac-m5-max-96g", "qwen3.5-9b").assessments
    assert unsold.cost.rows == ()
    assert "power alone" in unsold.cost.basis


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(["cpu:8c-2ch-ddr5+{}g", "rtx-5090+{}g", "2xh100+{}g", "cpu:64c-12ch-ddr5+{}g+nvme4"]),
    st.integers(4, 900),
    st.integers(0, 600),
    st.sampled_from([u for u in USES if CATALOGUE.uses[u].measure == "quality"]),
)
def test_more_memory_never_lowers_a_model(machine: str, gigabytes: int, more: int, use: str) -> None:
    """Its group never gets worse, and a model rises only by a better group or past a model that has not changed."""
    before, after = (
        planned(CATALOGUE, machine.format(size), use=use).verdicts[0].ranking for size in (gigabytes, gigabytes + more)
    )
    old = {r.assessment.candidate.id: r.group for r in before}
    new = {r.assessment.candidate.id: r.group for r in after}
    assert all(new[id] <= old[id] for id in old)
    if old == new:
        assert [r.assessment.candidate.id for r in before] == [r.assessment.candidate.id for r in after]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2 * 10**9), st.booleans(), st.sampled_from(USES))
def test_the_user_changes_only_licence_findings(mau: int, eu: bool, use: str) -> None:
    before, after = planned(use=use).verdicts[0], planned(use=use, company_mau=mau, eu=eu).verdicts[0]
    limit = CATALOGUE.licences["llama4-community"].limit_mau
    concerned = mau > limit or (eu and use == "multimodal")
    for old in before.ranking:
        new = next(r for r in after.ranking if r.assessment.candidate.id == old.assessment.candidate.id)
        if old.assessment.candidate.config.family != "llama4" or not concerned:
            assert new.group == old.group
            assert new.sentences[1] == old.sentences[1]
        else:
            assert new.group >= old.group
    if not concerned:
        assert order(before) == order(after)
