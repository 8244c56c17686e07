"""One run of our engine in a process of its own: load, compute prompts, then decode given tokens. Prints JSON.

    PYTHONPATH=bench python -m streaming.ours JOB.json

Given tokens, not sampled ones, so that another engine can compute the same: a guide allows exactly one token a step.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import shoestring
from shoestring.ops.sampling import Sampling

#: Steps with the same token that are timed for D and E, after as many that load its experts; the most steps in all.
REPEATS, MOST_REPEATS = 12, 200
#: Bytes of the prefix cache of changing batches and of answers.
CACHE = 64 << 20


@dataclass(frozen=True)
class Job:
    """What a run does.

    memory: budget in bytes; None: none. prompts: one a sequence. answers: the tokens that follow each prompt; the first
    `settle` of them are not timed. at_once: all sequences in each step, else one sequence after another. hashes: of
    each sequence's log-probabilities. in_memory: then time steps that repeat a token, for D and E.

    usual: as `run` loads a model, without a choice of sequences and cache. record: a file for the routes.

    Instead: batches: so many seconds of changing batches. answer: sample so many tokens, `runs` times, and hash them
    with their log-probabilities.
    """

    file: str
    memory: int | None
    threads: int
    context: int
    prompts: list[list[int]] = field(default_factory=list)
    answers: list[list[int]] = field(default_factory=list)
    settle: int = 0
    at_once: bool = True
    hashes: bool = False
    in_memory: bool = False
    usual: bool = False
    record: str | None = None
    batches: float = 0.0
    answer: int = 0
    runs: int = 1

    def save(self, path: Path) -> Path:
        path.write_text(json.dumps(asdict(self)))
        return path


class Given:
    """A guide that allows the given tokens alone, one after another."""

    penalties_apply = False

    def __init__(self, tokens: list[int], vocabulary: int) -> None:
        self._tokens = iter(tokens)
        self._mask = np.zeros(-(-vocabulary // 32), np.uint32)

    def allowed(self) -> Any:
        token = next(self._tokens)
        self._mask[:] = 0
        self._mask[token // 32] = 1 << (token % 32)
        return self._mask

    def accept(self, token: int) -> tuple[int, ...]:
        return ()


def main() -> None:
    job = Job(**json.loads(Path(sys.argv[1]).read_text()))
    began = time.perf_counter()
    options: dict[str, Any] = {} if job.memory is None else {"memory": job.memory}
    if job.batches or job.answer:
        options |= {"parallel": 8 if job.batches else 1, "cache_memory": CACHE}
    elif not job.usual:  # no prefix cache, so that every prompt is computed
        options |= {"parallel": len(job.prompts) if job.at_once else 1, "cache_memory": 0}
    if job.record is not None:
        options["record_routes"] = job.record
    model = shoestring.load(job.file, threads=job.threads, context=job.context, **options)
    facts: dict[str, Any] = {"load_seconds": time.perf_counter() - began}
    facts |= streaming_facts(model)
    if job.answer:
        facts["answers"] = [sampled(model, job) for _ in range(job.runs)]
    elif job.batches:
        facts["tokens"] = changing_batches(model, job)
    else:
        facts |= given_tokens(model, job)
    if model.streaming is not None:
        facts["totals"] = asdict(model.streaming.totals)
    if job.record is not None:
        model.close()  # writes the routes
    print(json.dumps(facts))


def read_bytes(model: Any) -> int:
    """Bytes of all experts that were needed and read so far."""
    return model.streaming.totals.missed_bytes if model.streaming is not None else 0


def streaming_facts(model: Any) -> dict[str, Any]:
    """Whether the model streams, and its slots."""
    return {"streams": model.streaming is not None, "slots": model.streaming.slots if model.streaming else 0}


def given_tokens(model: Any, job: Job) -> dict[str, Any]:
    """Prompts, then answers of given tokens, then steps in memory."""
    pairs = list(zip(job.prompts, job.answers, strict=True))
    parts = [together(model, job, each) for each in ([pairs] if job.at_once else [[pair] for pair in pairs])]
    facts: dict[str, Any] = {key: [value for part in parts for value in part[key]] for key in parts[0]}
    if job.in_memory:
        facts |= in_memory(model, job)
    return facts


def together(model: Any, job: Job, pairs: list[tuple[list[int], list[int]]]) -> dict[str, list[Any]]:
    """Compute sequences at once. Lists: of prefills, of timed steps, of sequences."""
    engine, counted = model.engine, counted_reads(model)
    sampling = Sampling(temperature=0.0, logprobs=2 if job.hashes else None)
    began, bytes_before = time.perf_counter(), read_bytes(model)
    numbers = [
        engine.generate(prompt, sampling, max_tokens=len(answer), guide=Given(answer, model.vocab_size))
        for prompt, answer in pairs
    ]
    delivered: dict[int, list[Any]] = {number: [] for number in numbers}
    while not all(delivered.values()):
        step(engine, delivered)
    prefill = time.perf_counter() - began, read_bytes(model) - bytes_before, max(counted.values(), default=0)
    steps: list[tuple[float, int, int]] = []
    while any(len(delivered[number]) < len(answer) for number, (_, answer) in zip(numbers, pairs, strict=True)):
        counted.clear()
        before, bytes_before = time.perf_counter(), read_bytes(model)
        step(engine, delivered)
        steps.append((time.perf_counter() - before, read_bytes(model) - bytes_before, max(counted.values(), default=0)))
    for number in numbers:
        engine.cancel(number)
    timed = steps[job.settle :]
    return {
        "prefill_seconds": [prefill[0]],
        "prefill_read_bytes": [prefill[1]],
        "prefill_reads_of_an_expert": [prefill[2]],
        "step_seconds": [seconds for seconds, _, _ in timed],
        "step_read_bytes": [size for _, size, _ in timed],
        "step_reads_of_an_expert": [count for _, _, count in timed],
        "hashes": [hashlib.sha256(repr(delivered[number]).encode()).hexdigest() for number in numbers],
    }


def step(engine: Any, delivered: dict[int, list[Any]]) -> None:
    """A step; adds what was sampled in each sequence."""
    engine.step()
    for delivery in engine.collect():
        if delivery.error is not None:
            raise delivery.error
        delivered[delivery.number].append(delivery.sampled)


def counted_reads(model: Any) -> Counter[Any]:
    """Counts from now on how often each expert is read; empty where nothing streams."""
    counts: Counter[Any] = Counter()
    if model.streaming is not None:
        model.streaming.observe_reads(lambda key: counts.update([key]))
    return counts


def timed_call(call: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
    def timed(*values: Any) -> Any:
        began = time.perf_counter()
        result = call(*values)
        seconds.append(time.perf_counter() - began)
        return result

    return timed


def in_memory(model: Any, job: Job) -> dict[str, float]:
    """D and E of a step: seconds of everything but experts, and of routed and shared experts.

    Each sequence repeats a token, so that every expert it needs is in memory after some steps. Steps that still read
    one, because the state of more tokens has changed a choice, do not count. Raises RuntimeError if too few do.
    """
    if model.streaming is None:
        raise RuntimeError("D and E are timed of a model that streams: give less memory")
    engine, runner = model.engine, model.engine.runner
    heads: list[float] = []
    runner.head = timed_call(runner.head, heads)
    most = min(MOST_REPEATS, job.context - 2)
    numbers = [
        engine.generate(
            [answer[-1]],
            Sampling(temperature=0.0),
            max_tokens=most,
            guide=Given([answer[-1]] * most, model.vocab_size),
        )
        for answer in job.answers
    ]
    delivered: dict[int, list[Any]] = {number: [] for number in numbers}
    whole, expert = [], []
    while len(whole) < REPEATS and min(map(len, delivered.values())) < most - 1:
        before, earlier = time.perf_counter(), model.streaming.totals
        step(engine, delivered)
        seconds, done = time.perf_counter() - before, model.streaming.totals - earlier
        if done.missed_bytes == 0 and min(map(len, delivered.values())) > REPEATS:
            whole.append(seconds)
            expert.append(done.expert_seconds)
    del runner.head
    for number in numbers:
        engine.cancel(number)
    if len(whole) < REPEATS // 2:
        raise RuntimeError(f"only {len(whole)} of {most} steps that repeat a token read nothing: too few slots")
    e = float(np.median(expert))
    return {"D": float(np.median(whole)) - e, "E": e, "head": float(np.median(heads))}


def sampled(model: Any, job: Job) -> str:
    """A hash of a sampled answer: its tokens and their log-probabilities, to the bit."""
    digest = hashlib.sha256()
    options = {"temperature": 0.8, "seed": 7, "logprobs": 4, "ignore_eos": True, "max_tokens": job.answer}
    for piece in model.generate(job.prompts[0], **options):
        for token in piece.tokens:
            digest.update(repr(token).encode())
    return digest.hexdigest()


def changing_batches(model: Any, job: Job) -> int:
    """Prompts of 1 to 400 tokens, answers of 1 to 60, one to eight sequences, some cancelled. Returns tokens."""
    draw, engine, tokens = random.Random(3), model.engine, 0
    end = time.perf_counter() + job.batches
    running: dict[int, int] = {}
    while time.perf_counter() < end:
        while len(running) < draw.randint(1, 8):
            prompt = [draw.randrange(model.vocab_size // 2) for _ in range(draw.randint(1, min(400, job.context // 2)))]
            most = draw.randint(1, 60)
            running[engine.generate(prompt, Sampling(seed=draw.randrange(99)), max_tokens=most)] = 0
        engine.step()
        for delivery in engine.collect():
            if delivery.error is not None:
                raise delivery.error
            tokens += 1
            if delivery.last or draw.random() < 0.01:
                engine.cancel(delivery.number)
                running.pop(delivery.number, None)
    return tokens


if __name__ == "__main__":
    main()
