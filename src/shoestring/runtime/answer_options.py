"""Checks of what a caller of the Python API asks of an answer: where it ends, its tools, its form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any, get_args, get_type_hints

from shoestring.errors import RequestError
from shoestring.output.request import Constraint, ToolChoice
from shoestring.runtime.arguments import whole_numbers
from shoestring.runtime.request import Message

_KINDS = get_args(get_type_hints(Constraint)["kind"])


def checked_stops(stop: str | Sequence[str]) -> tuple[str, ...]:
    """The stop texts. Raises TypeError, RequestError."""
    if not isinstance(stop, Sequence) or not all(isinstance(text, str) for text in stop):
        raise TypeError(f"stop is {stop!r}: give a text or a list of texts")
    texts = (stop,) if isinstance(stop, str) else tuple(stop)
    if "" in texts:
        raise RequestError("stop is empty: leave it out, or give the text that ends an answer")
    return texts


def checked_stop_ids(ids: Sequence[int] | Set[int]) -> frozenset[int]:
    """Raises TypeError."""
    return frozenset(whole_numbers([*ids] if isinstance(ids, Set) else ids, "stop_ids"))


def checked_tools(tools: Sequence[Message] | None) -> tuple[Message, ...]:
    """Raises TypeError unless `tools` is a list of objects."""
    if tools is None:
        return ()
    if not isinstance(tools, Sequence) or isinstance(tools, str) or not all(isinstance(t, Mapping) for t in tools):
        what = '{"type": "function", "function": {"name": …, "parameters": …}}'
        raise TypeError(f"tools is {_short(tools)}: give a list of objects like {what}")
    return tuple(tools)


def checked_tool_choice(choice: Any) -> ToolChoice:
    """Raises RequestError."""
    if isinstance(choice, ToolChoice):
        return choice
    if choice not in ("auto", "none", "required"):
        raise RequestError(f'tool_choice is {choice!r}: choose "auto", "none", "required" or ToolChoice(…)')
    return ToolChoice(choice)


def checked_constraint(constraint: Any) -> Constraint | None:
    """Raises TypeError, RequestError."""
    if constraint is None:
        return None
    if not isinstance(constraint, Constraint):
        raise TypeError(f'constraint is {_short(constraint)}: give a Constraint, like Constraint("json_schema", {{…}})')
    if constraint.kind not in _KINDS:
        raise RequestError(f"the constraint's kind is {constraint.kind!r}: choose one of {', '.join(_KINDS)}")
    return constraint


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
