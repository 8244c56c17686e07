"""Answers: all answers to one prompt while the engine computes them, from its deliveries to what readers want."""

from __future__ import annotations

from collections.abc import Sequence
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
    """The prompt's tokens with their log-probabilities; the first has none. Comes before any Delta."""

    tokens: tuple[Sampled, ...]


@dataclass(frozen=True)
class Delta:
    """What one token adds to answer `choice`; `events` may be empty while characters are held back."""

    choice: int
    events: tuple[Event, ...]
    tokens: tuple[Sampled, ...]


@dataclass(frozen=True)
class Finished:
    """Answer `choice` is over. stop_sequence: the stop string that ended it."""

    choice: int
    reason: FinishReason
    stop_sequence: str | None = None


@dataclass(frozen=True)
class Usage:
    """Tokens of the whole request; prompt_tokens includes cached_tokens, completion_tokens includes thinking."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    thinking_tokens: int


#: In this order: Scored where it is wanted, then Delta and Finished of each answer, Usage at the end.
AnswerItem = Scored | Delta | Finished | Usage


class Answers:
    """`options.n` answers to one prompt in the engine. Only the engine's thread may use it.

    Raises CapacityError and RequestError for what the engine refuses; then nothing is left in it.
    """

    def __init__(
        self, engine: Engine, prompt: Prompt, sampling: Sampling, options: GenerationOptions, form: Form
    ) -> None:
        self.prompt = prompt
        self._engine = engine
        self._machines = [OutputMachine(form, inside_thinking=prompt.inside_thinking) for _ in range(options.n)]
        self._scores = _PromptScores(engine, prompt.tokens, sampling) if options.prompt_logprobs else None
        #: what waits for the prompt's scores
        self._held: list[AnswerItem] = []
        #: the engine's number → which answer, of those that are not over
        self._open: dict[int, int] = {}
        self._cached_tokens = self._output_tokens = 0
        try:
            self._submit(sampling, options, form)
        except BaseException:
            self.close()
            raise

    def _submit(self, sampling: Sampling, options: GenerationOptions, form: Form) -> None:
        engine, tokens, scoring = self._engine, self.prompt.tokens, None
        if self._scores is not None:
            scoring = Scoring(tuple(range(max(1, len(tokens) - 1))), self._scores)
        if scoring is not None and options.max_tokens == 0:
            self._open[engine.submit_scoring(tokens, scoring, chunk=options.chunk, client=options.client)] = 0
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
                scoring=scoring if choice == 0 else None,
            )
            self._open[number] = choice

    @property
    def numbers(self) -> tuple[int, ...]:
        """The engine's numbers of the answers that are not over, in the order of the answers."""
        return tuple(self._open)

    @property
    def usage(self) -> Usage:
        """Tokens so far."""
        first = next(iter(self._open.items()), None)
        if first is not None and first[1] == 0:
            self._cached_tokens = self._engine.status(first[0]).cached_tokens
        thinking = sum(machine.thinking_tokens for machine in self._machines)
        return Usage(len(self.prompt.tokens), self._cached_tokens, self._output_tokens, thinking)

    def take(self, delivery: Delivery) -> list[AnswerItem]:
        """What a delivery of one of its numbers adds. Raises the error of a request that failed."""
        choice = self._open.get(delivery.number)
        if choice is None:
            return []
        if delivery.error is not None:
            raise delivery.error
        items = self._items(choice, delivery)
        if self._scores is not None:
            self._held += items
            if choice != 0:
                return []
            items, self._held = [Scored(tuple(self._scores.tokens)), *self._held], []
            self._scores = None
        return items

    def _items(self, choice: int, delivery: Delivery) -> list[AnswerItem]:
        if delivery.sampled.id < 0:  # the prompt alone was scored
            ends: list[AnswerItem] = [Finished(choice, "length") for choice in range(len(self._machines))]
            self._end(delivery.number)
            return [*ends, self.usage]
        machine = self._machines[choice]
        self._output_tokens += 1
        items: list[AnswerItem] = [
            Delta(choice, machine.push(delivery.sampled, delivery.finish_reason), (delivery.sampled,))
        ]
        if machine.finish_reason is not None:
            items.append(Finished(choice, machine.finish_reason, machine.stop_sequence))
            self._end(delivery.number)
            if not self._open:
                items.append(self.usage)
        return items

    def _end(self, number: int) -> None:
        """Cancel a number: its machine may end an answer before the engine does."""
        if self._open[number] == 0:
            self._cached_tokens = self._engine.status(number).cached_tokens
        self._engine.cancel(number)
        del self._open[number]

    def is_lost(self) -> bool:
        """Whether the engine has dropped an answer that is not over: a step failed."""
        return any(self._engine.status(number).state == "over" for number in self._open)

    def close(self) -> None:
        """Cancel what is not over. Harmless when all is."""
        for number in self.numbers:
            self._end(number)


class _PromptScores:
    """Receives the logits of a prompt and keeps its tokens' log-probabilities."""

    def __init__(self, engine: Engine, tokens: Sequence[int], sampling: Sampling) -> None:
        self._runner, self._prompt, self._top = engine.runner, tokens, sampling.logprobs or 0
        self.tokens = [Sampled(tokens[0])]

    def __call__(self, first: int, logits: Float32) -> None:
        following = self._prompt[first + 1 : first + 1 + len(logits)]
        self.tokens += score_tokens(self._runner, logits[: len(following)], following, self._top)
