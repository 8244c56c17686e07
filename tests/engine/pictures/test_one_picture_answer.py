"""The one law with pictures: alone, in a batch, from the cache, in chunks, with a streamed model. All with ==."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import odd_pictures
import pytest
import vision_models

import shoestring
from shoestring import ops
from shoestring.engine.engine import Engine
from shoestring.media.source import Source
from shoestring.runtime.loading import least_memory
from shoestring.runtime.model import Model
from shoestring.runtime.opening import open_model
from shoestring.runtime.pictures.tower import TowerEncoder, vision_bytes
from shoestring.runtime.vision.vision import open_vision

Answer = list[tuple[int, object, object]]


def image(height: int, width: int, seed: int = 0) -> dict[str, Any]:
    return Source("image", odd_pictures.saved(odd_pictures.rgb(height, width, seed=seed), "PNG")).part


def ask(*parts: Any) -> list[dict[str, Any]]:
    content = [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
    return [{"role": "user", "content": content}]


CONVERSATIONS = [
    ask(image(90, 120), "what?"),
    ask("a", image(90, 120), "b", image(64, 300, seed=1), "why?"),
    ask("no picture"),
    [*ask(image(90, 120), "what?"), {"role": "assistant", "content": "x"}, *ask(image(200, 80, seed=2), "and?")],
]


@pytest.fixture(scope="module", params=vision_models.FAMILIES)
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vision_models.write_gguf_model(tmp_path_factory.mktemp("seeing"), request.param)


@pytest.fixture(scope="module")
def model(path: Path) -> Model:
    return shoestring.load(path, threads=2, context=2048, parallel=1)


def cold(model: Model, path: Path, **options: Any) -> Model:
    """The same weights with an empty state, prefix cache and store of encoded pictures."""
    opened = open_model(path)
    encoder = TowerEncoder(open_vision(opened.checkpoint, opened.config).needed())
    engine = Engine(model.engine.runner, context=2048, encoder=encoder, **{"sequences": 4, **options})
    return Model(engine, model.tokenizer, model.template, family=model.family, vision=model.vision)


def answers(model: Model, conversations: list[Any], **options: Any) -> list[Answer]:
    found: list[Answer] = [[] for _ in conversations]
    stream = model.generate(messages=conversations, logprobs=5, seed=3, max_tokens=6, ignore_eos=True, **options)
    for piece in stream:
        found[piece.index] += [(token.id, token.logprob, token.top) for token in piece.tokens]
    return found


@pytest.fixture(scope="module")
def alone(model: Model, path: Path) -> list[Answer]:
    return [answers(cold(model, path), [conversation])[0] for conversation in CONVERSATIONS]


def test_in_a_batch(model: Model, path: Path, alone: list[Answer]) -> None:
    assert answers(cold(model, path), CONVERSATIONS) == alone
    assert answers(cold(model, path, sequences=2), CONVERSATIONS, chunk=23) == alone


def test_with_other_threads(model: Model, path: Path, alone: list[Answer]) -> None:
    ops.set_num_threads(3)
    try:
        assert answers(cold(model, path), CONVERSATIONS) == alone
    finally:
        ops.set_num_threads(2)


def test_from_the_cache(model: Model, path: Path, alone: list[Answer]) -> None:
    warm = cold(model, path)
    for _ in range(2):
        for conversation, expected in zip(CONVERSATIONS, alone, strict=True):
            assert answers(warm, [conversation]) == [expected]
    assert warm.engine.counts().cached_tokens > 0


def test_from_encoded_rows_alone(model: Model, path: Path, alone: list[Answer]) -> None:
    """Without a prefix in common, only the rows of the picture come from the cache; evicted rows are encoded again."""
    for picture_bytes in (1 << 20, 0):
        warm = cold(model, path, picture_bytes=picture_bytes)
        answers(warm, [ask("another beginning", image(90, 120))])
        assert answers(warm, [CONVERSATIONS[0]]) == [alone[0]]


def test_logits_are_those_of_any_chunks(model: Model, path: Path) -> None:
    prompt = model.prompt(messages=CONVERSATIONS[1])
    whole = cold(model, path).logits(prompt)
    assert len(np.unique(whole[-1])) > 100, "equal logits prove nothing"
    for chunk in (64, 7):
        assert np.array_equal(cold(model, path).logits(prompt, chunk=chunk), whole)
    other = model.prompt(messages=ask("a", image(90, 120, seed=9), "b", image(64, 300, seed=1), "why?"))
    assert not np.array_equal(cold(model, path).logits(other, rows=[-1]), whole[-1:]), "the picture is not seen"


def test_when_weights_of_the_tower_are_evicted(model: Model, path: Path, alone: list[Answer]) -> None:
    short = cold(model, path)
    encoder: Any = short.engine._pictures._encoder
    encoder._free = lambda: 0
    assert answers(short, [CONVERSATIONS[0]]) == [alone[0]]
    short.engine._pictures.advance()
    assert not encoder.loaded
    assert answers(short, [CONVERSATIONS[3]]) == [alone[3]]


def test_in_a_streamed_model(path: Path, model: Model, tmp_path: Path) -> None:
    """The experts stay on disk, and prompts go in passes. Qwen 3.5 is a mixture of experts here."""
    if model.family == "qwen3_5":
        path = vision_models.write_gguf_model(tmp_path, "qwen3_5", experts=8)
    resident = shoestring.load(path, threads=2, context=512, parallel=1)
    opened = open_model(path)
    tower = open_vision(opened.checkpoint, opened.config).needed()
    least = least_memory(opened, threads=2, vision_bytes=vision_bytes(tower))
    assert least is not None
    streamed = shoestring.load(path, threads=2, context=512, parallel=1, memory=least + (1 << 20))
    assert resident.streaming is None
    assert streamed.streaming is not None
    assert streamed.streaming.share < 1
    assert streamed.vision.sees
    for _ in range(2):  # the second time from the cache
        for conversation in (CONVERSATIONS[0], CONVERSATIONS[2]):
            assert answers(streamed, [conversation]) == answers(resident, [conversation])
    less = shoestring.load(path, threads=2, context=512, parallel=1, memory=least - (1 << 20))
    assert not less.vision.sees, "the least memory counts the tower"
