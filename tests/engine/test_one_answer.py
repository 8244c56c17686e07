"""The one law: file, tokens and KV type alone decide every bit; threads, chunks, batch, pages, reuse and CPU do not.

All comparisons use ==.
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
import random_checkpoints
from other_variants import OTHERS
from random_checkpoints import FAMILIES, TYPES, tokens
from shuffled_pools import shuffle_pools

import shoestring
from shoestring import ops
from shoestring.engine.engine import Engine
from shoestring.kv_types import KV_TYPES, KVType
from shoestring.ops.sampling import Sampling
from shoestring.runtime.model import Model

#: Crosses pages (64) and attention chunks (96).
LENGTH = 200


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    folder = tmp_path_factory.mktemp("models")
    return {
        (family, kind): random_checkpoints.write(family, kind, folder / f"{family}-{kind}.gguf")
        for family in FAMILIES
        for kind in TYPES
    }


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    yield
    ops.set_num_threads(2)


def load(path: Path, kv_type: KVType = "f16") -> Model:
    return shoestring.load(path, threads=2, kv_type=kv_type, context=512)


def cold(model: Model, *, sequences: int = 8) -> Model:
    """The same weights with an empty state."""
    engine = Engine(model.engine.runner, context=512, sequences=sequences, kv_type=model.engine.kv_type)
    return Model(engine, model.tokenizer, model.template, family=model.family)


def answer(model: Model, prompts: list[list[int]], **options: object) -> list[list[tuple[int, object, object]]]:
    """Tokens with all reported log-probabilities, which change with any bit of the logits."""
    by_request: list[list[tuple[int, object, object]]] = [[] for _ in prompts]
    for piece in model.generate(prompts, logprobs=5, seed=3, ignore_eos=True, **options):  # type: ignore[arg-type]
        by_request[piece.index] += [(token.id, token.logprob, token.top) for token in piece.tokens]
    return by_request


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_chunks_and_threads(family: str, kind: str, files: dict[tuple[str, str], Path]) -> None:
    model = load(files[family, kind])
    ops.set_num_threads(1)
    whole = model.logits(tokens(LENGTH), chunk=LENGTH)
    assert np.isfinite(whole).all()
    assert len(np.unique(whole[-1])) > 100, "equal logits prove nothing"
    for threads, chunk in ((3, LENGTH), (2, 64), (3, 7), (1, 1)):
        ops.set_num_threads(threads)
        assert np.array_equal(model.logits(tokens(LENGTH), chunk=chunk), whole), f"{threads} threads, chunk {chunk}"


@pytest.mark.parametrize("kv_type", KV_TYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_batches_of_mixed_lengths(family: str, kv_type: KVType, files: dict[tuple[str, str], Path]) -> None:
    model = load(files[family, "Q4_K"], kv_type)
    prompts = [tokens(length, seed=length) for length in (1, 63, 64, 65, 97, 130, 7, 192)]
    alone = [answer(cold(model), [prompt], max_tokens=12)[0] for prompt in prompts]
    for count in (3, 8):
        for chunk in (512, 7):
            assert answer(cold(model), prompts[:count], max_tokens=12, chunk=chunk) == alone[:count]
    assert answer(cold(model, sequences=2), prompts, max_tokens=12) == alone, "with requests that wait"


@pytest.mark.parametrize("family", FAMILIES)
def test_scoring_beside_others(family: str, files: dict[tuple[str, str], Path]) -> None:
    model = load(files[family, "Q6_K"])
    expected = model.logits(tokens(LENGTH))
    others = model.generate([tokens(90, seed=1), tokens(3, seed=2)], max_tokens=300, ignore_eos=True)
    next(others)
    assert np.array_equal(model.logits(tokens(LENGTH), chunk=11), expected)


@pytest.mark.parametrize("kind", ["Q8_0", "F32"])
@pytest.mark.parametrize("family", FAMILIES)
def test_pages_anywhere(family: str, kind: str, files: dict[tuple[str, str], Path]) -> None:
    model = load(files[family, kind])
    expected = model.logits(tokens(LENGTH))
    for seed in range(3):
        shuffled = cold(model)
        shuffle_pools(shuffled.engine, seed)
        assert np.array_equal(shuffled.logits(tokens(LENGTH), chunk=33), expected)


@pytest.mark.parametrize("length", [63, 64, 65, 95, 96, 97, 128, 191, 192, 193])
@pytest.mark.parametrize("family", FAMILIES)
def test_at_the_edges_of_pages_and_chunks(family: str, length: int, files: dict[tuple[str, str], Path]) -> None:
    """A sequence that ends at an edge, or crosses it token by token, has the logits of the whole sequence."""
    model = load(files[family, "Q5_K"])
    whole = model.logits(tokens(LENGTH))
    assert np.array_equal(cold(model).logits(tokens(LENGTH)[:length]), whole[:length])
    stepped = cold(model)
    stepped.logits(tokens(LENGTH)[: length - 2])
    for end in range(length - 1, length + 3):
        assert np.array_equal(stepped.logits(tokens(LENGTH)[:end], rows=[-1]), whole[end - 1 : end])


@pytest.mark.parametrize(("kind", "kv_type"), [("Q4_K", "f16"), ("BF16", "q8_0")])
@pytest.mark.parametrize("family", FAMILIES)
def test_reuse_is_as_good_as_computing(
    family: str, kind: str, kv_type: KVType, files: dict[tuple[str, str], Path]
) -> None:
    """A conversation that grows, branches and repeats gets the answers of an engine with an empty cache."""
    model = load(files[family, kind], kv_type)
    warm = cold(model)
    stem = tokens(120)
    turns = [
        stem,
        stem,
        stem + tokens(30, seed=1),
        stem[:100] + tokens(40, seed=2),
        stem[:70],
        stem + tokens(100, seed=1),
        stem[:100] + tokens(50, seed=2),
    ]
    for turn in turns:
        assert answer(warm, [turn], max_tokens=8) == answer(cold(model), [turn], max_tokens=8)
    grown = stem + [token for token, _, _ in answer(warm, [stem], max_tokens=8)[0]] + tokens(9, seed=5)
    assert answer(warm, [grown], max_tokens=8) == answer(cold(model), [grown], max_tokens=8)


Reported = list[tuple[int, object, object, object]]


def reported(engine: Engine, numbers: list[int]) -> dict[int, Reported]:
    by_request: dict[int, Reported] = {number: [] for number in numbers}
    while not engine.idle:
        engine.step()
        for delivery in engine.collect():
            assert delivery.error is None
            sampled = delivery.sampled
            by_request[delivery.number].append((sampled.id, sampled.logprob, sampled.top, delivery.forced))
    return by_request


class Forcing:
    """Forces several tokens after every fifth sampled one, and forbids even ids otherwise."""

    penalties_apply = False

    def __init__(self) -> None:
        self._count = 0
        self._odd = np.full(32, 0xAAAAAAAA, np.uint32)

    def allowed(self) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
        return self._odd

    def accept(self, token: int) -> list[int]:
        self._count += 1
        return tokens(70, seed=token)[: token % 70] if self._count % 5 == 0 else []


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("family", FAMILIES)
def test_sharing_in_flight(family: str, seed: int, files: dict[tuple[str, str], Path]) -> None:
    """Answers have the bits that they have alone, with an empty cache, in one chunk.

    They join at any step, branch from pages that are being written, are guided, repeated or cancelled.
    """
    runner = load(files[family, "Q4_K"]).engine.runner
    draws = random.Random(seed)
    stems = [tokens(200, seed=9), tokens(90, seed=9) + tokens(80, seed=8)]

    def options(index: int, guided: bool) -> dict[str, object]:
        return {"max_tokens": 40, "index": index, "guide": Forcing() if guided else None}

    sampling = Sampling(temperature=1.2, seed=5, logprobs=3, presence_penalty=0.5)
    engine = Engine(runner, context=512, sequences=4, snapshots=draws.choice([0, 2, 6]), stride=64)
    submitted: dict[int, tuple[list[int], int, bool]] = {}
    by_request: dict[int, Reported] = {}
    for _ in range(12):
        prompt = draws.choice(stems)[: draws.randrange(1, 201)] + tokens(
            draws.randrange(1, 40), seed=draws.randrange(4)
        )
        guided = draws.random() < 0.3
        for index in range(draws.choice([1, 1, 3])):
            chunk, client = draws.choice([None, 7, 64]), draws.choice("ab")
            boundaries = [draws.randrange(1, 200)]
            number = engine.generate(
                prompt,
                sampling,
                boundaries=boundaries,
                chunk=chunk,
                client=client,
                **options(index, guided),  # type: ignore[arg-type]
            )
            submitted[number], by_request[number] = (prompt, index, guided), []
        if draws.random() < 0.3:
            gone = draws.choice(sorted(submitted))
            engine.cancel(gone)
            del submitted[gone], by_request[gone]
        for _ in range(draws.randrange(25)):
            engine.step()
        for delivery in engine.collect():
            sampled = delivery.sampled
            by_request[delivery.number].append((sampled.id, sampled.logprob, sampled.top, delivery.forced))
    for number, rest in reported(engine, [*by_request]).items():
        by_request[number] += rest
    for number, (prompt, index, guided) in submitted.items():
        alone = Engine(runner, context=512)
        other = alone.generate(prompt, sampling, **options(index, guided))  # type: ignore[arg-type]
        assert by_request[number] == reported(alone, [other])[other]
    assert engine.counts().cached_tokens > 0
    assert any(forced for *_, forced in (token for answer in by_request.values() for token in answer))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_instruction_set(family: str, files: dict[tuple[str, str], Path]) -> None:
    # Two models per family, which together have all types.
    kinds = TYPES[FAMILIES.index(family) % 2 :: 2]
    paths = [str(files[family, kind]) for kind in kinds]
    by_request = {}
    for isa in (ops.isa(), *OTHERS):
        environment = {**os.environ, "SHOESTRING_ISA": isa, "THREADS": str(1 + len(by_request))}
        command = [sys.executable, random_checkpoints.__file__, *paths]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        lines = [line.split() for line in result.stdout.splitlines()]
        assert {line[0] for line in lines} == {isa}
        by_request[isa] = [line[1] for line in lines]
    assert len(by_request["scalar"]) == len(set(by_request["scalar"])) == len(kinds)
    for isa, hashes in by_request.items():
        assert hashes == by_request["scalar"], isa
