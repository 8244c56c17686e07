"""The rule about fields, over every field of the clients' request types and of vLLM's and llama.cpp's extensions.

A field that is off or asks for what happens anyway is accepted; what would change the answer and is not supported is
refused by name.
"""

from __future__ import annotations

import base64
import copy
import logging
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, get_type_hints

import anthropic.types as anthropic
import ollama._types as ollama
import openai.types.chat as openai_chat
import pytest
from anthropic.types.beta import message_create_params as anthropic_beta
from anthropic.types.message_count_tokens_params import MessageCountTokensParams
from anthropic.types.message_create_params import MessageCreateParamsBase
from odd_pictures import rgb, saved
from openai.types.chat.chat_completion_content_part_image_param import ImageURL
from openai.types.chat.completion_create_params import CompletionCreateParamsBase as ChatParams
from openai.types.completion_create_params import CompletionCreateParamsBase as CompletionParams
from starlette.testclient import TestClient

from shoestring.server import field_rules
from shoestring.server.anthropic import types as anthropic_bodies
from shoestring.server.field_rules import Refused, Rules
from shoestring.server.http.app import create_app
from shoestring.server.http.fields import Body
from shoestring.server.ollama import types as ollama_bodies
from shoestring.server.openai.chat_types import ChatBody
from shoestring.server.openai.chat_types import Message as ChatMessage
from shoestring.server.openai.completion_types import CompletionBody
from shoestring.server.service import Service
from shoestring.testing import scripted_model

PNG = base64.b64encode(saved(rgb(), "PNG")).decode()
DATA_URL = f"data:image/png;base64,{PNG}"
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
HI = {"role": "user", "content": "hi"}
CHAT = {"messages": [HI], "max_tokens": 2}
CALLS = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
USE = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": "x"}
TOOL = {"name": "f", "input_schema": {"type": "object"}}
ASK = {"model": "scripted", "max_tokens": 2}
LINE = {"model": "scripted", "stream": False}


class Place(NamedTuple):
    """A kind of object in a request: its fields, a request with one of it, and the path to that."""

    fields: tuple[str, ...]
    url: str
    body: dict[str, Any]
    path: tuple[str | int, ...] = ()
    kind: type[Body] | None = None


def typed(*kinds: Any) -> tuple[str, ...]:
    return tuple(
        sorted({name for kind in kinds for name in (getattr(kind, "model_fields", None) or kind.__annotations__)})
    )


def conversation(*blocks: dict[str, Any], role: str = "user") -> dict[str, Any]:
    return {**ASK, "messages": [HI, {"role": role, "content": list(blocks)}, HI]}


