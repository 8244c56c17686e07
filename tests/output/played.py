"""Plays a guide as the engine does, with a choice among the allowed tokens instead of a model."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from assembled import Assembled, assemble

from shoestring.ops.sampling import Sampled
from shoestring.output.events import Event
from shoestring.output.form import Form
from shoestring.output.machine import OutputMachine

#: chooses the next token from the tokens so far and the allowed ids
Choose = Callable[[Sequence[int], Sequence[int]], int]


@dataclass
class Played:
    tokens: list[int] = field(default_factory=list)
    #: whether each token was forced
    forced: list[bool] = field(default_factory=list)
    #: allowed ids at each sampled position; None: all
    allowed: list[list[int] | None] = field(default_factory=list)
    penalties: list[bool] = field(default_factory=list)
    answer: Assembled = field(default_factory=Assembled)
    text: str = ""


def play(form: Form, choose: Choose, *, inside_thinking: bool = False, most: int = 400) -> tuple[Played, OutputMachine]:
    """Play until an end token, or `most` tokens."""
    machine, played = OutputMachine(form, inside_thinking=inside_thinking), Played()
    everything = range(form.tokenizer.vocab_size)
    events: list[Event] = []

    def deliver(token: int, forced: bool) -> bool:
        played.tokens.append(token)
        played.forced.append(forced)
        over = "stop" if token in form.hidden_ids else "length" if len(played.tokens) >= most else None
        events.extend(machine.push(Sampled(token), over))  # type: ignore[arg-type]
        return machine.finish_reason is not None

    while True:
        played.penalties.append(machine.penalties_apply)
        mask = machine.allowed()
        ids = None if mask is None else ids_of(mask)
        played.allowed.append(ids)
        assert ids != []
        token = choose(played.tokens, everything if ids is None else ids)
        forced = machine.accept(token)
        if deliver(token, False) or any(deliver(one, True) for one in forced):
            break
    played.answer = assemble(events, machine.finish_reason)
    played.text = form.tokenizer.decode([t for t in played.tokens if t not in form.hidden_ids])
    return played, machine


def ids_of(mask: np.ndarray) -> list[int]:
    return np.flatnonzero(np.unpackbits(mask.astype("<u4").view(np.uint8), bitorder="little")).tolist()  # type: ignore[no-any-return]


def among(id: int, ids: Sequence[int]) -> bool:
    """Whether ascending `ids` contain the token."""
    place = bisect_left(ids, id)
    return place < len(ids) and ids[place] == id


def at_random(seed: int, favourites: Sequence[int] = (), share: float = 0.5) -> Choose:
    """A random allowed token; `favourites` more often, so that answers end."""
    draw = random.Random(seed)

    def choose(_: Sequence[int], ids: Sequence[int]) -> int:
        liked = [id for id in favourites if among(id, ids)] if len(ids) > 1 else []
        return draw.choice(liked if liked and draw.random() < share else ids)

    return choose


def scripted(tokens: Sequence[int], then: Choose) -> Choose:
    """These tokens, which must be allowed at their positions unless forced already; then what `then` chooses."""

    def choose(before: Sequence[int], ids: Sequence[int]) -> int:
        if len(before) < len(tokens):
            assert list(before) == list(tokens[: len(before)]), "another token was forced"
            assert among(tokens[len(before)], ids), f"token {tokens[len(before)]} behind {len(before)} is not allowed"
            return tokens[len(before)]
        return then(before, ids)

    return choose
