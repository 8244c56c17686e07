"""echo with logprobs, which log-likelihood harnesses send: prompts are scored as Model.logits scores them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import numpy as np
import pytest
from answering import data, idle
from random_checkpoints import tokens, write
from starlette.testclient import TestClient

import shoestring
from shoestring.runtime.model import Model
from shoestring.runtime.perplexity import log_softmax_at
from shoestring.server.http.app import create_app
from shoestring.server.service import Service


def ids(length: int, seed: int) -> list[int]:
    """Of the synthetic vocabulary's bytes and words; logits beyond it have no token."""
    return [token % 256 for token in tokens(length, seed)]


LONG = ids(150, seed=4)
PROMPTS = [ids(9, seed=1), LONG, ids(1, seed=2), [*LONG[:100], 5]]
TEXTS = ["wa wb wc", "Hé 你 👋, a < b\n", "x"]


@pytest.fixture(scope="module", params=["qwen3_5", "llama4"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = write(request.param, "Q8_0", tmp_path_factory.mktemp("models") / "model.gguf")
    return shoestring.load(path, threads=2, context=512, parallel=3)


@pytest.fixture(scope="module")
def expected(model: Model) -> dict[tuple[int, ...], np.ndarray[Any, Any]]:
    """Logits of every prompt, computed before the server's thread owns the engine."""
    prompts = [*PROMPTS, *(model.encode(text) for text in TEXTS)]
    return {tuple(prompt): model.logits(prompt)[:, : model.tokenizer.vocab_size] for prompt in prompts}


@pytest.fixture(scope="module")
def client(model: Model, expected: object) -> Iterator[TestClient]:
    with TestClient(create_app(Service(model)), "http://127.0.0.1") as client:
        yield client


def complete(client: TestClient, **fields: Any) -> dict[str, Any]:
    answer = client.post("/v1/completions", json={"temperature": 0, "echo": True, "logprobs": 1, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


def losses(logits: np.ndarray[Any, Any], prompt: Sequence[int]) -> list[float]:
    return [log_softmax_at(row, token) for row, token in zip(logits, prompt[1:], strict=False)]


@pytest.mark.parametrize("max_tokens", [0, 1, 3])
@pytest.mark.parametrize("top", [0, 1, 5])
def test_prompts_of_ids(client: TestClient, model: Model, expected: Any, max_tokens: int, top: int) -> None:
    answer = complete(client, prompt=PROMPTS, max_tokens=max_tokens, logprobs=top, ignore_eos=True)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert answer["usage"]["prompt_tokens"] == sum(map(len, PROMPTS))
    assert answer["usage"]["completion_tokens"] == max_tokens * len(PROMPTS)
    for prompt, choice in zip(PROMPTS, answer["choices"], strict=True):
        logits, found = expected[tuple(prompt)], choice["logprobs"]
        assert {len(values) for values in found.values()} == {len(prompt) + max_tokens}
        assert found["token_logprobs"][0] is None
        assert found["top_logprobs"][0] is None
        assert found["token_logprobs"][1 : len(prompt)] == pytest.approx(losses(logits, prompt), abs=1e-6)
        for row, tops in enumerate(found["top_logprobs"][1 : len(prompt)]):
            likeliest = [log_softmax_at(logits[row], int(token)) for token in np.argsort(-logits[row])[:top]]
            assert sorted(tops.values(), reverse=True)[:top] == pytest.approx(likeliest, abs=1e-6)
            assert found["token_logprobs"][row + 1] in tops.values()
        assert choice["finish_reason"] == "length"
        if max_tokens:
            greedy = float(logits[-1].max()) - float(logits[-1][0]) + log_softmax_at(logits[-1], 0)
            assert found["token_logprobs"][len(prompt)] == pytest.approx(greedy, abs=1e-5)


@pytest.mark.parametrize("max_tokens", [0, 2])
def test_prompts_of_text_and_their_offsets(client: TestClient, model: Model, expected: Any, max_tokens: int) -> None:
    for text, choice in zip(TEXTS, complete(client, prompt=TEXTS, max_tokens=max_tokens)["choices"], strict=True):
        prompt, found = model.encode(text), choice["logprobs"]
        assert choice["text"].startswith(text)
        scores = found["token_logprobs"][1 : len(prompt)]
        assert scores == pytest.approx(losses(expected[tuple(prompt)], prompt), abs=1e-6)
        begin = len(prompt) - len(model.encode(text, add_bos=False))
        for n, (token, at) in enumerate(zip(found["tokens"], found["text_offset"], strict=True)):
            if n < begin:
                assert at == 0
            elif n < len(prompt) and not token.startswith("bytes:"):
                assert choice["text"].startswith(token, at), (n, token)
        if max_tokens:
            assert found["text_offset"][len(prompt)] == len(text)


@pytest.mark.parametrize("n", [1, 2])
def test_a_stream_is_the_whole(client: TestClient, n: int) -> None:
    fields: dict[str, Any] = {"prompt": PROMPTS, "max_tokens": 3, "logprobs": 2, "n": n, "seed": 1, "temperature": 1}
    whole = complete(client, **fields)
    sent = client.post("/v1/completions", json={"echo": True, "stream": True, **fields}).text
    texts, scores = [""] * len(PROMPTS) * n, [[] for _ in range(len(PROMPTS) * n)]
    for line in data(sent)[:-1]:
        for choice in json.loads(line)["choices"]:
            texts[choice["index"]] += choice["text"]
            scores[choice["index"]] += (choice["logprobs"] or {"token_logprobs": []})["token_logprobs"]
    assert texts == [choice["text"] for choice in whole["choices"]]
    assert scores == [choice["logprobs"]["token_logprobs"] for choice in whole["choices"]]
    for index, scored in enumerate(scores):
        assert scored[0] is None
        assert len(scored) == len(PROMPTS[index // n]) + 3


def test_answers_go_on_while_others_score(client: TestClient, model: Model) -> None:
    """Scoring shares steps with answers, and changes neither."""
    body = {"prompt": ids(20, seed=8), "max_tokens": 40, "seed": 3, "ignore_eos": True}
    scoring = {"prompt": PROMPTS, "max_tokens": 0, "echo": True, "logprobs": 1}
    alone = [client.post("/v1/completions", json=fields).json()["choices"] for fields in (body, scoring)]

    async def together() -> list[Any]:
        transport = httpx.ASGITransport(client.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=60) as other:
            sent = [other.post("/v1/completions", json=fields) for fields in (body, scoring, body, scoring)]
            return [answer.json()["choices"] for answer in await asyncio.gather(*sent)]

    assert asyncio.run(together()) == alone * 2
    assert idle(client)


def test_an_echo_without_scores(client: TestClient) -> None:
    answer = complete(client, prompt=TEXTS[0], max_tokens=0, logprobs=None)
    assert answer["choices"][0]["text"] == TEXTS[0]
    assert answer["choices"][0]["logprobs"] is None
    assert answer["choices"][0]["finish_reason"] == "length"


def test_a_prompt_may_fill_the_context_where_no_answer_follows(client: TestClient, model: Model) -> None:
    full = ids(model.context, seed=6)
    assert len(complete(client, prompt=full, max_tokens=0)["choices"][0]["logprobs"]["tokens"]) == model.context
    refused = client.post("/v1/completions", json={"prompt": full, "max_tokens": 1, "echo": True, "logprobs": 1})
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "context_length_exceeded"