MESSAGES, COMPLETIONS, CHATS = "/v1/messages", "/v1/completions", "/v1/chat/completions"
BETA = anthropic_beta.MessageCreateParamsBase
USER_TURN = openai_chat.ChatCompletionUserMessageParam
PLACES = {
    "chat": Place(typed(ChatParams), CHATS, CHAT, (), ChatBody),
    "user message": Place(typed(USER_TURN), CHATS, CHAT, ("messages", 0), ChatMessage),
    "assistant message": Place(
        typed(openai_chat.ChatCompletionAssistantMessageParam),
        CHATS,
        {"messages": [HI, {"role": "assistant", "content": "x"}, HI], "max_tokens": 2},
        ("messages", 1),
        ChatMessage,
    ),
    "image part": Place(
        typed(openai_chat.ChatCompletionContentPartImageParam),
        CHATS,
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": DATA_URL}}]}]},
        ("messages", 0, "content", 0),
    ),
    "image url": Place(
        typed(ImageURL),
        CHATS,
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": DATA_URL}}]}]},
        ("messages", 0, "content", 0, "image_url"),
    ),
    "image block": Place(
        typed(anthropic.ImageBlockParam),
        MESSAGES,
        conversation(IMAGE),
        ("messages", 1, "content", 0),
        anthropic_bodies.Image,
    ),
    "image source": Place(
        typed(anthropic.Base64ImageSourceParam),
        MESSAGES,
        conversation(IMAGE),
        ("messages", 1, "content", 0, "source"),
    ),
    "stream options": Place(
        typed(openai_chat.ChatCompletionStreamOptionsParam),
        CHATS,
        {**CHAT, "stream": True, "stream_options": {}},
        ("stream_options",),
    ),
    "completion": Place(typed(CompletionParams), COMPLETIONS, {"prompt": "hi", "max_tokens": 2}, (), CompletionBody),
    "message": Place(
        typed(MessageCreateParamsBase, BETA), MESSAGES, {**ASK, "messages": [HI]}, (), anthropic_bodies.MessagesBody
    ),
    "count": Place(
        typed(MessageCountTokensParams),
        "/v1/messages/count_tokens",
        {"model": "scripted", "messages": [HI]},
        (),
        anthropic_bodies.CountTokensBody,
    ),
    "text": Place(
        typed(anthropic.TextBlockParam),
        MESSAGES,
        conversation({"type": "text", "text": "x"}),
        ("messages", 1, "content", 0),
        anthropic_bodies.Text,
    ),
    "tool use": Place(
        typed(anthropic.ToolUseBlockParam),
        MESSAGES,
        conversation(USE, role="assistant"),
        ("messages", 1, "content", 0),
        anthropic_bodies.ToolUse,
    ),
    "tool result": Place(
        typed(anthropic.ToolResultBlockParam),
        MESSAGES,
        conversation(RESULT),
        ("messages", 1, "content", 0),
        anthropic_bodies.ToolResult,
    ),
    "thinking block": Place(
        typed(anthropic.ThinkingBlockParam),
        MESSAGES,
        conversation({"type": "thinking", "thinking": "x", "signature": ""}, role="assistant"),
        ("messages", 1, "content", 0),
        anthropic_bodies.Thinking,
    ),
    "tool": Place(
        typed(anthropic.ToolParam),
        MESSAGES,
        {**ASK, "messages": [HI], "tools": [TOOL]},
        ("tools", 0),
        anthropic_bodies.Tool,
    ),
    "output": Place(
        typed(anthropic.OutputConfigParam),
        MESSAGES,
        {**ASK, "messages": [HI], "output_config": {}},
        ("output_config",),
        anthropic_bodies.OutputConfig,
    ),
    "ollama chat": Place(
        typed(ollama.ChatRequest), "/api/chat", {**LINE, "messages": [HI]}, (), ollama_bodies.ChatBody
    ),
    "ollama generate": Place(
        typed(ollama.GenerateRequest), "/api/generate", {**LINE, "prompt": "hi"}, (), ollama_bodies.GenerateBody
    ),
    "ollama options": Place(
        typed(ollama.Options),
        "/api/chat",
        {**LINE, "messages": [HI], "options": {}},
        ("options",),
        ollama_bodies.Options,
    ),
    "ollama message": Place(
        typed(ollama.Message), "/api/chat", {**LINE, "messages": [HI]}, ("messages", 0), ollama_bodies.Message
    ),
}

