"""Verdicts follow the data: a sentence changes only with the rows that it cites."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shoestring.catalogue.load import builtin_catalogue
from shoestring.catalogue.schema import Catalogue
from shoestring.planning.advice.scores import pairing
from shoestring.planning.advice.verdict import Verdict
from shoestring.planning.assess import Question
from shoestring.planning.candidates.candidates import from_row
from shoestring.planning.compare import Comparison, compare
from shoestring.planning.cost import Money
from shoestring.planning.hardware.parse import parse_hardware
from shoestring.planning.licence import User
from shoestring.planning.plan import Plan, find_row, make_plan

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


@settings(deadline=None, max_examples=15)
@given(st.sampled_from(sorted(CATALOGUE.scores)), st.floats(0, 100), st.sampled_from(["8xh100", "rtx-5090+64g"]))
def test_a_score_changes_only_sentences_that_cite_it(id: str, value: float, hardware: str) -> None:
    before, after = unchanged(hardware), planned(with_score(id, value), hardware)
    for old, new in zip(before.verdicts, after.verdicts, strict=True):
        if order(old) != order(new) or [r.sentences for r in old.ranking] != [r.sentences for r in new.ranking]:
            # The general score decides which models count in uses that are not about quality.
            weighs = old.use.benchmarks if old.use.measure == "quality" else CATALOGUE.uses["budget"].benchmarks
            assert CATALOGUE.scores[id].benchmark in weighs


@settings(deadline=None, max_examples=15)
@given(st.sampled_from(sorted(CATALOGUE.scores)), st.floats(0, 100))
def test_a_better_score_never_lowers_a_model(id: str, more: float) -> None:
    score = CATALOGUE.scores[id]
    better = with_score(id, min(100.0, score.value + more))
    for old, new in zip(unchanged().verdicts, planned(better).verdicts, strict=True):
        if old.use.measure == "quality":
            assert order(new).index(score.model) <= order(old).index(score.model)


def test_a_score_changes_the_sentence_that_cites_it() -> None:
    id = f"{QWEN}-mmmu"
    before, after = compared(use="multimodal"), compared(with_score(id, 80.0), use="multimodal")
    assert any(id in s.rows and "MMMU 85 to 69.4" in s.text for s in before.choose_left)
    assert any(id in s.rows and "MMMU 80 to 69.4" in s.text for s in after.choose_left)


def test_scores_change_the_choice() -> None:
    assert order(planned(CATALOGUE, "8xh100", QWEN, SCOUT, use="multimodal").verdicts[0])[0] == QWEN
    worse = with_score(f"{QWEN}-mmmu", 10.0)
    assert order(planned(worse, "8xh100", QWEN, SCOUT, use="multimodal").verdicts[0])[0] == SCOUT


@pytest.mark.parametrize("use", ["agents", "code", "multilingual"])
def test_without_a_shared_benchmark_there_is_no_order(use: str) -> None:
    c = compared(use=use)
    verdict = c.plan.verdicts[0]
    assert verdict.best is None
    assert "no order" in verdict.line.text
    assert all(r.place is None and r.measure is None for r in verdict.ranking)
    assert any("there is no order, because Llama 4 Scout has none" in s.text for s in c.choose_left)
    assert not any(s.text.startswith(verdict.use.title) for s in c.choose_right)


@pytest.mark.parametrize("use", [u for u in USES if CATALOGUE.uses[u].measure == "quality"])
def test_means_are_over_shared_benchmarks_alone(use: str) -> None:
    """Every mean that a verdict prints is that of the pairs that it lists."""
    for ranked in planned(use=use).verdicts[0].ranking:
        text = ranked.sentences[0].text
        if " on average " not in text and " that both have" not in text:
            continue
        pairs = [(float(a), float(b)) for a, b in re.findall(r" ([\d.]+) to ([\d.]+)", text)]
        printed = float(re.search(r" by ([\d.]+)", text)[1])  # type: ignore[index]
        count = re.search(r"over the (\d+) benchmarks", text)
        assert len(pairs) == (int(count[1]) if count else 1)
        assert printed == pytest.approx(abs(sum(a - b for a, b in pairs)) / len(pairs), abs=0.051)


# --- prices ----------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=15)
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


@settings(deadline=None, max_examples=15)
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
            assert a.break_even_tokens is not None
            assert b.break_even_tokens is not None
            assert b.break_even_tokens <= a.break_even_tokens


def test_the_articles_prices_do_not_count_as_offers() -> None:
    cost = planned(CATALOGUE, "8xh100", QWEN).assessments[0].cost
    assert cost.cheapest is not None
    assert any(o.price.source == "article" and o.usd_per_million < cost.cheapest.usd_per_million for o in cost.offers)


# --- who the user is -------------------------------------------------------------------------------------------


def test_a_large_company_needs_metas_licence() -> None:
    small, large = (compared(user=User(company_mau=mau)) for mau in (700_000_000, 700_000_001))
    assert not any(s.text.startswith("Licence: ") for s in small.choose_left)
    (said,) = [s for s in large.choose_left if s.text.startswith("Licence: ")]
    assert "Licensee's affiliates, is greater than 700 million monthly active users" in said.text
    assert set(said.rows) >= {"llama4-community", "llama4-users"}
    for verdict in large.plan.verdicts:
        assert {r.assessment.candidate.id: r.group for r in verdict.ranking}[SCOUT] > 0


@pytest.mark.parametrize("use", USES)
def test_the_european_union_holds_back_every_verdict_for_llama4(use: str) -> None:
    there = planned(use=use, user=User(eu=True))
    for ranked in there.verdicts[0].ranking:
        if ranked.assessment.candidate.config.family == "llama4":
            assert ranked.group > 0
            assert not ranked.assessment.suits
            assert "are not being granted to you" in ranked.assessment.terms.reason  # type: ignore[union-attr]
    user = planned(use=use, user=User(eu=True, end_user=True))
    assert order(user.verdicts[0]) == order(planned(use=use).verdicts[0])


@pytest.mark.parametrize("use", USES)
def test_a_use_gives_one_verdict_with_its_reasons(use: str) -> None:
    plan = planned(use=use)
    assert [v.use.id for v in plan.verdicts] == [use]
    best = plan.verdicts[0].best
    assert best is not None
    assert plan.assessments[0] is best.assessment
    cited = {CATALOGUE.scores[row].benchmark for row in best.sentences[0].rows if row in CATALOGUE.scores}
    if plan.verdicts[0].use.measure == "quality":
        other = plan.verdicts[0].ranking[1].assessment.candidate.id
        pair = pairing(best.assessment.candidate.id, other, CATALOGUE.uses[use].benchmarks, CATALOGUE)
        assert pair is not None
        assert cited >= {a.benchmark for a, _ in pair.pairs}


def test_every_cited_row_exists() -> None:
    for hardware in ("8xh100", "rtx-5090+64g", "cpu:8c-2ch-ddr5+32g"):
        c = compared(hardware=hardware, user=User(10**9, eu=True))
        sentences = [
            *c.choose_left,
            *c.choose_right,
            *(s for v in c.plan.verdicts for r in v.ranking for s in r.sentences),
            *(k.sentence for k in c.claims),
        ]
        rows = {row for s in sentences for row in s.rows}
        rows |= {row for section in c.sections for line in section.lines for row in line.rows}
        missing = [row for row in rows if find_row(CATALOGUE, row) is None]
        assert missing == []


# --- the machine -----------------------------------------------------------------------------------------------


def test_the_machine_changes_the_ranking_with_a_reason() -> None:
    code_large = planned(CATALOGUE, "8xh100", QWEN, "qwen3.5-35b-a3b", use="code").verdicts[0]
    small = planned(CATALOGUE, "rtx-5090+72g", QWEN, "qwen3.5-35b-a3b", use="code", min_speed=10.0)
    code_small = small.verdicts[0]
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
    verdict = planned(CATALOGUE, "cpu:1c+4g", QWEN, SCOUT, use="multimodal").verdicts[0]
    assert verdict.best is None
    assert "none of them runs" in verdict.line.text


def test_a_third_model_is_named_if_neither_suits() -> None:
    small = compared(hardware="cpu:8c-2ch-ddr5+32g", use="code", min_speed=4.0)
    assert small.instead is not None
    assert small.instead.assessment.suits
    assert small.instead.assessment.candidate.id == "qwen3.6-35b-a3b"
    assert compared(hardware="8xh100", use="code").instead is None


def test_the_better_model_is_named_if_the_machine_decides() -> None:
    c = compared(hardware="cpu:32c-8ch-ddr5+96g", use="multimodal", min_speed=10.0)
    (said,) = [s for s in c.choose_right if s.text.startswith("Images and video: ")]
    assert said.text.startswith(
        "Images and video: Llama 4 Scout; Qwen3.5-397B-A17B is ahead of Llama 4 Scout by 17.6 on"
    )
    assert "but has a reservation (only IQ" in said.text
    assert f"{QWEN}-mmmu" in said.rows


def test_sizes_are_compared_in_one_type() -> None:
    """Whatever types fit the machine, a contest of sizes has one."""
    for hardware in ("8xh100", "rtx-5090+64g", "cpu:8c-2ch-ddr5+32g"):
        verdict = planned(CATALOGUE, hardware, use="budget").verdicts[0]
        measured = [r for r in verdict.ranking if r.measure is not None]
        assert len(measured) > 3
        assert all(" in Q4_K_M" in r.sentences[0].text for r in measured)
    sizes = [
        {r.assessment.candidate.id: r.measure for r in planned(CATALOGUE, h, use="budget").verdicts[0].ranking}
        for h in ("8xh100", "rtx-5090+64g")
    ]
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("quant", [None, "IQ2_XXS"])
def test_few_bits_are_a_reservation_in_every_verdict(quant: str | None) -> None:
    plan = planned(CATALOGUE, "rtx-5090+96g", QWEN, type=quant, min_speed=10.0)
    (a,) = plan.assessments
    assert a.need.sizes.type.startswith("IQ2")
    assert any("bits per weight" in problem for problem in a.problems)
    for verdict in plan.verdicts:
        if verdict.use.measure != "price":  # hosted, so not quantized here
            assert verdict.ranking[0].group == 1


@pytest.mark.parametrize("model", ["qwen3.5-0.8b", "qwen3.5-2b", "qwen3.5-4b", "qwen3.5-9b"])
@pytest.mark.parametrize("hardware", ["rtx-4090+64g", "h100", "cpu:8c-2ch-ddr5+64g", "mac-m5-max-64g"])
def test_small_models_come_in_eight_or_four_bits(model: str, hardware: str) -> None:
    (a,) = planned(CATALOGUE, hardware, model).assessments
    known = ("MLX-8bit", "MLX-4bit") if hardware.startswith("mac") else ("Q8_0", "Q4_K_M")
    assert a.need.sizes.type in known


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


@settings(deadline=None, max_examples=20)
@example("cpu:8c-2ch-ddr5+{}g", 4, 1, "agents")  # two that share a rank, and fit in no size
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


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2 * 10**9), st.booleans(), st.booleans(), st.sampled_from(USES))
def test_the_user_changes_only_licence_findings(mau: int, eu: bool, end_user: bool, use: str) -> None:
    user = User(mau, eu, end_user)
    before, after = planned(use=use).verdicts[0], planned(use=use, user=user).verdicts[0]
    limit = CATALOGUE.licences["llama4-community"].limit_mau
    concerned = (mau > limit or eu) and not end_user
    for old in before.ranking:
        new = next(r for r in after.ranking if r.assessment.candidate.id == old.assessment.candidate.id)
        if old.assessment.candidate.config.family != "llama4" or not concerned:
            assert new.group == old.group
            assert new.sentences[1] == old.sentences[1]
        else:
            assert new.group >= old.group
    if not concerned:
        assert order(before) == order(after)
