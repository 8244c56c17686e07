"""More requests of each kind in requests.json, at least five, as `(kind, name, path, body, want)`.

Those of ORIGINS have headers beside.
"""

from __future__ import annotations

import json
from typing import Any

CHAT, COMPLETIONS, MESSAGES = "/v1/chat/completions", "/v1/completions", "/v1/messages"
OLLAMA, GENERATE = "/api/chat", "/api/generate"

Asked = tuple[str, str, str, dict[str, Any], dict[str, Any]]
OK: dict[str, Any] = {"status": 200}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
LOOK = {"type": "function", "function": {"name": "look", "description": "Weather.", "parameters": CITY}}
ANTHROPIC_LOOK = {"name": "look", "description": "Weather.", "input_schema": CITY}
HI = {"role": "user", "content": "hi"}
DONE = {"role": "assistant", "content": "Hello."}
SYSTEM = {"role": "system", "content": "Answer in French."}
PICTURE = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}


def refused(*says: str, lacks: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"status": 400, "has": says, "lacks": lacks}


def chat(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": "$MODEL", "messages": list(messages or (HI,)), "max_tokens": 8, **fields}


def ollama(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    body = {"model": "$MODEL", "messages": list(messages or (HI,)), "stream": False, "options": {"num_predict": 8}}
    return {**body, **fields}


def called(arguments: Any, result: Any = "rain") -> dict[str, Any]:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": arguments}}
    turn = {"role": "assistant", "content": None, "tool_calls": [call]}
    return chat(HI, turn, {"role": "tool", "tool_call_id": "c1", "content": result}, HI, tools=[LOOK])


def used(input: Any, content: Any = "rain") -> dict[str, Any]:
    use = {"type": "tool_use", "id": "t1", "name": "look", "input": input}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": content}
    turns = ({"role": "assistant", "content": [use]}, {"role": "user", "content": [result]})
    return chat(HI, *turns, tools=[ANTHROPIC_LOOK])


def formed(schema: Any, **fields: Any) -> dict[str, Any]:
    return chat(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}, **fields)


def object_of(schema: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": schema}, "required": ["a"], "additionalProperties": False}


def strict(schema: Any, **fields: Any) -> dict[str, Any]:
    return chat(
        tools=[{"type": "function", "function": {"name": "look", "strict": True, "parameters": schema}}], **fields
    )


def _histories() -> list[Asked]:
    kind = "history-with-broken-arguments"
    call = {"function": {"name": "look", "arguments": '{"city": "Os'}}
    turn = {"role": "assistant", "content": "", "tool_calls": [call]}
    return [
        (kind, "doubly encoded", CHAT, called(json.dumps(json.dumps({"city": "Oslo"}))), OK),
        (kind, "an empty text", CHAT, called(""), OK),
        (kind, "a number", CHAT, called("5"), OK),
        (kind, "null as text", CHAT, called("null"), OK),
        (kind, "Python's spelling", CHAT, called("{'city': 'Oslo'}"), OK),
        (kind, "a value instead of a text", CHAT, called(["Oslo"]), OK),
        (kind, "deeper than JSON may nest", CHAT, called("[" * 500), OK),
        (kind, "Anthropic, a text", MESSAGES, used('{"city": "Os'), OK),
        (kind, "Anthropic, null", MESSAGES, used(None), OK),
        (kind, "Anthropic, a list", MESSAGES, used(["Oslo"]), OK),
        (kind, "Ollama, cut", OLLAMA, ollama(HI, turn, {"role": "tool", "content": "rain"}, HI), OK),
    ]


def _systems() -> list[Asked]:
    kind = "system-message-not-first"
    developer = {"role": "developer", "content": [{"type": "text", "text": "Be short."}]}
    part = {"role": "user", "content": [{"type": "text", "text": "hi"}]}
    return [
        (kind, "last", CHAT, chat(HI, SYSTEM), OK),
        (kind, "after a tool's result", CHAT, {**called("{}"), "messages": [*called("{}")["messages"], SYSTEM]}, OK),
        (kind, "three at the beginning", CHAT, chat(SYSTEM, SYSTEM, developer, HI), OK),
        (kind, "developer in the middle, parts", CHAT, chat(SYSTEM, part, developer, DONE, HI), OK),
        (kind, "Ollama, in the middle", OLLAMA, ollama(HI, DONE, SYSTEM, HI), OK),
        (kind, "Ollama, developer", OLLAMA, ollama({"role": "developer", "content": "Be short."}, HI), OK),
        (kind, "Anthropic, beside the field", MESSAGES, chat(SYSTEM, HI, DONE, SYSTEM, HI, system="Be short."), OK),
        (kind, "the tokenizer", "/tokenize", {"messages": [HI, DONE, SYSTEM, HI]}, OK),
    ]


def _pictures() -> list[Asked]:
    kind = "picture-in-a-tool-result"
    image = {"type": "image", "source": PICTURE}
    url = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    pdf = {
        "type": "document",
        "title": "a.pdf",
        "source": {"type": "base64", "media_type": "application/pdf", "data": ""},
    }
    found = {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "found"}]}
    note = {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,aGVsbG8="}}
    result = {"role": "tool", "content": "saved", "images": ["iVBORw0KGgo="]}
    return [
        (kind, "Anthropic, only a picture", MESSAGES, used({}, [image]), OK),
        (kind, "Anthropic, a PDF", MESSAGES, used({}, [pdf]), OK),
        (kind, "Anthropic, a search result", MESSAGES, used({}, [found]), OK),
        (kind, "Anthropic, a tool's name", MESSAGES, used({}, [{"type": "tool_reference", "tool_name": "look"}]), OK),
        (kind, "OpenAI, two pictures", CHAT, called("{}", [url, url]), OK),
        (kind, "OpenAI, a sound", CHAT, called("{}", [{"type": "input_audio", "input_audio": {}}]), OK),
        (kind, "OpenAI, a text file", CHAT, called("{}", [note]), OK),
        (kind, "Ollama", OLLAMA, ollama(HI, result, HI), OK),
        (kind, "a user's own, OpenAI", CHAT, chat({**HI, "content": [url]}), refused("0.image_url is a damaged")),
        (
            kind,
            "a user's own, Anthropic",
            MESSAGES,
            chat({**HI, "content": [image]}),
            refused("0.source is a damaged"),
        ),
        (kind, "a user's own, Ollama", OLLAMA, ollama({**HI, "images": ["aa"]}), refused("messages.0.images.0")),
    ]


def _schemas() -> list[Asked]:
    kind = "schema-words-that-restrict-nothing"
    text, text_map = {"type": "string"}, {"type": "object", "additionalProperties": {"type": "integer"}}
    nested = {"$ref": "#/$defs/a"}
    schemas = {
        "format int64 of a text": object_of({"type": "string", "format": "int64"}),
        "formats of JSON Schema": object_of({"type": "string", "format": "json-pointer"}),
        "propertyNames {}": object_of({**text_map, "propertyNames": {}}),
        "propertyNames of texts": object_of({**text_map, "propertyNames": {"type": "string", "minLength": 0}}),
        "uniqueItems of one item": object_of({"type": "array", "items": text, "uniqueItems": True, "maxItems": 1}),
        "nulls": {**object_of({"type": "string", "pattern": None, "minLength": None, "enum": None}), "$defs": None},
        "null for a schema": {"type": "object", "properties": {"a": None}},
        "overlapping oneOf": object_of({"oneOf": [{"type": "integer"}, {"type": "number"}]}),
        "oneOf of objects": object_of({"oneOf": [object_of(text), {"type": "object", "properties": {"b": text}}]}),
        "then without if": {**object_of(text), "then": {"required": ["b"]}},
        "unevaluatedProperties false": {"type": "object", "properties": {"a": text}, "unevaluatedProperties": False},
        "inside a definition": {**object_of(nested), "$defs": {"a": {"type": "string", "format": "phone"}}},
        "names that are keywords": object_of({"type": "object", "properties": {"format": text, "not": text}}),
        "minItems 1.0": object_of({"type": "array", "items": text, "minItems": 1.0}),
        "[]": [],
    }
    more = chat(structured_outputs={"json": object_of({"type": "string", "format": "uuid1"})})
    anthropic = chat(output_config={"format": {"type": "json_schema", "schema": schemas["overlapping oneOf"]}})
    return [
        *((kind, name, CHAT, formed(schema), OK) for name, schema in schemas.items()),
        (kind, "structured_outputs", CHAT, more, OK),
        (kind, "Anthropic's format", MESSAGES, anthropic, OK),
        (kind, "a tool without a schema", CHAT, chat(tools=[{"function": {"name": "look", "parameters": []}}]), OK),
        (kind, "Anthropic's tool", MESSAGES, chat(tools=[{"name": "look", "input_schema": []}]), OK),
        (kind, "a strict tool", CHAT, strict(schemas["format int64 of a text"]), OK),
    ]


def _strict_tools() -> list[Asked]:
    kind = "error-of-a-strict-tool"
    grammar = ("%json", "start:", "call_0", "x-guidance", " 1 |")
    names = {"type": "object", "propertyNames": {"pattern": "^a"}}
    inner = object_of({"type": "array", "items": {"type": "array", "uniqueItems": True}})
    wrong = {"type": "string", "pattern": "(?=a)"}
    cases = {
        "contains": (object_of({"type": "array", "contains": {"type": "string"}}), "a: the keyword contains"),
        "not": (object_of({"not": {"type": "string"}}), "a: the keyword not"),
        "if": (object_of({"if": {"type": "string"}, "then": {"minLength": 1}}), "a: the keyword if"),
        "propertyNames": (object_of(names), "a: the keyword propertyNames"),
        "inside": (inner, "a.items: the keyword uniqueItems"),
        "dependentRequired": ({**CITY, "dependentRequired": {"city": ["b"]}}, "the keyword dependentRequired"),
        "a wrong pattern": (
            object_of({"type": "array", "items": wrong}),
            "parameter a:",
        ),
        "an unknown type": (object_of({"type": "file"}), "a: the type 'file'"),
    }
    wanted = {name: refused(says, lacks=grammar) for name, (_, says) in cases.items()}
    return [
        *((kind, name, CHAT, strict(schema), wanted[name]) for name, (schema, _) in cases.items()),
        *(
            (kind, f"{name}, a required call", CHAT, strict(schema, tool_choice="required"), wanted[name])
            for name, (schema, _) in cases.items()
        ),
        (kind, "an answer's schema", CHAT, formed(cases["not"][0]), refused("a: the keyword not", lacks=grammar)),
        (
            kind,
            "an answer's grammar",
            CHAT,
            chat(structured_outputs={"grammar": "start: nothing"}),
            refused("structured_outputs.grammar", lacks=("1 |",)),
        ),
    ]


def _off() -> list[Asked]:
    kind = "openai-fields-that-are-off"
    fields: dict[str, Any] = {
        "add_generation_prompt": True,
        "function_call": "none",
        "modalities": ["text"],
        "min_tokens": 0,
        "stop_token_ids": [],
        "length_penalty": 1.0,
        "skip_special_tokens": True,
        "spaces_between_special_tokens": True,
        "include_stop_str_in_output": False,
        "prompt_logprobs": None,
        "mirostat": 0,
        "typical_p": 1.0,
        "dry_multiplier": 0.0,
        "xtc_probability": 0,
        "n_probs": 0,
        "grammar": "",
        "id_slot": -1,
        "lora": [],
        "reasoning_format": "auto",
        "repeat_penalty": 1.0,
        "repeat_last_n": 64,
        "logit_bias": {},
        "tools": [],
        "tool_choice": "none",
        "response_format": {},
        "audio": None,
        "prediction": None,
        "best_of": 0,
        "something_new": None,
        "stop": ["", "x"],
        "do_sample": True,
    }
    on: dict[str, Any] = {
        "best_of": 2,
        "use_beam_search": True,
        "echo": True,
        "min_tokens": 3,
        "skip_special_tokens": False,
        "mirostat": 2,
        "functions": [{"name": "f"}],
        "do_sample": False,
        "guided_json": {},
        "something_new": 0,
        "length_penalty": 2,
    }
    return [
        *((kind, f"{name} {value}", CHAT, chat(**{name: value}), OK) for name, value in fields.items()),
        *((kind, f"{name} {value}", CHAT, chat(**{name: value}), refused(name)) for name, value in on.items()),
        (kind, "thinking on", CHAT, chat(thinking={"type": "enabled", "budget_tokens": 5}), OK),
        (kind, "suffix", COMPLETIONS, {"prompt": "hi", "suffix": "", "best_of": 1, "use_beam_search": False}, OK),
        (kind, "Anthropic", MESSAGES, chat(mcp_servers=[], stop_sequences=[""], container=None), OK),
        (kind, "a message's", CHAT, chat({**HI, "prefix": False, "function_call": None}), OK),
    ]


def _ollama() -> list[Asked]:
    kind = "ollama-requests"
    generate = {"model": "$MODEL", "prompt": "hi", "stream": False}
    return [
        (kind, "unknown fields", OLLAMA, ollama(tool_choice="required", frobnicate=1), OK),
        (kind, "unknown options", OLLAMA, ollama(options={"frobnicate": 1, "num_predict": 8}), OK),
        (kind, "unknown in a message", OLLAMA, ollama({**HI, "id": "1", "timestamp": 5}), OK),
        (kind, "repeat_last_n 0", OLLAMA, ollama(options={"repeat_last_n": 0, "repeat_penalty": 1.1}), OK),
        (kind, "repeat_last_n -1", OLLAMA, ollama(options={"repeat_last_n": -1, "repeat_penalty": 1.1}), OK),
        (kind, "a flat tool", OLLAMA, ollama(tools=[{"type": "function", "name": "look", "parameters": CITY}]), OK),
        (kind, "options that are off", OLLAMA, ollama(options={"mirostat": 0, "typical_p": 1, "tfs_z": 1.0}), OK),
        (kind, "nulls", GENERATE, {**generate, "context": None, "images": None, "suffix": None, "options": None}, OK),
        (kind, "empty", GENERATE, {**generate, "context": [], "images": [], "suffix": "", "template": ""}, OK),
        (kind, "a suffix", GENERATE, {**generate, "suffix": "x"}, refused("suffix is not supported")),
        (kind, "mirostat", OLLAMA, ollama(options={"mirostat": 2}), refused("options.mirostat is not supported")),
    ]


def _limits() -> list[Asked]:
    kind = "max-tokens-without-limit"
    none = chat(max_completion_tokens=8)
    del none["max_tokens"]
    return [
        (kind, "the newer name", CHAT, {**none, "max_completion_tokens": -1}, OK),
        (kind, "both names", CHAT, chat(max_tokens=-1, max_completion_tokens=8), OK),
        (kind, "completions", COMPLETIONS, {"prompt": "hi", "max_tokens": -1}, OK),
        (kind, "Ollama", OLLAMA, ollama(options={"num_predict": -1}), OK),
        (kind, "null", CHAT, chat(max_tokens=None), OK),
        (kind, "-2 has no meaning", CHAT, chat(max_tokens=-2), refused("max_tokens is -2")),
        (kind, "0", CHAT, chat(max_tokens=0), refused("max_tokens is 0")),
    ]


def _words() -> list[Asked]:
    kind = "words-of-errors"
    parts = ("messages.0.content: expected a string or a list",)
    inner = (".str", ".list", "Input should", "valid ", "dictionary")

    def said(*says: str) -> dict[str, Any]:
        return refused(*says, lacks=inner)

    return [
        (kind, "content", CHAT, chat({"role": "user", "content": 5}), said(*parts)),
        (kind, "Anthropic's content", MESSAGES, chat({"role": "user", "content": {"a": 1}}), said(*parts)),
        (kind, "role", CHAT, chat({"role": "wizard", "content": "a"}), said("messages.0.role: expected one of")),
        (kind, "stop", CHAT, chat(stop=[1]), said("stop.0: expected a string")),
        (kind, "temperature", CHAT, chat(temperature="1"), said("temperature: expected a number")),
        (kind, "a block", MESSAGES, chat({"role": "user", "content": [{"text": "a"}]}), said("messages.0.content.0")),
        (kind, "max_tokens", MESSAGES, chat(max_tokens=0), said("max_tokens: expected a number of at least 1")),
        (kind, "format", OLLAMA, ollama(format="yaml"), said("format: expected")),
        (kind, "a missing field", MESSAGES, {"model": "$MODEL", "max_tokens": 1}, said("messages is required")),
        (kind, "prompts", COMPLETIONS, {"prompt": ["a", 1]}, said("prompt.1: expected a string")),
    ]


def _inside_thinking() -> list[Asked]:
    kind = "answer-that-ended-inside-thinking"
    asked = {"role": "user", "content": "stops thinking"}
    said, silent = {"status": 200, "has": ["ended_inside_thinking"]}, {**OK, "lacks": ["ended_inside_thinking"]}
    return [
        (kind, "streamed", CHAT, chat(asked, max_tokens=200, stream=True), said),
        (kind, "Anthropic", MESSAGES, chat(asked, max_tokens=200, thinking={"type": "adaptive"}), said),
        (kind, "Ollama", OLLAMA, ollama(asked, options={"num_predict": 200}), said),
        (kind, "cut", CHAT, chat(max_tokens=2), said),
        (kind, "an answer", CHAT, chat(max_tokens=200), silent),
        (kind, "Anthropic's answer", MESSAGES, chat(max_tokens=200, thinking={"type": "adaptive"}), silent),
    ]


def _json_objects() -> list[Asked]:
    kind = "json-object-with-schema"
    bad = {"type": "json_object", "schema": {"not": {}}}
    return [
        (kind, "null", CHAT, chat(response_format={"type": "json_object", "schema": None}), OK),
        (kind, "[]", CHAT, chat(response_format={"type": "json_object", "schema": []}), OK),
        (kind, "beside json_schema", CHAT, chat(response_format={"type": "json_schema", "schema": CITY}), OK),
        (
            kind,
            "completions",
            COMPLETIONS,
            {"prompt": "hi", "response_format": {"type": "json_object", "schema": CITY}},
            OK,
        ),
        (kind, "refused by name", CHAT, chat(response_format=bad), refused("response_format.schema")),
    ]


def _tools() -> list[Asked]:
    kind = "tools-of-the-responses-api"
    flat = {"type": "function", "name": "look", "description": "d", "parameters": CITY, "strict": None}
    choice = {"type": "function", "name": "look"}
    return [
        (kind, "both shapes", CHAT, chat(tools=[flat, {**LOOK, "function": {"name": "other"}}]), OK),
        (kind, "a flat choice", CHAT, chat(tools=[flat], tool_choice=choice), OK),
        (kind, "strict", CHAT, chat(tools=[{**flat, "strict": True}]), OK),
        (kind, "Anthropic's shape", CHAT, chat(tools=[ANTHROPIC_LOOK]), OK),
        (kind, "type inside", CHAT, chat(tools=[{"function": {"type": "function", "name": "look"}}]), OK),
        (kind, "two of one name", CHAT, chat(tools=[flat, LOOK]), refused("two tools")),
        (kind, "web_search", CHAT, chat(tools=[{"type": "web_search"}]), refused("tools.0")),
    ]


def _scores() -> list[Asked]:
    kind = "log-probabilities-of-a-prompt"
    scored = {"status": 200, "has": ['"token_logprobs":[null']}
    base = {"prompt": "one two three", "echo": True, "logprobs": 1, "max_tokens": 1}
    return [
        (kind, "only the prompt", COMPLETIONS, {**base, "max_tokens": 0}, scored),
        (kind, "ids", COMPLETIONS, {**base, "prompt": [104, 105, 106]}, scored),
        (kind, "several", COMPLETIONS, {**base, "prompt": ["one", "two"]}, scored),
        (kind, "harness", COMPLETIONS, {**base, "temperature": 0, "seed": 1234, "best_of": 1, "suffix": None}, scored),
        (kind, "streamed", COMPLETIONS, {**base, "stream": True}, scored),
    ]


#: the allowed origin, and one that is not
ORIGIN, OTHER = "app://obsidian.md", "https://example.org"


def _origins() -> list[tuple[Asked, dict[str, str]]]:
    kind = "programs-with-an-origin"
    asked = {"Origin": ORIGIN}
    generate = {"model": "$MODEL", "prompt": "hi", "stream": False, "options": {"num_predict": 2}}
    barred = {"status": 403, "has": ["origin", "Origin"]}
    return [
        ((kind, "Anthropic", MESSAGES, chat(), OK), asked),
        ((kind, "Ollama", OLLAMA, ollama(), OK), asked),
        ((kind, "Ollama, generate", GENERATE, generate, OK), asked),
        ((kind, "completions", COMPLETIONS, {"prompt": "hi", "max_tokens": 2}, OK), asked),
        ((kind, "streamed", CHAT, chat(stream=True), OK), asked),
        ((kind, "the page itself", CHAT, chat(), OK), {"Origin": "http://127.0.0.1"}),
        ((kind, "another one", CHAT, chat(), barred), {"Origin": OTHER}),
        ((kind, "another one, Ollama", OLLAMA, ollama(), barred), {"Origin": OTHER}),
        ((kind, "a part of the name", CHAT, chat(), barred), {"Origin": ORIGIN + ".example.org"}),
    ]


ORIGINS = _origins()
MORE: list[Asked] = [
    *_histories(),
    *_systems(),
    *_pictures(),
    *_schemas(),
    *_strict_tools(),
    *_off(),
    *_ollama(),
    *_limits(),
    *_words(),
    *_inside_thinking(),
    *_json_objects(),
    *_tools(),
    *_scores(),
]