#: The defaults of vLLM's and llama.cpp's extensions, as their clients spell them out.
VLLM: dict[str, Any] = {
    "best_of": 1, "use_beam_search": False, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "length_penalty": 1.0,
    "stop_token_ids": [], "include_stop_str_in_output": False, "ignore_eos": False, "min_tokens": 0,
    "skip_special_tokens": True, "spaces_between_special_tokens": True, "truncate_prompt_tokens": None,
    "prompt_logprobs": None, "allowed_token_ids": None, "bad_words": [], "echo": False, "add_generation_prompt": True,
    "continue_final_message": False, "add_special_tokens": False, "documents": None, "chat_template": None,
    "chat_template_kwargs": None, "mm_processor_kwargs": None, "structured_outputs": None, "priority": 0,
    "request_id": "a", "logits_processors": None, "return_tokens_as_token_ids": None, "return_token_ids": None,
    "cache_salt": None, "kv_transfer_params": None, "vllm_xargs": None, "include_reasoning": True,
    "guided_json": None, "guided_regex": None, "guided_choice": None, "guided_grammar": None,
    "guided_decoding_backend": None, "guided_whitespace_pattern": None, "early_stopping": False, "structural_tag": None,
}  # fmt: skip
LLAMA: dict[str, Any] = {
    "n_predict": -1, "dynatemp_range": 0.0, "dynatemp_exponent": 1.0, "typical_p": 1.0, "repeat_penalty": 1.0,
    "repeat_last_n": 64, "dry_multiplier": 0.0, "dry_base": 1.75, "dry_allowed_length": 2, "dry_penalty_last_n": -1,
    "dry_sequence_breakers": ["\n", ":"], "xtc_probability": 0.0, "xtc_threshold": 0.1, "mirostat": 0,
    "mirostat_tau": 5.0, "mirostat_eta": 0.1, "grammar": "", "json_schema": None, "n_probs": 0, "min_keep": 0,
    "t_max_predict_ms": 0, "id_slot": -1, "cache_prompt": True, "return_tokens": False, "samplers": [],
    "timings_per_token": False, "return_progress": False, "post_sampling_probs": False, "response_fields": [],
    "lora": [], "n_keep": 0, "n_discard": 0, "n_indent": 0, "n_cache_reuse": 0, "top_n_sigma": -1.0,
    "reasoning_format": "auto", "parse_tool_calls": True, "thinking_forced_open": False, "seed": -1,
    "speculative.n_max": 16, "logit_bias": {}, "stop": [], "chat_template_kwargs": {}, "parallel_tool_calls": False,
}  # fmt: skip
#: What changes the answer.
CHANGES: dict[str, Any] = {
    "best_of": 3, "use_beam_search": True, "length_penalty": 2.0, "stop_token_ids": [1], "min_tokens": 5,
    "include_stop_str_in_output": True, "skip_special_tokens": False, "truncate_prompt_tokens": 10,
    "prompt_logprobs": 2, "allowed_token_ids": [5], "bad_words": ["a"], "add_special_tokens": True,
    "chat_template": "{{ messages }}", "documents": [{"text": "a"}], "guided_regex": "a", "guided_json": {},
    "logits_processors": ["x"], "cache_salt": "x", "n_predict": 5, "dynatemp_range": 0.5, "typical_p": 0.9,
    "dry_multiplier": 0.8, "xtc_probability": 0.5, "mirostat": 2, "grammar": 'root ::= "a"', "json_schema": {},
    "n_probs": 3, "min_keep": 2, "samplers": ["top_k"], "lora": [{"id": 0}], "top_n_sigma": 1.0,
    "return_tokens": True, "reasoning_format": "none", "parse_tool_calls": False,
    "spaces_between_special_tokens": False, "mm_processor_kwargs": {"a": 1}, "include_reasoning": False,
}  # fmt: skip

EVERY = [(name, field) for name, place in PLACES.items() for field in place.fields]
RULES = [rules for rules in vars(field_rules).values() if isinstance(rules, Rules)]


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(Service(scripted_model())), "http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


def with_field(place: Place, field: str, value: Any) -> dict[str, Any]:
    body = copy.deepcopy(place.body)
    inner: Any = body
    for part in place.path:
        inner = inner[part]
    inner[field] = value
    return body


def declared(place: Place) -> frozenset[str]:
    if place.kind is None:
        return frozenset(place.fields)
    return frozenset(field.alias or name for name, field in place.kind.model_fields.items())


def inner_body(place: Place) -> Mapping[str, Any]:
    inner: Any = place.body
    for part in place.path:
        inner = inner[part]
    return inner  # type: ignore[no-any-return]


