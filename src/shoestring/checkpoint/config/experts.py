"""Another number of experts a token than the file's: faster or slower, and another model by its answers."""

from __future__ import annotations

import dataclasses
import re

from shoestring.checkpoint.config.types import Config, Qwen3_5Config
from shoestring.errors import RequestError
from shoestring.spelling import option

_CHANGED = re.compile(r"\d+ experts a token instead of \d+")


def with_experts_per_token(config: Config, count: int) -> Config:
    """The config with `count` experts a token. Raises RequestError for a dense model or a count that it cannot have.

    Its answers are another model's: whatever names the model or stores its results must name `changed_experts` too.
    """
    name, experts, own = option("experts_per_token"), num_experts(config), own_experts_per_token(config)
    if not experts:
        raise RequestError(f"{name} is {count!r} and this model is dense, without experts: leave {name} out")
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= experts:
        raise RequestError(f"{name} is {count!r}: choose a number from 1 to {experts}; the model's own is {own}")
    return dataclasses.replace(config, num_experts_per_tok=count, own_experts_per_tok=own if count != own else None)


def num_experts(config: Config) -> int:
    """Routed experts of a layer; 0: the model is dense."""
    return config.num_experts if isinstance(config, Qwen3_5Config) else config.num_local_experts


def own_experts_per_token(config: Config) -> int:
    """Experts a token as the file says."""
    return config.num_experts_per_tok if config.own_experts_per_tok is None else config.own_experts_per_tok


def changed_experts(config: Config) -> str | None:
    """What the user has changed, "4 experts a token instead of 8", for people and names of results; None: nothing."""
    if config.own_experts_per_tok is None:
        return None
    return f"{config.num_experts_per_tok} experts a token instead of {config.own_experts_per_tok}"


def says_changed_experts(text: object) -> bool:
    """Whether a text, of a stored result, is one of `changed_experts`."""
    return isinstance(text, str) and _CHANGED.fullmatch(text) is not None
