"""Model: a loaded checkpoint with its tokenizer, template and engine; what `shoestring.load` returns.

Owns the Python API: logits, generate, perplexity. Everything below it knows tokens only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from shoestring.engine.engine import Engine
from shoestring.engine.sampler import Sampling
from shoestring.errors import RequestError
from shoestring.output.form import form_of
from shoestring.output.pieces import Answer, Piece
from shoestring.output.syntax import Vocabulary
from shoestring.runtime import perplexity as perplexities
from shoestring.runtime.default_sampling import default_sampling

Float32 = npt.NDArray[np.float32]
Message = Mapping[str, Any]


class Tokenizer(Vocabulary, Protocol):
    """What a model asks of a tokenizer (checkpoint/text/tokenizer.py), beside what the output does."""

    @property
    def bos_id(self) -> int | None: ...
    @property
    def add_bos(self) -> bool: ...


class Rendered(Protocol):
    """A rendered conversation (checkpoint/text/chat_template.py)."""

    @property
    def token_ids(self) -> tuple[int, ...]: ...
    @property
    def inside_thinking(self) -> bool: ...


class Template(Protocol):
    """What a model asks of a chat template."""

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Message] | None = None,
        enable_thinking: bool | None = None,
        add_generation_prompt: bool = True,
        **kwargs: Any,
    ) -> Rendered: ...


@dataclass(frozen=True)
class Prompt:
    """Tokens to go on from, where later requests may branch off, and whether the answer begins in thinking."""

    tokens: tuple[int, ...]
    boundaries: tuple[int, ...] = ()
    chat: bool = False
    inside_thinking: bool = False


class Model:
    """A model ready to answer. Not thread-safe; several answers at once are a batch of `generate`.

    family: "qwen3_5" or "llama4". check: called before each use, raises CheckpointError when the files changed.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        template: Template,
        *,
        family: str,
        generation_config: Mapping[str, Any] | None = None,
        check: Callable[[], None] | None = None,
    ) -> None:
        self.engine = engine
        self.tokenizer = tokenizer
        self.template = template
        self.family = family
        self._generation_config = generation_config or {}
        self.check = check or (lambda: None)

    @property
    def context(self) -> int:
        """Most tokens of a sequence, prompt and answer."""
        return self.engine.context

    @property
    def vocab_size(self) -> int:
        """Width of a row of logits."""
        return self.engine.runner.vocab_size

    # --- logits ------------------------------------------------------------------------------------------------

    def logits(
        self,
        tokens: Sequence[int] | npt.NDArray[np.integer],
        rows: Sequence[int] | None = None,
        chunk: int | None = None,
    ) -> Float32:
        """Logits that follow the tokens at positions `rows` (default: all, in ascending order).

        Returns float32 [rows, vocab_size]; negative rows count from the end. chunk: rows computed in one step
        (default 512); no bit depends on it. Raises CapacityError for more tokens than the context, RequestError
        for token ids or rows out of range.
        """
        self.check()
        ids = [int(token) for token in tokens]
        wanted = list(range(len(ids))) if rows is None else [int(row) + len(ids) * (row < 0) for row in rows]
        place = {row: i for i, row in enumerate(wanted)}
        out = np.empty((len(wanted), self.vocab_size), np.float32)

        def receive(first: int, logits: Float32) -> None:
            for i, row in enumerate(logits):
                out[place[first + i]] = row

        self.engine.score(ids, receive, rows=wanted, chunk=chunk)
        for i, row in enumerate(wanted):  # a row that was asked for twice
            if place[row] != i:
                out[i] = out[place[row]]
        return out

    def perplexity(
        self, text: str, context: int = perplexities.WINDOW, progress: Callable[[int, int], None] | None = None
    ) -> perplexities.Perplexity:
        """Perplexity of a text in windows of `context` tokens, as llama.cpp defines it.

        progress: called with windows done and in all. Raises RequestError for a text shorter than two windows,
        CapacityError for a window longer than the model's context.
        """
        self.check()
        bos = self.tokenizer.bos_id if self.tokenizer.add_bos else None
        tokens = self.tokenizer.encode(text)
        if bos is not None:
            tokens = [bos, *tokens]
        return perplexities.perplexity(self.engine, tokens, window=context, bos=bos, progress=progress)

    # --- generate ----------------------------------------------------------------------------------------------

    def prompt(
        self,
        prompt: str | Sequence[int] | None = None,
        messages: Sequence[Message] | None = None,
        *,
        tools: Sequence[Message] | None = None,
        thinking: bool | None = None,
    ) -> Prompt:
        """The tokens of a raw prompt (with its beginning-of-text token) or of a conversation.

        thinking: whether the model shall think first, where its template knows that; None: the template's choice.
        Raises RequestError for both or none of prompt and messages, or an unknown role.
        """
        if (prompt is None) == (messages is None):
            raise RequestError("give either a prompt or messages")
        if messages is not None:
            return self._conversation(messages, tools, thinking)
        if not isinstance(prompt, str):
            assert prompt is not None
            return Prompt(tuple(int(token) for token in prompt))
        tokens = self.tokenizer.encode(prompt)
        if self.tokenizer.add_bos and self.tokenizer.bos_id is not None:
            tokens = [self.tokenizer.bos_id, *tokens]
        return Prompt(tuple(tokens))

    def _conversation(
        self, messages: Sequence[Message], tools: Sequence[Message] | None, thinking: bool | None
    ) -> Prompt:
        rendered = self.template.render(messages, tools, thinking)
        whole = self.template.render(messages, tools, thinking, add_generation_prompt=False).token_ids
        # Where the next turn branches off: behind the last message, before what opens the answer.
        end = next((i for i, (a, b) in enumerate(zip(whole, rendered.token_ids, strict=False)) if a != b), len(whole))
        return Prompt(tuple(rendered.token_ids), (end,), chat=True, inside_thinking=rendered.inside_thinking)

    def default_sampling(self, *, thinking: bool) -> Sampling:
        """generation_config.json of the checkpoint, else what the vendor recommends."""
        return default_sampling(self.family, thinking, self._generation_config)

    def generate(
        self,
        prompt: str | Sequence[int] | Sequence[str] | Sequence[Sequence[int]] | None = None,
        messages: Sequence[Message] | Sequence[Sequence[Message]] | None = None,
        *,
        tools: Sequence[Message] | None = None,
        thinking: bool | None = None,
        max_tokens: int | None = None,
        stop: str | Sequence[str] = (),
        stop_ids: Sequence[int] = (),
        ignore_eos: bool = False,
        chunk: int | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        presence_penalty: float | None = None,
        frequency_penalty: float | None = None,
        repetition_penalty: float | None = None,
        logit_bias: Mapping[int, float] | None = None,
        seed: int | None = None,
        logprobs: int | None = None,
    ) -> Iterator[Piece]:
        """Answer one prompt (text or token ids), one conversation, or a list of either: a batch.

        Pieces come as they are computed, those of a batch interleaved; `piece.index` tells whose they are, and an
        answer's last piece has a finish_reason. An answer's tokens depend on its own prompt, options and seed
        alone, whatever else is in the batch. Closing the iterator ends all answers.

        max_tokens: default until the context is full. stop: the answer ends before any of these strings.
        stop_ids: token ids that end it, beside the model's own (unless ignore_eos). Options left None follow
        `default_sampling`; the others are explained at `Sampling`.

        Errors are raised at the call, not at the first piece: RequestError, CapacityError, CheckpointError.
        """
        self.check()
        prompts = [self.prompt(p, m, tools=tools, thinking=thinking) for p, m in batch(prompt, messages)]
        options: dict[str, Any] = {
            "temperature": temperature,
            "top_k": top_k,
            "top_p": top_p,
            "min_p": min_p,
            "presence_penalty": presence_penalty,
            "frequency_penalty": frequency_penalty,
            "repetition_penalty": repetition_penalty,
            "logit_bias": logit_bias,
            "seed": seed,
            "logprobs": logprobs,
        }
        given = {name: value for name, value in options.items() if value is not None}
        stops = (stop,) if isinstance(stop, str) else tuple(stop)
        ends = frozenset(stop_ids) | (frozenset() if ignore_eos else self.tokenizer.eos_ids)
        answers: dict[int, Answer] = {}
        try:
            for index, one in enumerate(prompts):
                sampling = dataclasses.replace(self.default_sampling(thinking=one.inside_thinking), **given)
                number = self.engine.generate(
                    one.tokens,
                    sampling,
                    max_tokens=max_tokens,
                    stop_ids=ends,
                    boundaries=one.boundaries,
                    chunk=chunk,
                )
                form = form_of(self.tokenizer, self.family, chat=one.chat, stops=stops, hidden_ids=ends)
                answers[number] = Answer(index, form, one.inside_thinking)
        except BaseException:
            self._cancel(answers)
            raise
        return self._pieces(answers)

    def _pieces(self, answers: dict[int, Answer]) -> Iterator[Piece]:
        try:
            while not all(answer.finished for answer in answers.values()):
                news = self.engine.deliveries(list(answers))
                if not news:
                    raise RequestError("the answer was given up, because another request failed in the same step")
                for delivery in news:
                    if delivery.error is not None:
                        raise delivery.error
                    answer, sampled = answers[delivery.number], delivery.sampled
                    if answer.finished:
                        continue
                    pieces = answer.push(sampled, delivery.finish_reason)
                    if answer.finished:
                        self.engine.cancel(delivery.number)
                    yield from pieces
        finally:
            self._cancel(answers)

    def _cancel(self, answers: Mapping[int, Answer]) -> None:
        for number in answers:
            self.engine.cancel(number)


def batch(prompt: Any, messages: Any) -> list[tuple[str | Sequence[int] | None, Sequence[Message] | None]]:
    """One prompt or conversation as a list of one, a list of them as it is."""
    if prompt is not None and messages is not None:
        raise RequestError("give either a prompt or messages, not both")
    if messages is not None:
        if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
            raise RequestError("messages must be a list of messages, or a list of such lists")
        if isinstance(messages[0], Mapping):
            return [(None, messages)]
        return [(None, conversation) for conversation in messages]
    if isinstance(prompt, str):
        return [(prompt, None)]
    items = prompt.tolist() if isinstance(prompt, np.ndarray) else prompt
    if not isinstance(items, Sequence) or not items:
        raise RequestError("the prompt must be a text, a list of token ids, or a list of either")
    if isinstance(items[0], int | np.integer):
        return [(items, None)]
    return [(item, None) for item in items]
