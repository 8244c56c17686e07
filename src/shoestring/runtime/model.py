"""Model: a loaded checkpoint with tokenizer, template and engine, and the Python API. `shoestring.load` returns it.

`submit` is the one way into the engine: `generate`, the command line and the server use it.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

import numpy as np
import numpy.typing as npt

from shoestring.checkpoint.text.text_work import limited
from shoestring.engine.engine import Engine
from shoestring.engine.pictures.placed import PromptPictures
from shoestring.errors import RequestError
from shoestring.media.source import Source
from shoestring.ops.sampling import Sampling
from shoestring.output.form import Form, form_of
from shoestring.output.request import Constraint, ToolChoice
from shoestring.output.syntax import syntax_of
from shoestring.runtime import perplexity as perplexities
from shoestring.runtime.answer_options import (
    checked_constraint,
    checked_stop_ids,
    checked_stops,
    checked_tool_choice,
    checked_tools,
)
from shoestring.runtime.answers import Answers
from shoestring.runtime.arguments import (
    check_context,
    check_result,
    switch,
    text_of,
    unknown_option,
    whole,
    whole_numbers,
)
from shoestring.runtime.continued import before, continued
from shoestring.runtime.default_sampling import default_sampling
from shoestring.runtime.pictures.messages import source_from, with_sources
from shoestring.runtime.pictures.reader import PictureReader
from shoestring.runtime.prompt import Prompt, Template, Tokenizer, chat_prompt, raw_prompt, refuse_long, text_tokens
from shoestring.runtime.request import ChatRequest, GenerationOptions, Message, Request, requests_of
from shoestring.runtime.stream import Stream
from shoestring.runtime.streamed.info import StreamingInfo

#: What `generate` takes beside its own options.
SAMPLING_FIELDS = frozenset(field.name for field in dataclasses.fields(Sampling))

Float32 = npt.NDArray[np.float32]
Ids = Sequence[int] | npt.NDArray[np.integer]


class Model:
    """A model ready to answer. Several threads may use it; their answers share the engine's steps, as a batch's do.

    As a context manager, it closes itself at the end of the block.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        template: Template,
        *,
        family: str,
        sampling_fields: Mapping[str, Any] | None = None,
        streaming: StreamingInfo | None = None,
        changed_experts: str | None = None,
        vision: PictureReader | None = None,
    ) -> None:
        """family: "qwen3_5" or "llama4". sampling_fields: fields of Sampling that the checkpoint sets.

        changed_experts: what `experts_per_token` has changed, "4 experts a token instead of 8". vision: None: it reads
        text alone.
        """
        self._engine: Engine | None = engine
        self.tokenizer = tokenizer
        self.template = template
        self.family = family
        self._sampling_fields = sampling_fields or {}
        self._streaming = streaming
        self.changed_experts = changed_experts
        #: how it reads pictures and video, and what they cost in tokens; where it reads none, why (`vision.missing`)
        self.vision = vision or PictureReader(family, None, tokenizer.encode)

    @property
    def engine(self) -> Engine:
        """Raises RequestError if the model is closed."""
        engine = self._engine
        if engine is None:
            raise RequestError("the model is closed: load it again")
        return engine

    def _check_open(self) -> None:
        """Raises RequestError if the model is closed."""
        _ = self.engine

    def __repr__(self) -> str:
        if self._engine is None:
            return f"Model({self.family}, closed)"
        streams = ", streams experts" if self._streaming is not None else ""
        return f"Model({self.family}, context={self.context}, vocab_size={self.vocab_size}{streams})"

    def close(self) -> None:
        """Free weights and state, and end answers in progress. Any later use raises RequestError."""
        engine, self._engine, self._streaming = self._engine, None, None
        if engine is not None:
            engine.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def context(self) -> int:
        """Most tokens of a sequence, prompt and answer."""
        return self.engine.context

    @property
    def vocab_size(self) -> int:
        """Width of a row of logits."""
        return self.engine.runner.vocab_size

    @property
    def streaming(self) -> StreamingInfo | None:
        """How its experts stream from disk; None: all of the model is in memory."""
        self._check_open()
        return self._streaming

    # --- text --------------------------------------------------------------------------------------------------

    def encode(self, text: str, *, add_bos: bool = True, allow_special: bool = False) -> list[int]:
        """Token ids of a text, as `generate` computes them.

        add_bos: begin with the beginning-of-text token if the model uses one. allow_special: read the spelling of a
        special token as that token, not as text.
        """
        _ = self.engine
        text_of(text, "text")
        if not add_bos:
            return self.tokenizer.encode(text, allow_special=allow_special)
        return text_tokens(self.tokenizer, text, allow_special=allow_special)

    def decode(self, tokens: Ids, *, skip_special: bool = False) -> str:
        """Text of token ids; bytes that are not UTF-8 become U+FFFD. skip_special: omit special tokens.

        Raises RequestError for ids out of range.
        """
        ids, most = whole_numbers(tokens, "tokens"), self.vocab_size
        if ids and not 0 <= min(ids) <= max(ids) < most:
            raise RequestError(f"token ids must lie between 0 and {most - 1}")
        return self.tokenizer.decode(ids, skip_special=skip_special)

    def _ids(self, tokens: Ids | Prompt) -> tuple[list[int], PromptPictures | None]:
        """Raises TypeError, and CapacityError for more tokens than the context."""
        if isinstance(tokens, Prompt):
            check_context(len(tokens.tokens), self.context)
            return tokens.rows, tokens.pictures
        return whole_numbers(tokens, "tokens", lambda count: check_context(count, self.context)), None

    # --- numbers -----------------------------------------------------------------------------------------------

    def logits(self, tokens: Ids | Prompt, rows: Sequence[int] | None = None, chunk: int | None = None) -> Float32:
        """Logits that follow the tokens at positions `rows` (default: all, in ascending order).

        tokens: ids, or what `prompt` returns, with its pictures.
        Returns float32 [rows, vocab_size]; negative rows count from the end. chunk: rows computed in one step
        (default 512); no bit depends on it. Raises CapacityError for more tokens than the context and for a result
        that does not fit into free memory, RequestError for token ids or rows out of range, TypeError for tokens, rows
        or a chunk that are not integers.
        """
        self._check_open()
        ids, pictures = self._ids(tokens)

        def check_rows(count: int) -> None:
            check_result(count, self.vocab_size, fewer="choose fewer `rows`")

        numbers = whole_numbers(range(len(ids)) if rows is None else rows, "rows", check_rows)
        positions = [row + len(ids) * (row < 0) for row in numbers]
        chunk = None if chunk is None else whole(chunk, "chunk")
        place = {row: i for i, row in enumerate(positions)}
        out = np.empty((len(positions), self.vocab_size), np.float32)

        def receive(first: int, logits: Float32) -> None:
            for i, row in enumerate(logits):
                out[place[first + i]] = row

        self.engine.score(ids, receive, rows=positions, chunk=chunk, pictures=pictures)
        for i, row in enumerate(positions):  # `rows` may repeat a row
            if place[row] != i:
                out[i] = out[place[row]]
        return out

    def hidden_states(
        self, tokens: Ids | Prompt, layers: Sequence[int] | None = None, chunk: int | None = None
    ) -> Float32:
        """Hidden states of every token at `layers` (default: all), numbered as in transformers.

        0 is the embeddings, i the residual stream after layer i, and the last (the number of layers) the result of
        the final norm, from which the head computes logits. Negative numbers count from the end.
        Returns float32 [layers, tokens, hidden_size]; no bit depends on `chunk`. Raises as `logits` does.
        """
        self._check_open()
        ids, pictures = self._ids(tokens)
        by_layer: dict[int, Float32] = {}
        chunk = None if chunk is None else whole(chunk, "chunk")
        runner = self.engine.runner
        last = runner.layers

        def check_layers(count: int) -> None:
            check_result(count, len(ids), runner.hidden_size, fewer="choose fewer `layers` or tokens")

        numbers = whole_numbers(range(last + 1) if layers is None else layers, "layers", check_layers)
        for number in numbers:
            if not -last - 1 <= number <= last:
                raise RequestError(f"layer {number} does not exist: choose from 0 (embeddings) to {last} (final norm)")
        order = [number % (last + 1) for number in numbers]

        def observe(layer: int, first: int, hidden: Float32) -> None:
            if layer in order:
                rows = by_layer.setdefault(layer, np.empty((len(ids), hidden.shape[1]), np.float32))
                rows[first : first + len(hidden)] = hidden

        last_row = [len(ids) - 1]
        self.engine.score(ids, lambda *_: None, rows=last_row, chunk=chunk, observe=observe, pictures=pictures)
        return np.stack([by_layer[layer] for layer in order])

    def perplexity(
        self, text: str, context: int = perplexities.WINDOW, progress: Callable[[int, int], None] | None = None
    ) -> perplexities.Perplexity:
        """Perplexity of a text in windows of `context` tokens, as llama.cpp defines it.

        progress: called with windows done and in all. Raises RequestError for a text shorter than two windows,
        CapacityError for a window longer than the model's context.
        """
        self._check_open()
        text_of(text, "text")
        check_context(whole(context, "context"), self.context)
        bos = self.tokenizer.bos_id if self.tokenizer.add_bos else None
        return perplexities.perplexity(self.engine, self.encode(text), window=context, bos=bos, progress=progress)

    def pixels(self, picture: Any) -> Float32:
        """What the model's processor makes of a picture (path, bytes, data URL) or of a video (a Source).

        Qwen 3.5: patches [rows × columns, 1536], the pairs of a video one after the other. Llama 4: tiles
        [tiles, 3, 336, 336]. Raises RequestError.
        """
        return self.vision.pixels(picture if isinstance(picture, Source) else source_from(picture, "image"))

    # --- answers -----------------------------------------------------------------------------------------------

    def prompt(
        self,
        prompt: str | Sequence[int] | None = None,
        messages: Sequence[Message] | None = None,
        *,
        tools: Sequence[Message] = (),
        thinking: bool | None = None,
    ) -> Prompt:
        """The prompt that `generate` would compute for a raw prompt or a conversation.

        Its `tokens` have a placeholder for every row of a picture, its `rotary_positions` three numbers for each token.
        Raises RequestError for both or none of prompt and messages, or an unknown role.
        """
        messages = with_sources(messages)
        requests = requests_of(prompt, messages, GenerationOptions(), tools=checked_tools(tools), thinking=thinking)
        if len(requests) != 1:
            raise RequestError(f"there are {len(requests)} prompts: give one at a time")
        return self.prompt_of(requests[0])

    def default_sampling(self, *, thinking: bool) -> Sampling:
        """The sampling of the checkpoint's generation_config.json, else the vendor's recommendation."""
        return default_sampling(self.family, thinking, self._sampling_fields)

    def generate(
        self,
        prompt: str | Sequence[int] | Sequence[str] | Sequence[Sequence[int]] | None = None,
        messages: Sequence[Message] | Sequence[Sequence[Message]] | None = None,
        *,
        tools: Sequence[Message] = (),
        tool_choice: ToolChoice | str = "auto",
        parallel_tool_calls: bool = True,
        thinking: bool | None = None,
        thinking_budget: int | None = None,
        constraint: Constraint | None = None,
        n: int = 1,
        max_tokens: int | None = None,
        stop: str | Sequence[str] = (),
        stop_ids: Sequence[int] | Set[int] = (),
        ignore_eos: bool = False,
        chunk: int | None = None,
        **sampling: Any,
    ) -> Stream:
        """Answer one prompt (text or token ids), one conversation, or a list of either: a batch.

        Yields pieces as they are computed, interleaved for a batch: `piece.index` is the prompt, `piece.choice` which
        of its `n` answers; an answer's last piece has a finish_reason. An answer's tokens depend on its own prompt,
        options and seed alone, not on the rest of the batch. Messages may show pictures and videos (docs/python.md).

        tools: in OpenAI's shape; `piece.calls` has complete calls. tool_choice: "auto", "none", "required", or
        ToolChoice("required", NAME). thinking: whether the model thinks first; None: its template's choice.
        thinking_budget: most tokens of thinking. constraint: the form of the content. max_tokens: default: until the
        context is full. stop: strings before which the answer ends. stop_ids: token ids that end it, in addition to
        the model's own (which ignore_eos turns off). sampling: fields of Sampling (temperature, seed, logprobs, …);
        `default_sampling` replaces missing fields and None.

        Errors are raised at the call, not at the first piece: RequestError, CapacityError; TypeError
        for options and token ids of another type, and for options that do not exist.
        """
        for name in sampling:
            if name not in SAMPLING_FIELDS:
                known = inspect.signature(Model.generate).parameters
                raise unknown_option("generate", name, [*SAMPLING_FIELDS, *(key for key in known if key != "sampling")])

        def optional(value: int | None, name: str) -> int | None:
            return None if value is None else whole(value, name)

        options = GenerationOptions(
            sampling,
            max_tokens=optional(max_tokens, "max_tokens"),
            stop=checked_stops(stop),
            stop_ids=checked_stop_ids(stop_ids),
            n=whole(n, "n"),
            ignore_eos=switch(ignore_eos, "ignore_eos"),
            constraint=checked_constraint(constraint),
            chunk=optional(chunk, "chunk"),
        )
        requests = requests_of(
            prompt,
            with_sources(messages),
            options,
            tools=checked_tools(tools),
            tool_choice=checked_tool_choice(tool_choice),
            parallel_tool_calls=switch(parallel_tool_calls, "parallel_tool_calls"),
            thinking=None if thinking is None else switch(thinking, "thinking"),
            thinking_budget=optional(thinking_budget, "thinking_budget"),
        )
        prompts, form = [self.prompt_of(request) for request in requests], self.form_of(requests[0])
        batch: list[Answers] = []
        try:
            for each in prompts:
                batch.append(self.submit(each, options, form))
        except BaseException:
            for answers in batch:
                answers.close()
            raise
        return Stream(lambda: self.engine, batch)

    def prompt_of(self, request: Request, most_tokens: int | None = None) -> Prompt:
        """The prompt of a request. Any thread may call this.

        most_tokens: default: the context. Raises CapacityError for a longer prompt, RequestError, TokenizerError.
        """
        with limited(self.context if most_tokens is None else most_tokens):
            if not isinstance(request, ChatRequest):
                return raw_prompt(self.tokenizer, request.prompt)
            refuse_long(self.tokenizer, request)
            if not request.continues:
                return chat_prompt(self.template, request, self.vision)
            prompt = chat_prompt(self.template, before(request), self.vision)
            return continued(prompt, request.messages[-1], self.tokenizer, syntax_of(self.tokenizer, self.family))

    def form_of(self, request: Request) -> Form:
        """The form of a request's answers. Any thread may call this. Raises RequestError."""
        options = request.options
        chat: dict[str, Any] = {"chat": False}
        if isinstance(request, ChatRequest):
            if request.continues and options.constraint is not None:
                what = "an answer that continues the last message cannot have a form of its own"
                raise RequestError(f"{what}: remove {options.constraint.where or 'the constraint'}, or that message")
            chat = {
                "tools": request.tools,
                "tool_choice": request.tool_choice,
                "parallel_tool_calls": request.parallel_tool_calls,
                "thinking_budget": request.thinking_budget,
            }
        if options.stop_ids and not 0 <= min(options.stop_ids) <= max(options.stop_ids) < self.vocab_size:
            raise RequestError(f"stop_ids: token ids must lie between 0 and {self.vocab_size - 1}")
        ends = options.stop_ids | (frozenset() if options.ignore_eos else self.tokenizer.eos_ids)
        return form_of(
            self.tokenizer,
            self.family,
            constraint=options.constraint,
            stops=options.stop,
            hidden_ids=ends,
            # Forced tokens have no log-probabilities; sampling them gives the same answer.
            force=options.sampling.get("logprobs") is None,
            **chat,
        )

    def submit(self, prompt: Prompt, options: GenerationOptions, form: Form) -> Answers:
        """Submit a prompt to the engine. Pass its deliveries to `Answers.take`; `Answers.close` ends the answers.

        Raises CapacityError, RequestError, TypeError; then nothing is left in the engine.
        """
        self._check_open()
        fields = {name: value for name, value in options.sampling.items() if value is not None}
        sampling = dataclasses.replace(self.default_sampling(thinking=prompt.inside_thinking), **fields).seeded()
        if options.n < 1:
            raise RequestError(f"n is {options.n}: choose at least 1")
        if options.prompt_logprobs and max(prompt.tokens) >= self.tokenizer.vocab_size:
            raise RequestError(f"token {max(prompt.tokens)} cannot be scored: the vocabulary has no such token")
        return Answers(self.engine, prompt, sampling, options, form)
