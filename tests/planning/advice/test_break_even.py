"""Prices: which offers count, and where one's own machine costs the same."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoestring.catalogue.load import builtin_catalogue
from shoestring.errors import RequestError
from shoestring.planning.advice.break_even import break_even, seconds_for, turn
from shoestring.planning.advice.details import assumptions
from shoestring.planning.cost import HOURS_A_MONTH, Money, check_hosts
from shoestring.planning.plan import Plan, plan

CATALOGUE = builtin_catalogue()


def planned(*models: str, hardware: str = "8xh100", users: int = 1, **money: object) -> Plan:
    return plan(*models, hardware=hardware, users=users, money=Money(**money))  # type: ignore[arg-type]


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from(["qwen3.5", "scout", "qwen3.5:9b", "qwen3.5:35b-a3b"]),
    st.sampled_from(["8xh100", "rtx-4090+64g", "cpu:16c-8ch-ddr5+256g"]),
    st.sampled_from([1, 8, 64]),
    st.floats(0.05, 1),
)
def test_break_even_is_where_both_cost_the_same(model: str, hardware: str, users: int, busy: float) -> None:
    (a,) = planned(model, hardware=hardware, users=users, utilisation=busy).assessments
    for offer in a.cost.offers:
        assert offer.break_even_tokens is not None  # never "never" without the figure
        assert offer.break_even_tokens / 1e6 * offer.usd_per_million == pytest.approx(a.cost.usd_per_month)
        if a.cost.usd_per_million is None:
            continue
        assert offer.break_even_share is not None
        at_that_share = a.cost.usd_per_million * busy / offer.break_even_share
        assert at_that_share == pytest.approx(offer.usd_per_million)


def test_more_users_turn_it() -> None:
    """One user leaves eight H100 too dear; many at once make them cheaper, and the sentence says when."""
    p = planned("qwen3.5")
    (a,) = p.assessments
    offer = a.cost.cheapest
    assert offer is not None
    assert offer.break_even_share is not None
    assert offer.break_even_share > 1
    found = turn(a, offer, seconds_for(p, a))
    assert found is not None
    assert found.share <= 1 < found.users
    (many,) = planned("qwen3.5", users=found.users, utilisation=found.share).assessments
    assert many.cost.usd_per_million == pytest.approx(offer.usd_per_million)
    said = break_even(p, a, offer)
    assert said is not None
    assert f"with {found.users} users at once" in said.text
    assert "never" not in said.text


def test_a_machine_that_cannot_get_cheaper_says_by_how_much() -> None:
    p = planned("scout", hardware="cpu:8c-2ch-ddr5+128g", rent_usd_hour=5.0)
    (a,) = p.assessments
    assert a.cost.cheapest is not None
    said = break_even(p, a, a.cost.cheapest)
    assert said is not None
    assert "times what it can do" in said.text


def test_resellers_and_those_that_wind_down_are_marked_and_not_the_default() -> None:
    (scout,) = planned("scout").assessments
    marks = {o.price.provider: o.mark for o in scout.cost.offers}
    assert marks["lambda-ai"] == "winds down"
    assert marks["vercel-ai-gateway"] == "resells"
    assert marks["article"] == "the article's"
    assert scout.cost.cheapest is not None
    assert scout.cost.cheapest.price.provider == "nscale"
    assert scout.cost.offers[0].price.provider == "lambda-ai"  # cheaper, but marked
    (chosen,) = planned("scout", provider="lambda-ai").assessments
    assert chosen.cost.cheapest is not None
    assert chosen.cost.cheapest.price.provider == "lambda-ai"


def test_a_region_leaves_only_hosts_that_the_catalogue_places_there() -> None:
    qwen, scout = planned("qwen3.5", "scout", region="eu").assessments
    assert qwen.cost.cheapest is not None
    marks = {o.price.provider: o.mark for o in qwen.cost.offers}
    own = {provider for provider, mark in marks.items() if not mark}
    assert own == {"alibaba (Qwen3.5-Plus)", "scaleway", "ovhcloud"}
    assert marks["cortecs"] == "resells"
    assert marks["nebius"] == "no place in EU known"  # its public endpoints run anywhere
    assert scout.cost.cheapest is None
    assert "no provider that the catalogue places in EU" in scout.cost.no_offer


def test_an_owned_machine_costs_power() -> None:
    (a,) = planned("qwen3.5:9b", hardware="rtx-4090+64g", owned=True).assessments
    assert a.cost.usd_per_hour == pytest.approx((450 + 200) / 1000 * 0.15)
    assert "because the machine is yours" in a.cost.basis


def test_a_free_machine_is_always_cheaper() -> None:
    (a,) = planned("qwen3.5:9b", hardware="rtx-4090+64g", rent_usd_hour=0.0).assessments
    assert a.cost.usd_per_hour == a.cost.usd_per_million == 0
    assert a.cost.cheapest is not None
    assert a.cost.cheapest.break_even_tokens == a.cost.cheapest.break_even_share == 0


def test_rents_of_the_large_clouds_are_listed() -> None:
    (a,) = planned("qwen3.5").assessments
    listed = {r.provider: total for r, total in a.cost.rents}
    assert listed["large clouds by a guide, lower end"] == 8 * 3.5
    assert listed["large clouds by a guide, upper end"] == 8 * 5.0
    for cloud in ("AWS", "Azure", "Google"):  # by their own lists, beside the guide's range
        (total,) = (total for provider, total in listed.items() if provider.startswith(cloud))
        assert total > listed["large clouds by a guide, upper end"]
    assert [total for _, total in a.cost.rents] == sorted(listed.values())
    assert a.cost.usd_per_month == pytest.approx(a.cost.rents[0][1] * HOURS_A_MONTH)


def test_all_assumptions_are_printed() -> None:
    p = planned("qwen3.5", utilisation=0.42, input_share=0.61, years=5.0, power_usd_kwh=0.33)
    text = assumptions(p).text
    for said in (
        "busy 42% of the time (--utilisation)", "61% of the tokens in prompts (--input-share)", "(--context)",
        "(--users)", "5 years (--years)", "$0.33 per kWh", "(--min-speed)", "(--kv-type)", "8 × $2.69",
    ):  # fmt: skip
        assert said in text


@pytest.mark.parametrize(
    ("money", "said"),
    [
        ({"utilisation": 30.0}, "utilisation is 30: give a share from 0 to 1, which is 0.3"),
        ({"input_share": 75.0}, "which is 0.75"),
        ({"rent_usd_hour": -1.0}, "at least 0"),
        ({"owned": True, "purchase_usd": 5.0}, "cannot be combined"),
    ],
)
def test_wrong_money_is_refused(money: dict[str, float], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        Money(**money)  # type: ignore[arg-type]


def test_every_host_has_prices() -> None:
    priced = {p.provider for p in CATALOGUE.prices.values()}
    assert {h.provider for h in CATALOGUE.hosts.values()} <= priced
    check_hosts(Money(provider="deepinfra", region="eu"), CATALOGUE)
    assert all(dataclasses.astuple(h) for h in CATALOGUE.hosts.values())
