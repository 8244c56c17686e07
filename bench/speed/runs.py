"""What `shoestring bench` does not time: sequences at once, and answers after long prompts. Prints JSON.

    PYTHONPATH=bench python -m speed.runs FILE THREADS sequences|deep COUNT TOKENS REPETITIONS

sequences: rates of 1 and of COUNT sequences that decode TOKENS tokens each at once, in turn. deep: the rate of TOKENS
tokens after a prompt of COUNT, and the share of the roof, keys and values among what it reads.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import Any

import shoestring
from shoestring.cli.advise.roof import decode_reads, roof_seconds
from shoestring.cli.advise.timing import random_tokens
from shoestring.ops.sampling import Sampling

#: Tokens of each sequence's prompt, and steps before those that are timed.
PROMPT, SETTLE = 16, 4


def main() -> None:
    file, threads, what = sys.argv[1:4]
    count, tokens, repetitions = map(int, sys.argv[4:7])
    if what == "sequences":
        model = shoestring.load(file, threads=int(threads), parallel=count, cache_memory=0,
                                context=PROMPT + SETTLE + tokens + 2)  # fmt: skip
        pairs = [(together(model, 1, tokens), together(model, count, tokens)) for _ in range(repetitions + 1)][1:]
        print(json.dumps({"one": [one for one, _ in pairs], "many": [many for _, many in pairs]}))
    else:
        model = shoestring.load(file, threads=int(threads), parallel=1, context=count + 2 * tokens + 2)
        print(json.dumps(deep(model, count, tokens, repetitions)))


def together(model: Any, count: int, tokens: int) -> float:
    """Tokens per second of `count` sequences that decode at once."""
    engine, sampling = model.engine, Sampling(temperature=0.0)
    most = SETTLE + tokens + 1
    prompts = [random_tokens(model, PROMPT, number) for number in range(count)]
    numbers = [engine.generate(prompt, sampling, max_tokens=most) for prompt in prompts]
    done = dict.fromkeys(numbers, 0)

    def step() -> None:
        engine.step()
        for delivery in engine.collect():
            if delivery.error is not None:
                raise delivery.error
            done[delivery.number] += 1

    while min(done.values()) < SETTLE:
        step()
    before, began = sum(done.values()), time.perf_counter()
    while min(done.values()) < SETTLE + tokens:
        step()
    rate = (sum(done.values()) - before) / (time.perf_counter() - began)
    for number in numbers:
        engine.cancel(number)
    return rate


def deep(model: Any, depth: int, tokens: int, repetitions: int) -> dict[str, float]:
    """Decode after a prompt that the prefix cache keeps; its prefill, the rate, and the share of the roof."""
    prompt = random_tokens(model, depth, 1)
    began = time.perf_counter()
    reads = decode_reads(model, min(tokens, 8), prompt)
    first = time.perf_counter() - began
    rates, shares = [], []
    for _ in range(repetitions):
        pieces = model.generate(prompt, max_tokens=tokens + 1, temperature=0, ignore_eos=True)
        next(pieces)
        began = time.perf_counter()
        for _ in pieces:
            pass
        rates.append(tokens / (time.perf_counter() - began))
        shares.append(rates[-1] * roof_seconds(reads))
    return {
        "rate": statistics.median(rates),
        "share": statistics.median(shares),
        "bytes": sum(step.nbytes for step in reads) / len(reads),
        "seconds_of_prompt": first,
    }


if __name__ == "__main__":
    main()
