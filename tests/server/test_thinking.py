"""All spellings of thinking settings have one meaning; contradictions are refused."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from shoestring.errors import RequestError
from shoestring.server.thinking import EFFORT_BUDGETS, EFFORTS, ThinkingWish, thinking_wish


@pytest.mark.parametrize("effort", EFFORTS)
def test_an_effort_means_the_same_in_both_places(effort: str) -> None:
    flat = thinking_wish(effort=effort)
    assert flat == thinking_wish(template_arguments={"reasoning_effort": effort})
    assert flat.on is (effort not in ("none", "minimal"))
    assert flat.budget == (EFFORT_BUDGETS[effort] if flat.on else None)  # type: ignore[index]


@pytest.mark.parametrize("on", [True, False])
def test_a_switch_means_the_same_in_every_place(on: bool) -> None:
    spellings: list[dict[str, Any]] = [
        {"switch": on},
        {"template_arguments": {"enable_thinking": on}},
        {"template_arguments": {"thinking": on}},
        {"switch": on, "template_arguments": {"enable_thinking": on}},
    ]
    assert {thinking_wish(**spelling).on for spelling in spellings} == {on}


def test_the_default_is_the_templates() -> None:
    assert thinking_wish() == ThinkingWish(None, None, {})
    arguments = {"tone": "dry", "nested": {"thinking": 1}}
    assert thinking_wish(template_arguments=arguments) == ThinkingWish(None, None, arguments)


def test_a_switch_overrides_an_effort_and_a_budget_the_efforts() -> None:
    assert thinking_wish(switch=False, effort="high") == ThinkingWish(False, None, {})
    assert thinking_wish(switch=True, effort="none") == ThinkingWish(True, None, {})
    assert thinking_wish(effort="low", budget=7) == ThinkingWish(True, 7, {})
    assert thinking_wish(switch=False, budget=7) == ThinkingWish(False, None, {})
    assert thinking_wish(budget=0) == ThinkingWish(False, None, {})
    assert thinking_wish(template_arguments={"thinking_budget": 9}) == ThinkingWish(True, 9, {})


def test_more_effort_never_thinks_less() -> None:
    for less, more in itertools.pairwise(EFFORTS):
        room = [0 if not wish.on else wish.budget or float("inf") for wish in map(_of, (less, more))]
        assert room[0] <= room[1]


def _of(effort: str) -> ThinkingWish:
    return thinking_wish(effort=effort)


def test_the_clients_arguments_are_not_changed() -> None:
    arguments = {"enable_thinking": True, "tone": "dry"}
    thinking_wish(template_arguments=arguments)
    assert arguments == {"enable_thinking": True, "tone": "dry"}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"effort": "huge"}, "choose one of none, minimal, low"),
        ({"template_arguments": {"reasoning_effort": 3}}, "effort is 3"),
        ({"template_arguments": {"reasoning_effort": ["low"]}}, "effort is"),
        ({"switch": True, "template_arguments": {"enable_thinking": False}}, "contradict"),
        ({"template_arguments": {"enable_thinking": True, "thinking": False}}, "contradict"),
        ({"template_arguments": {"enable_thinking": "yes"}}, "enable_thinking is 'yes'"),
        ({"template_arguments": {"thinking_budget": 1.5}}, "thinking_budget is 1.5"),
        ({"template_arguments": {"thinking_budget": True}}, "thinking_budget is True"),
        ({"budget": -1}, "budget is -1"),
        ({"switch": True, "budget": 0}, "budget of 0"),
    ],
)
def test_invalid_settings_are_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        thinking_wish(**fields)