@pytest.mark.parametrize(("place", "field"), EVERY, ids=lambda part: part)
def test_null_is_the_same_as_a_missing_field(client: TestClient, place: str, field: str) -> None:
    if field in inner_body(PLACES[place]):
        pytest.skip("the example needs it")
    answer = client.post(PLACES[place].url, json=with_field(PLACES[place], field, None))
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(("place", "field"), EVERY, ids=lambda part: part)
def test_what_no_endpoint_acts_on_is_accepted_if_it_is_off_and_else_refused_by_name(
    client: TestClient, place: str, field: str
) -> None:
    where = PLACES[place]
    if field in declared(where):
        return
    assert where.kind is not None
    rules = where.kind.rules
    refused = rules.refused.get(field)
    if where.kind is ChatMessage and refused is None:
        return  # other fields of a message have no effect
    for value in (None, *((False, 0, "", []) if refused and refused.off else ()), *(refused.same if refused else ())):
        answer = client.post(where.url, json=with_field(where, field, value))
        assert answer.status_code == 200, (value, answer.text)
    answer = client.post(where.url, json=with_field(where, field, {"a": "value"}))
    if field in rules.no_effect or (rules.ignores and refused is None):
        assert answer.status_code == 200, answer.text
    else:
        assert answer.status_code == 400
        assert f"{field} is not supported" in answer.text


@pytest.mark.parametrize(("field", "value"), {**VLLM, **LLAMA}.items(), ids=str)
def test_defaults_of_other_servers_are_accepted(client: TestClient, field: str, value: Any) -> None:
    answer = client.post(CHATS, json={**CHAT, field: value})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(("field", "value"), CHANGES.items(), ids=str)
def test_what_changes_the_answer_is_refused_by_name(client: TestClient, field: str, value: Any) -> None:
    answer = client.post(CHATS, json={**CHAT, field: value})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["message"].startswith(f"{field} is not supported: ")
    assert (error["param"], error["code"]) == (field, "unsupported_field")


def test_the_table_says_what_to_do_instead() -> None:
    for rules in RULES:
        assert not rules.refused.keys() & rules.no_effect
        for refused in rules.refused.values():
            assert refused.why
            assert "\n" not in refused.why


def test_false_and_zero_are_off_only_where_the_table_says_so() -> None:
    assert all(Refused("x").accepts(value) for value in (None, False, 0, 0.0, "", []))
    assert not any(Refused("x").accepts(value) for value in (True, 1, {}, "0", [0], -1))
    assert not any(Refused("x", same=(1,), off=False).accepts(value) for value in (False, 0, 2))


@pytest.mark.parametrize("value", [0, False, {}, 1, "x", [1]])
def test_unknown_fields_are_refused_unless_they_are_empty(client: TestClient, value: Any) -> None:
    assert client.post(CHATS, json={**CHAT, "frobnicate": value}).status_code == 400
    assert client.post(CHATS, json={**CHAT, "frobnicate": []}).status_code == 200


def test_fields_that_ollama_ignores_are_logged_once(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "shoestring.server"):
        for _ in range(3):
            body = {**LINE, "messages": [HI], "unheard_of": 1, "options": {"unheard_option": 2}}
            assert client.post("/api/chat", json=body).status_code == 200
    lines = [record.getMessage() for record in caplog.records]
    assert sum("unheard_of" in line for line in lines) == 1
    assert sum("unheard_option" in line for line in lines) == 1


def test_the_openapi_lists_the_fields_of_the_table(client: TestClient) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    properties = next(schemas[name] for name in schemas if name.endswith("openai__chat_types__ChatBody"))["properties"]
    rules = ChatBody.rules
    assert properties.keys() >= rules.refused.keys() | rules.no_effect | {"messages", "temperature"}


def test_every_place_is_a_request_type() -> None:
    """So that a package that renames its types cannot empty the tests."""
    assert len(EVERY) > 150
    assert all(place.fields for place in PLACES.values())
    assert get_type_hints(openai_chat.ChatCompletionUserMessageParam)
