"""OutputMachine: turn the sampled tokens of one answer into events, and restrict its next token.

All methods run on the engine's thread: the engine calls `penalties_apply`, `allowed` and `accept` while it samples, and
the consumer of deliveries calls `push` between two steps. Events are plain values that any thread may use.

A token is parsed once, by the first of `accept` and `push` that sees it. So `allowed` knows the latest token, and a
machine also works without an engine as its caller (then nothing is constrained).

A machine's results depend only on its form and on the answer's own tokens. So forced tokens keep the law: the answer is
the same, whatever else is in the batch and however it was computed.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Sequence

from shoestring.engine.request import FinishReason
from shoestring.ops.sampling import Sampled
from shoestring.output.events import Event
from shoestring.output.form import Form
from shoestring.output.masks import Mask, Matcher, mask_of
from shoestring.output.parser import Parser

#: The text that closes thinking when its budget is spent.
CLOSING = "\n\nThe time for thinking is over. I answer now, with what I have.\n"
#: A character has at most four bytes, so it is complete after as many tokens.
_MOST_BYTES = 4


class OutputMachine:
    """One answer. The push that ends it sets finish_reason and stop_sequence."""

    def __init__(self, form: Form, *, inside_thinking: bool = False, continues: bool = False) -> None:
        """continues: the answer goes on inside of a text, so white space at its beginning belongs to it."""
        self._form = form
        self._decoder = form.tokenizer.stream_decoder(skip_special=form.chat)
        self._parser = Parser(
            form.syntax,
            form.tools,
            inside_thinking=inside_thinking,
            stops=form.stops,
            trim=form.chat,
            continues=continues,
            most_calls=form.most_calls,
            new_id=lambda: "call_" + secrets.token_hex(12),
        )
        #: events of tokens that `accept` has parsed and `push` has not returned yet
        self._ready: deque[tuple[Event, ...]] = deque()
        #: forced tokens that are not parsed yet
        self._forced: deque[int] = deque()
        #: the grammar of the answer, until it starts; the current grammar
        self._waiting = form.answer
        self._matcher: Matcher | None = None
        self._thought = 0
        self._closed_thinking = False
        self.finish_reason: FinishReason | None = None
        self.stop_sequence: str | None = None
        #: thinking tokens so far, including marks and the closing sentence
        self.thinking_tokens = 0
        #: the answer ended before its thinking did
        self.ended_inside_thinking = False

    @property
    def thinking(self) -> bool:
        """Whether the next token is part of thinking, as far as known."""
        return self._parser.thinking

    # ---- the guide: called by the engine

    @property
    def penalties_apply(self) -> bool:
        """False inside a call's arguments: an edit must be able to repeat a file's text exactly."""
        self._catch_up()
        return not self._parser.calls.writing

    def allowed(self) -> Mask | None:
        """The tokens that may be sampled next, as a bit mask, valid until the next call; None: all.

        The grammar of the answer starts after its thinking. Raises RequestError if it exceeds its limits.
        """
        self._catch_up()
        form, calls = self._form, self._parser.calls
        if self._waiting is not None and not self._parser.thinking:
            self._matcher, self._waiting = self._waiting.copy(), None
        if self._matcher is not None and not self._matcher.over:
            return self._matcher.mask()
        if self._matcher is not None or (calls.complete == form.most_calls and not calls.drafting):
            return mask_of(form.tokenizer, form.hidden_ids or form.tokenizer.eos_ids)
        if self._parser.thinking and form.thinking_budget == 0 and self._thought == 0:
            end = form.syntax.id_of(form.syntax.end_think)
            return form.banned if end is None else mask_of(form.tokenizer, (end,))
        return form.banned

    def accept(self, token: int) -> Sequence[int]:
        """Accept a sampled token. Returns forced tokens, which follow it without sampling.

        These close thinking when its budget is spent; or are the line break after thinking, if a grammar starts there;
        or are the only tokens that the grammar allows (see Matcher.forced: sampling would give the same).
        """
        self._catch_up()
        was_thinking = self._parser.thinking
        self._ready.append(self._advance(token))
        forced: Sequence[int] = self._close_thinking()
        if not forced and was_thinking and not self._parser.thinking and self._waiting is not None:
            forced = self._form.tokenizer.encode(self._form.syntax.after_thinking)
        if not forced and self._matcher is not None and self._form.force and not self._matcher.over:
            forced = [token for token in self._matcher.forced() if token not in self._form.hidden_ids]
        self._forced.extend(forced)
        return forced

    def _catch_up(self) -> None:
        """Parse forced tokens when the next one is sampled: until then the answer may end within them."""
        while self._forced:
            self._ready.append(self._advance(self._forced.popleft()))

    def _advance(self, token: int) -> tuple[Event, ...]:
        """Parse a token and advance the current grammar; a strict tool's grammar starts and ends with its call."""
        calls = self._parser.calls
        begun = calls.begun
        if self._matcher is not None and not self._matcher.over and token not in self._form.hidden_ids:
            self._matcher.consume(token)
        events = self._parse(token)
        if self._form.strict and not calls.drafting:
            if not calls.writing:
                self._matcher = None
            elif calls.begun > begun:
                name, kind, rest = calls.announced
                matcher = self._form.strict.get((name, kind))
                copy = matcher.copy() if matcher is not None else None
                # A call that starts differently from its grammar is not constrained.
                self._matcher = copy if copy is not None and copy.consume_text(rest) else None
        return events

    def _close_thinking(self) -> list[int]:
        budget, syntax = self._form.thinking_budget, self._form.syntax
        if budget is None or self._closed_thinking or not self._parser.thinking or self._thought < budget:
            return []
        if self._thought < budget + _MOST_BYTES and self._decoder.waits:
            return []
        self._closed_thinking = True
        tokenizer = self._form.tokenizer
        return [*tokenizer.encode(CLOSING), *syntax.end_thinking(tokenizer)]

    # ---- the answer

    def push(self, token: Sampled, reason: FinishReason | None) -> tuple[Event, ...]:
        """The events of a delivered token; with a reason, also of held-back text. Nothing after the end."""
        if self.finish_reason is not None:
            return ()
        if self._ready:
            events = self._ready.popleft()
        else:
            if self._forced and self._forced.popleft() != token.id:
                raise AssertionError("a forced token was not delivered")
            events = self._advance(token.id)
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
