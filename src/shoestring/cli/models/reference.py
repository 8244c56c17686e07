"""`shoestring run --reference`: answer a prompt with `shoestring.reference`, plain numpy float64.

For checking results, also without the compiled extension. Slow, and its bits depend on numpy.
"""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shoestring.checkpoint.text.chat_template import ChatTemplate
from shoestring.checkpoint.text.tokenizer import Tokenizer
from shoestring.cli.say import say
from shoestring.engine.request import FinishReason
from shoestring.errors import CapacityError, RequestError
from shoestring.ops.sampling import Sampled, Sampling
from shoestring.output.form import form_of
from shoestring.output.machine import OutputMachine
from shoestring.output.pieces import Piece, Pieces, as_last
from shoestring.reference.model import generate
from shoestring.runtime.default_sampling import default_sampling, sampling_fields
from shoestring.runtime.opening import open_model
from shoestring.runtime.prompt import chat_prompt, raw_prompt
from shoestring.runtime.request import ChatRequest

NOTICE = "reference: plain numpy float64, slow, and not bit-reproducible"


def answer_by_reference(path: Path, question: Mapping[str, Any], arguments: Mapping[str, Any], *, json: bool) -> None:
    """Print the answer to `question`; both arguments are keyword arguments of Model.generate."""
    say(NOTICE, err=True)
    opened = open_model(path)
    tokenizer = Tokenizer.from_checkpoint(opened.checkpoint)
    if "messages" in question:
        template = ChatTemplate.from_checkpoint(opened.checkpoint, tokenizer, opened.config.family)
        prompt = chat_prompt(template, ChatRequest(tuple(question["messages"]), thinking=arguments["thinking"]))
    else:
        prompt = raw_prompt(tokenizer, question["prompt"])
    tokens, thinking = list(prompt.tokens), prompt.inside_thinking
    free_tokens = opened.config.max_position_embeddings - len(tokens)
    if free_tokens < 1:
        raise CapacityError(f"the prompt has {len(tokens)} tokens and fills the model's context: shorten it")
    most = min(free_tokens, arguments["max_tokens"] or free_tokens)
    fields = sampling_fields(opened.checkpoint, tokenizer.vocab_size)
    sampling = options(opened.config.family, thinking, fields, arguments)
    vocabulary = min(tokenizer.vocab_size, opened.config.vocab_size)
    check_ids({"the prompt": tokens, "logit_bias": sampling.logit_bias, "stop_ids": arguments["stop_ids"]}, vocabulary)
    pick = Picker(sampling, vocabulary, tokens)
    ends = tokenizer.eos_ids | set(arguments["stop_ids"])
    form = form_of(tokenizer, opened.config.family, chat=prompt.chat, stops=arguments["stop"], hidden_ids=ends)
    machine, pieces_of = OutputMachine(form, inside_thinking=thinking), Pieces(0, thinking=thinking)
    pieces: list[Piece] = []
    for count, token in enumerate(generate(opened.config, opened.binding, tokens, pick), start=1):
        reason: FinishReason | None = "stop" if token in ends else "length" if count == most else None
        sampled = Sampled(token)
        new = pieces_of.take(machine.push(sampled, reason), (sampled,))
        if machine.finish_reason is not None:
            new[-1] = as_last(new[-1], machine.finish_reason, inside_thinking=machine.ended_inside_thinking)
        pieces += new
        if not json:
            say("".join(piece.text for piece in new), nl=False)
            sys.stdout.flush()
        if machine.finish_reason is not None:
            break
    if not json:
        say()
        return
    facts = {
        "reference": True,
        "text": "".join(piece.text for piece in pieces if not piece.thinking),
        "thinking": "".join(piece.text for piece in pieces if piece.thinking),
        "finish_reason": pieces[-1].finish_reason,
        "ended_inside_thinking": pieces[-1].ended_inside_thinking,
        "tokens": [token.id for piece in pieces for token in piece.tokens],
        "prompt_tokens": len(tokens),
    }
    say(json_module.dumps(facts))


def check_ids(ids: Mapping[str, Iterable[int]], vocabulary: int) -> None:
    """Raise RequestError for token ids beyond the vocabulary. ids: by the name of the option."""
    for name, tokens in ids.items():
        if any(not 0 <= token < vocabulary for token in tokens):
            raise RequestError(f"{name}: token ids must lie between 0 and {vocabulary - 1}")


def options(family: str, thinking: bool, fields: Mapping[str, Any], arguments: Mapping[str, Any]) -> Sampling:
    """The given options; others from the checkpoint or the vendor."""
    import dataclasses

    names = {field.name for field in dataclasses.fields(Sampling)}
    overrides = {name: value for name, value in arguments.items() if name in names}
    return dataclasses.replace(default_sampling(family, thinking, fields), **overrides).seeded()


class Picker:
    """Plain sampling: penalties, temperature, top-k, top-p, min-p, one draw."""

    def __init__(self, sampling: Sampling, vocabulary_size: int, prompt: list[int]) -> None:
        self._sampling = sampling
        self._vocabulary_size = vocabulary_size
        self._random = np.random.default_rng(sampling.seed)
        self._prompt = prompt
        self._generated: list[int] = []

    def __call__(self, logits: npt.NDArray[Any]) -> int:
        token = self._pick(logits[: self._vocabulary_size].astype(np.float64))
        self._generated.append(token)
        return token

    def _pick(self, x: npt.NDArray[np.float64]) -> int:
        s = self._sampling
        for token, bias in s.logit_bias.items():
            x[token] += bias
        for token in {*self._prompt, *self._generated}:
            x[token] = x[token] / s.repetition_penalty if x[token] > 0 else x[token] * s.repetition_penalty
        for token in set(self._generated):
            x[token] -= s.presence_penalty + s.frequency_penalty * self._generated.count(token)
        if s.temperature == 0:
            return int(np.argmax(x))
        p = np.exp((x - x.max()) / s.temperature)
        order = np.argsort(-p, kind="stable")[: s.top_k or None]
        probabilities = p[order] / p[order].sum()
        count = int(np.searchsorted(np.cumsum(probabilities), s.top_p)) + 1
        keep = (np.arange(len(probabilities)) < count) & (probabilities >= s.min_p * probabilities[0])
        order, probabilities = order[keep], probabilities[keep]
        return int(
            order[np.searchsorted(np.cumsum(probabilities), self._random.random() * probabilities.sum(), side="right")]
        )
