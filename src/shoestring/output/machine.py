"""OutputMachine: one answer, from sampled tokens to events, and what its next token may be.

All of a machine's methods are called on the engine's thread: `penalties_apply`, `allowed` and `accept` by the engine
as it samples, `push` by whoever takes the deliveries, between two steps. Events are plain values and may go anywhere.

A token is parsed once, by whichever of `accept` and `push` sees it first: so `allowed` knows what has just been
said, and a machine works without an engine that asks it (then nothing is constrained).
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shoestring.errors import RequestError
from shoestring.output.events import Event, FinishReason, TokenInfo
from shoestring.output.parser import Parser
from shoestring.output.request import Constraint, ToolChoice
from shoestring.output.schema import Tool, read_tools
from shoestring.output.syntax import Syntax, Vocabulary, syntax_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: What leads a model out of thinking whose budget is spent.
CLOSING = "\n\nThe time for thinking is over. I answer now, with what I have.\n"


@dataclass(frozen=True)
class Form:
    """What the answers to one request look like; `form_of` makes it. Shared by all machines of the request.

    chat: marks of thinking count and special tokens are not shown; else all is content, as it comes.
    thinking_budget: tokens of thinking after which the answer is led out of it; None: no limit.
    """

    tokenizer: Vocabulary
    syntax: Syntax
    chat: bool = True
    tools: Mapping[str, Tool] = field(default_factory=dict)
    most_calls: int | None = None
    thinking_budget: int | None = None
    stops: tuple[str, ...] = ()
    #: tokens that end the answer
    hidden_ids: frozenset[int] = frozenset()


def form_of(
    tokenizer: Vocabulary,
    family: str,
    *,
    chat: bool = True,
    tools: Sequence[Mapping[str, Any]] = (),
    tool_choice: ToolChoice = ToolChoice(),  # noqa: B008, a frozen value
    parallel_tool_calls: bool = True,
    thinking_budget: int | None = None,
    constraint: Constraint | None = None,
    stops: Sequence[str] = (),
    hidden_ids: Collection[int] | None = None,
) -> Form:
    """The form of the answers to a request: what a client asked for, checked.

    family: "qwen3_5" or "llama4". tools: in OpenAI's shape. hidden_ids: the tokens that end the answer, which are
    not shown; None: the tokenizer's. Raises RequestError for tools, a choice, a schema or a grammar that cannot be
    honoured.
    """
    known = read_tools(tools)
    if tool_choice.name is not None and tool_choice.name not in known:
        raise RequestError(f"tool_choice names {tool_choice.name!r}, which is none of the tools")
    if tool_choice.mode == "required" and not known:
        raise RequestError("tool_choice requires a call, and there are no tools")
    if thinking_budget is not None and thinking_budget < 0:
        raise RequestError(f"the budget of thinking tokens is {thinking_budget}: give 0 or more")
    return Form(
        tokenizer,
        syntax_of(tokenizer, family),
        chat=chat,
        tools={} if tool_choice.mode == "none" else known,
        most_calls=None if parallel_tool_calls else 1,
        thinking_budget=thinking_budget,
        stops=tuple(stops),
        hidden_ids=frozenset(tokenizer.eos_ids if hidden_ids is None else hidden_ids),
    )


def _call_id() -> str:
    return "call_" + secrets.token_hex(12)


class OutputMachine:
    """One answer. finish_reason, stop_sequence: set by the push that ended it."""

    def __init__(self, form: Form, *, inside_thinking: bool = False, new_id: Callable[[], str] = _call_id) -> None:
        self._form = form
        self._decoder = form.tokenizer.stream_decoder(skip_special=form.chat)
        self._parser = Parser(
            form.syntax,
            form.tools,
            inside_thinking=inside_thinking,
            stops=form.stops,
            trim=form.chat,
            most_calls=form.most_calls,
            new_id=new_id,
        )
        #: events of tokens that `accept` has parsed and `push` has not handed out
        self._ready: deque[tuple[Event, ...]] = deque()
        #: tokens that were forced and are not parsed yet
        self._forced: deque[int] = deque()
        self._thought = 0
        self._led_out = False
        self.finish_reason: FinishReason | None = None
        self.stop_sequence: str | None = None
        #: tokens of thinking so far, marks and the closing sentence included
        self.thinking_tokens = 0
        #: the answer ended before its thinking did
        self.ended_inside_thinking = False

    @property
    def thinking(self) -> bool:
        """The next token is part of thinking, as far as can be known."""
        return self._parser.thinking

    # ---- the guide: what the engine asks

    @property
    def penalties_apply(self) -> bool:
        """Not inside a call's arguments: an edit must be able to repeat a file's text exactly."""
        self._catch_up()
        return not self._parser.calls.writing

    def allowed(self) -> npt.NDArray[np.uint32] | None:
        """The tokens that may be sampled next, as a bit mask; None: all."""
        self._catch_up()
        return None

    def accept(self, token: int) -> Sequence[int]:
        """A token was sampled. Returns tokens that follow it unsampled: what leads out of thinking.

        They depend on the answer's own tokens alone, so the answer is the same whatever else is in the batch.
        """
        self._catch_up()
        self._ready.append(self._parse(token))
        forced = self._lead_out()
        self._forced.extend(forced)
        return forced

    def _catch_up(self) -> None:
        """Forced tokens are parsed when the next one is sampled: until then the answer may end within them."""
        while self._forced:
            self._ready.append(self._parse(self._forced.popleft()))

    def _lead_out(self) -> list[int]:
        budget, end = self._form.thinking_budget, self._form.syntax.end_think
        if budget is None or self._led_out or not self._parser.thinking or self._thought < budget:
            return []
        # A character that is not whole yet gets its last bytes first; four tokens are enough for any.
        if self._thought < budget + 4 and self._decoder.waits:
            return []
        self._led_out = True
        tokenizer = self._form.tokenizer
        id = self._form.syntax.id_of(end)
        marks = [id] if id is not None else tokenizer.encode(end)
        return [*tokenizer.encode(CLOSING), *marks, *tokenizer.encode(self._form.syntax.after_thinking)]

    # ---- the answer

    def push(self, token: TokenInfo, reason: FinishReason | None) -> tuple[Event, ...]:
        """What a delivered token adds; with a reason, also all that was held back. Nothing once it is over."""
        if self.finish_reason is not None:
            return ()
        if self._ready:
            events = self._ready.popleft()
        else:
            if self._forced:
                assert self._forced.popleft() == token.id, "a forced token was not delivered"
            events = self._parse(token.id)
        if reason is None and not (self._parser.stopped and not self._ready):
            return events
        return events + self._finish(reason or "stop")

    def _finish(self, reason: FinishReason) -> tuple[Event, ...]:
        rest = self._parser.push(self._decoder.finish()) + self._parser.finish(mend=reason == "stop")
        self.stop_sequence = self._parser.stops.found
        if self.stop_sequence is not None:
            reason = "stop"
        self.ended_inside_thinking = self._parser.thinking
        self.finish_reason = "tool_calls" if reason == "stop" and self._parser.calls.complete else reason
        return rest

    def _parse(self, token: int) -> tuple[Event, ...]:
        was_thinking = self._parser.thinking
        events = self._parser.push(self._text(token))
        if was_thinking:
            self.thinking_tokens += 1
            self._thought += self._parser.thinking
        return events

    def _text(self, token: int) -> str:
        if token in self._form.hidden_ids:
            return ""
        mark = self._form.syntax.marks.get(token) if self._form.chat else None
        if mark is not None:
            return self._decoder.finish() + mark
        return self._decoder.push(token)
