"""Translate the thinking fields of all APIs to one setting.

Defines the token budget of each effort, and precedence: an explicit switch overrides an effort, an explicit budget
overrides the effort's. Two switches that contradict each other are an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from shoestring.errors import RequestError
from shoestring.printable import quoted

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
EFFORTS: tuple[Effort, ...] = get_args(Effort)

#: Maximum thinking tokens; None: no limit.
EFFORT_BUDGETS: Mapping[Effort, int | None] = {
    "low": 1024,
    "medium": 8192,
    "high": None,
    "xhigh": None,
    "max": None,
}

#: Variables of chat templates that switch thinking: Qwen's, and the name in other families.
_SWITCHES = ("enable_thinking", "thinking")


@dataclass(frozen=True)
class ThinkingWish:
    """A request's thinking setting.

    on: None leaves the choice to the template. budget: maximum thinking tokens, None: no limit. template_arguments:
    chat_template_kwargs without the variables about thinking.
    """

    on: bool | None
    budget: int | None
    template_arguments: Mapping[str, Any]


def thinking_wish(
    *,
    effort: str | None = None,
    switch: bool | None = None,
    budget: int | None = None,
    template_arguments: Mapping[str, Any] | None = None,
) -> ThinkingWish:
    """The setting from a request's fields. Raises RequestError for contradictions and invalid values.

    effort: "none" and "minimal" switch thinking off, the others on, with EFFORT_BUDGETS. switch: an explicit field.
    budget: 0 switches thinking off, more switches it on. template_arguments: chat_template_kwargs of the client, where
    enable_thinking, thinking, thinking_budget and reasoning_effort count too.
    """
    rest = dict(template_arguments or {})
    switches = {} if switch is None else {"the thinking switch": switch}
    for name in _SWITCHES:
        if name in rest:
            switches[f"chat_template_kwargs.{name}"] = _bool(rest.pop(name), f"chat_template_kwargs.{name}")
    if "thinking_budget" in rest:
        inner = _count(rest.pop("thinking_budget"), "chat_template_kwargs.thinking_budget")
        budget = inner if budget is None else budget
    if "reasoning_effort" in rest:
        inner_effort = rest.pop("reasoning_effort")
        effort = inner_effort if effort is None else effort
    if len(set(switches.values())) > 1:
        raise RequestError(f"{' and '.join(switches)} contradict each other: send one of them")
    on = next(iter(switches.values()), None)
    if budget is not None and budget < 0:
        raise RequestError(f"the thinking budget is {budget}: choose 0 for no thinking, or a number of tokens")
    effort_on, effort_budget = (None, None) if effort is None else _effort(effort)
    if on is None:
        on = effort_on if budget is None else budget > 0
    if not on:
        return ThinkingWish(on, None, rest)
    if budget == 0:
        raise RequestError("thinking is switched on with a budget of 0: choose a budget, or switch it off")
    return ThinkingWish(on, budget if budget is not None else effort_budget, rest)


def _effort(effort: object) -> tuple[bool, int | None]:
    if effort not in EFFORTS:
        raise RequestError(f"the reasoning effort is {quoted(effort)}: choose one of {', '.join(EFFORTS)}")
    if effort in ("none", "minimal"):
        return False, None
    return True, EFFORT_BUDGETS[effort]


def _bool(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise RequestError(f"{where} is {quoted(value)}: choose true or false")
    return value


def _count(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise RequestError(f"{where} is {quoted(value)}: give a whole number of tokens")
    return value
