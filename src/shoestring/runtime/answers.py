"""Answers: the answers to one prompt in progress. Turns the engine's deliveries into items for readers."""

from __future__ import annotations

from dataclasses import dataclass

from shoestring.engine.draw import score_tokens
from shoestring.engine.engine import Engine
from shoestring.engine.request import Delivery, FinishReason, Scoring
from shoestring.ops import Float32
from shoestring.ops.sampling import Sampled, Sampling
from shoestring.output.events import Event
from shoestring.output.form import Form
from shoestring.output.machine import OutputMachine
from shoestring.runtime.prompt import Prompt
from shoestring.runtime.request import GenerationOptions


@dataclass(frozen=True)
class Scored:
    """The prompt's tokens with their log-probabilities (none for the first). Precedes every Delta."""

    tokens: tuple[Sampled, ...]


@dataclass(frozen=True)
class Delta:
    """The events that one token adds to answer `choice`; none while its text is incomplete."""

    choice: int
    events: tuple[Event, ...]
    tokens: tuple[Sampled, ...]


@dataclass(frozen=True)
class Finished:
    """Answer `choice` is over. stop_sequence: the stop string that ended it.

    inside_thinking: it ended before its thinking did.
    """

    choice: int
    reason: FinishReason
    stop_sequence: str | None = None
    inside_thinking: bool = False


@dataclass(frozen=True)
class Usage:
    """Tokens of the whole request. prompt_tokens includes cached_tokens, completion_tokens includes thinking."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    thinking_tokens: int


#: In this order: Scored if requested, then Delta and Finished of each answer, and Usage at the end.
AnswerItem = Scored | Delta | Finished | Usage


class Answers:
    """`options.n` answers to one prompt. For one thread at a time, `take` under the engine's lock if others step it.

    Raises CapacityError and RequestError if the engine refuses the prompt; then nothing is left in it.
    """

    def __init__(
        self, engine: Engine, prompt: Prompt, sampling: Sampling, options: GenerationOptions, form: Form
    ) -> None:
        self.prompt = prompt
        self._engine = engine
        self._machines = [
            OutputMachine(form, inside_thinking=prompt.inside_thinking, continues=prompt.continues)
            for _ in range(options.n)
        ]
        #: the prompt's scored tokens until a Scored reports them
        self._scored = [Sampled(prompt.tokens[0])] if options.prompt_logprobs else None
        self._top = sampling.logprobs or 0
        #: items that wait for the prompt's scores
        self._queued: list[AnswerItem] = []
        #: the engine's number → answer, of the answers in progress
        self._open: dict[int, int] = {}
        self._cached_tokens = self._output_tokens = 0
        try:
            self._submit(sampling, options, form)
        except BaseException:
            self.close()
            raise

    def _submit(self, sampling: Sampling, options: GenerationOptions, form: Form) -> None:
        engine, tokens, scoring = self._engine, self.prompt.rows, None
        pictures = self.prompt.pictures
        if self._scored is not None:
            scoring = Scoring(tuple(range(max(1, len(tokens) - 1))), self._score_prompt)
        if scoring is not None and options.max_tokens == 0:
            number = engine.submit_scoring(
                tokens,
                scoring,
                chunk=options.chunk,
                client=options.client,
                cache_owner=options.cache_owner,
                pictures=pictures,
            )
            self._open[number] = 0
            return
        for choice, machine in enumerate(self._machines):
            number = engine.generate(
                tokens,
                sampling,
                max_tokens=options.max_tokens,
                stop_ids=form.hidden_ids,
                boundaries=self.prompt.boundaries,
                chunk=options.chunk,
                index=choice,
                guide=machine,
                client=options.client,
                cache_owner=options.cache_owner,
                scoring=scoring if choice == 0 else None,
                pictures=pictures,
            )
            self._open[number] = choice

    @property
    def numbers(self) -> tuple[int, ...]:
        """The engine's numbers of the answers in progress, in the order of the answers."""
        return tuple(self._open)

    @property
    def count(self) -> int:
        """How many answers there are, ended ones too."""
        return len(self._machines)

    @property
    def usage(self) -> Usage:
        """Tokens so far."""
        first = next(iter(self._open.items()), None)
        if first is not None and first[1] == 0:
            self._cached_tokens = self._engine.status(first[0]).cached_tokens
        thinking = sum(machine.thinking_tokens for machine in self._machines)
        return Usage(len(self.prompt.tokens), self._cached_tokens, self._output_tokens, thinking)

    def take(self, delivery: Delivery) -> list[AnswerItem]:
        """The items that a delivery of one of `numbers` adds. Raises the error of a failed request."""
        choice = self._open.get(delivery.number)
        if choice is None:
            return []
        if delivery.error is not None:
            raise delivery.error
        items = self._items(choice, delivery)
        if self._scored is not None:
            self._queued += items
            if choice != 0:
                return []
            items, self._queued = [Scored(tuple(self._scored)), *self._queued], []
            self._scored = None
        return items

    def _score_prompt(self, first: int, logits: Float32) -> None:
        """Receives the prompt's logits from the engine and stores the log-probabilities of the tokens that follow."""
        assert self._scored is not None
        following = self.prompt.tokens[first + 1 : first + 1 + len(logits)]
        self._scored += score_tokens(self._engine.runner, logits[: len(following)], following, self._top)

    def _items(self, choice: int, delivery: Delivery) -> list[AnswerItem]:
        if delivery.sampled.id < 0:  # the request only scored its prompt
            ends: list[AnswerItem] = [Finished(choice, "length") for choice in range(len(self._machines))]
            self._end(delivery.number)
            return [*ends, self.usage]
        machine = self._machines[choice]
        self._output_tokens += 1
        items: list[AnswerItem] = [
            Delta(choice, machine.push(delivery.sampled, delivery.finish_reason), (delivery.sampled,))
        ]
        if machine.finish_reason is not None:
            items.append(Finished(choice, machine.finish_reason, machine.stop_sequence, machine.ended_inside_thinking))
            self._end(delivery.number)
            if not self._open:
                items.append(self.usage)
        return items

    def _end(self, number: int) -> None:
        """Cancel the request: the machine may end an answer before the engine does."""
        if self._open[number] == 0:
            self._cached_tokens = self._engine.status(number).cached_tokens
        self._engine.cancel(number)
        del self._open[number]

    def is_lost(self) -> bool:
        """Whether the engine has ended an answer in progress, because a step failed."""
        return any(self._engine.status(number).state == "over" for number in self._open)

    def close(self) -> None:
        """Cancel the answers in progress."""
        with self._engine.lock:
            for number in self.numbers:
                self._end(number)

    def close_soon(self) -> None:
        """Cancel the answers in progress from a finalizer, which may run inside a step."""
        for number in self.numbers:
            self._engine.cancel_soon(number)
