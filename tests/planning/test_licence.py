"""Twelve users and what the licences grant them, each with the clause quoted."""

from __future__ import annotations

import pytest

from shoestring.catalogue.load import builtin_catalogue
from shoestring.planning.licence import User, judge

CATALOGUE = builtin_catalogue()
EU = "are not being granted to you if you are an individual domiciled in, or a company with a principal place"
EXEMPT = "This restriction does not apply to end users of a product or service"
MAU = "or Licensee's affiliates, is greater than 700 million monthly active users in the preceding calendar month"
INTEGRATED = "as part of an integrated end user product, then Section 2 of this Agreement will not apply to you."
NAMES = "you shall also include 'Llama' at the beginning of any such AI model name"
MILLION, BILLION = 10**6, 10**9

CASES = {
    "outside the EU, nothing given": (User(), True, MAU),
    "in the EU": (User(eu=True), False, EU),
    "end user in the EU": (User(eu=True, end_user=True), True, EXEMPT),
    "small company at the release, in the EU": (User(5 * MILLION, eu=True), False, EU),
    "small at the release, grown since": (User(5 * MILLION), True, MAU),
    "at the limit at the release": (User(700 * MILLION), True, MAU),
    "above the limit at the release": (User(700 * MILLION + 1), False, MAU),
    "small subsidiary of a giant: 1M and 3B together": (User(MILLION + 3 * BILLION), False, MAU),
    "end user of a product, employed by a giant": (User(3 * BILLION, end_user=True), True, INTEGRATED),
    "giant in the EU": (User(3 * BILLION, eu=True), False, EU),
    "publishes a model trained on its outputs": (User(derived=True), True, NAMES),
    "publishes such a model from the EU": (User(eu=True, derived=True), False, NAMES),
}


def terms(user: User, model: str = "llama-4-scout"):  # type: ignore[no-untyped-def]
    row = CATALOGUE.models[model]
    return judge(CATALOGUE.licences[row.licence], row.modalities, user, CATALOGUE)


@pytest.mark.parametrize("case", CASES)
def test_llama4(case: str) -> None:
    user, usable, clause = CASES[case]
    found = terms(user)
    assert found.usable == usable
    assert any(clause in text for text in found.findings)
    assert (clause in found.reason) == (not usable and clause != NAMES)
    cited = [CATALOGUE.clauses[row].text for row in found.rows if row in CATALOGUE.clauses]
    assert any(clause in text for text in cited)


def test_twelve_cases() -> None:
    assert len(CASES) == 12


@pytest.mark.parametrize("case", CASES)
def test_apache_grants_all_of_them(case: str) -> None:
    assert terms(CASES[case][0], "qwen3.5-397b-a17b").usable


def test_text_alone_is_not_excluded_in_the_eu() -> None:
    assert judge(CATALOGUE.licences["llama4-community"], ("text",), User(eu=True), CATALOGUE).usable


def test_users_won_later_do_not_count() -> None:
    assert any("March 2025; users won later do not count" in text for text in terms(User()).findings)
