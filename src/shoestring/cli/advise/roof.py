"""The roof of decode: a pass over the very memory that each token of an answer reads, which does nothing but read."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from shoestring.cli.advise.timing import random_tokens

if TYPE_CHECKING:
    from shoestring.ops.reads import Reads
    from shoestring.runtime.model import Model

#: Tokens whose reads are recorded: enough for a mixture to choose several experts of each layer.
TOKENS = 16


def decode_reads(model: Model, count: int = TOKENS, prompt: list[int] | None = None) -> list[Reads]:
    """What each of `count` tokens after the first one reads; decoded once for it. Nothing for experts on disk."""
    from shoestring.ops.reads import Reads, recorded_reads

    if model.streaming is not None:
        return []
    draw = random.Random(count).randrange(1 << 20)
    pieces = model.generate(
        prompt or random_tokens(model, 1, draw), max_tokens=count + 1, temperature=0, ignore_eos=True
    )
    next(pieces)
    with recorded_reads() as steps:
        for _ in pieces:
            steps.append(Reads())
    return [step for step in steps if step.matrices]


def roof_seconds(reads: list[Reads]) -> float:
    """Seconds a token that all threads take to read this, token after token."""
    from shoestring.ops.limits import read_seconds

    return sum(read_seconds(step.matrices, step.arrays) for step in reads) / len(reads)
