"""Attacks with forms of answers and sampling: schemas, regexes, grammars, tools, counts and biases."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from typing import Any

from hostile.attack import Attack, post
from hostile.endpoints import MESSAGES, MODEL, VALID
from hostile.values import nested

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"

REGEXES: Mapping[str, str] = {
    "catastrophic": r"(a*)*b",
    "catastrophic, twice": r"(x+x+)+y(x+x+)+",
    "an alternation of prefixes": "(" + "|".join("a" * n for n in range(1, 400)) + ")*b",
    "a large repetition": r"[\s\S]{1,100000}",
    "repetitions in repetitions": r"(?:(?:(?:a{1,1000}){1,1000}){1,1000}){1,1000}",
    "a late choice": r"(a|b)*a(a|b){200}",
    "a very late choice": r"(a|b)*a(a|b){5000}",
    "letters of all scripts": r"(\p{L}\p{N}){500}",
    "words": r"(\w+\s+){1,3000}",
    "look-ahead": r"(?=a)b(?!c)",
    "a reference back": r"(a)\1",
    "unfinished": r"(((",
    "a class without end": r"[a-",
    "a count too large": r"a{99999999999999999999}",
    "a reversed range": r"[z-a]",
    "a wrong property": r"\p{Nonsense}",
    "nothing": r"",
    "never": r"[^\s\S]",
    "a surrogate": "[\ud800-\udfff]",
    "NUL": "\x00\x1b[31m",
    "100 kB": "(ab?)" * 20_000,
    "deep": "(" * 5000 + "a" + ")*" * 5000,
    "many complements": "".join(f"[^{chr(97 + n % 26)}]*" for n in range(400)),
}
GRAMMARS: Mapping[str, str] = {
    "left recursion": 'start: start start "a" | "a"',
    "ambiguous": "start: e\ne: e e e | e e | /a*/ | ",
    "nothing is produced": "start: start",
    "an unknown rule": "start: nowhere",
    "no start": 'other: "a"',
    "a catastrophic terminal": "start: A*\nA: /(a|aa|aaa|a*)*b/",
    "many terminals": "start: "
    + " | ".join(f"T{n}" for n in range(3000))
    + "\n"
    + "\n".join(f"T{n}: /[a-z]*x{n}[a-z]*/" for n in range(3000)),
    "one long terminal": "start: /" + "[a-z]{1,50}" * 2000 + "/",
    "a deep rule": "start: " + "(" * 3000 + '"a"' + ")*" * 3000,
    "repetitions in repetitions": 'start: ((("a"{1,1000}){1,1000}){1,1000}){1,1000}',
    "a wrong import": "%import common.EVERYTHING\nstart: EVERYTHING",
    "an option": '%llguidance {"no_forcing": true, "allow_initial_skip": 7}\nstart: "a"',
    "inner JSON": 'start: %json {"$ref": "http://127.0.0.1:1/schema"}',
    "gbnf, unknown rule": 'root ::= nowhere "a"',
    "gbnf, left recursion": 'root ::= root root | "a"',
    "gbnf, long": "root ::= " + " ".join(f'"{n}"' for n in range(20_000)),
    "gbnf, deep": "root ::= " + "(" * 4000 + '"a"' + ")*" * 4000,
    "gbnf, an escape": 'root ::= "\\xZZ\\u12"',
    "not a grammar": "\x00\x1b]0;x\x07 ::= ::= ::=",
    "200 kB": 'start: "a"\n' + "// comment\n" * 20_000,
}
_STRING: dict[str, Any] = {"type": "string"}
SCHEMAS: Mapping[str, Any] = {
    "itself": {"$ref": "#"},
    "two that refer to each other": {
        "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}},
        "$ref": "#/$defs/a",
    },
    "a tree of itself": {
        "$defs": {"n": {"type": "object", "properties": {"l": {"$ref": "#/$defs/n"}, "r": {"$ref": "#/$defs/n"}}}},
        "$ref": "#/$defs/n",
    },
    "another file": {"$ref": "file:///etc/passwd"},
    "another host": {"$ref": "http://169.254.169.254/latest"},
    "nowhere": {"$ref": "#/$defs/nowhere"},
    "false": {"not": {}},
    "an empty choice": {"enum": []},
    "10000 choices": {"enum": [f"choice {n}" for n in range(10_000)]},
    "500 properties": {"type": "object", "properties": {f"p{n}": _STRING for n in range(500)}},
    "500 required": {
        "type": "object",
        "properties": {f"p{n}": _STRING for n in range(500)},
        "required": [f"p{n}" for n in range(500)],
    },
    "many alternatives": {"anyOf": [{"type": "object", "properties": {f"p{n}": _STRING}} for n in range(1000)]},
    "one of many": {"oneOf": [{"type": "string", "pattern": f"^a*{n}"} for n in range(300)]},
    "all of many": {"allOf": [{"type": "string", "pattern": f"a{n}"} for n in range(100)]},
    "a catastrophic pattern": {"type": "string", "pattern": r"^(a+)+$"},
    "a long text": {"type": "string", "minLength": 1_000_000, "maxLength": 2_000_000},
    "a reversed length": {"type": "string", "minLength": 5, "maxLength": 2},
    "a long list": {"type": "array", "items": _STRING, "minItems": 1_000_000},
    "a large number": {"type": "integer", "minimum": -(10**300), "maximum": 10**300},
    "a multiple": {"type": "number", "multipleOf": 1e-300},
    "a wrong type": {"type": "nonsense"},
    "types": {"type": ["string", 7, None]},
    "properties of a wrong type": {"type": "object", "properties": [1]},
    "required of a wrong type": {"type": "object", "required": "x"},
    "a format": {"type": "string", "format": "\x1b[31m"},
    "a negative count": {"type": "array", "minItems": -5, "maxItems": -9},
    "60 deep": json.loads(nested(59, objects=True).replace(b'"a"', b'"items"').replace(b":1}", b":{}}")),
    "names of markup": {"type": "object", "properties": {"</parameter>": _STRING, "\x00": _STRING, "": _STRING}},
    "conditions": {"if": {"type": "string"}, "then": {"minLength": 3}, "else": {"not": {"type": "null"}}},
    "every property matches": {"type": "object", "patternProperties": {"(a*)*": _STRING, ".*": {"type": "null"}}},
    "unevaluated": {"unevaluatedProperties": False, "dependentSchemas": {"a": {}}, "propertyNames": {"pattern": "("}},
}
_HUGE = (0, -1, 17, 1000, 2**31, 2**63, 10**30, 0.5, -0.0, 1e308, -1e308, 1e-320)


def hostile_forms(source: random.Random) -> Iterator[Attack]:
    """Without end: each form once before any comes again, in all fields that carry it."""
    makers = [
        *((f"regex: {name}", _structured("regex", text)) for name, text in REGEXES.items()),
        *((f"grammar: {name}", _structured("grammar", text)) for name, text in GRAMMARS.items()),
        *((f"schema: {name}", body) for name, schema in SCHEMAS.items() for body in _of_schema(schema)),
        *(("counts", None) for _ in range(60)),
    ]
    while True:
        source.shuffle(makers)
        for name, form in makers:
            if form is None:
                yield _counts(source)
            else:
                path, fields = form
                yield _json(name, path, {**VALID[path], **fields})


def _structured(kind: str, text: str) -> tuple[str, dict[str, Any]]:
    return (CHAT if len(text) % 2 else COMPLETIONS), {"structured_outputs": {kind: text}}


def _of_schema(schema: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """A schema in every field that takes one."""
    function = {"type": "function", "function": {"name": "f", "parameters": schema}}
    yield CHAT, {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}
    yield CHAT, {"tools": [function], "tool_choice": "required"}
    yield COMPLETIONS, {"structured_outputs": {"json": schema}}
    yield "/v1/messages", {"tools": [{"name": "f", "input_schema": schema}], "tool_choice": {"type": "any"}}
    yield "/v1/messages", {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
    yield "/api/chat", {"format": schema}
    yield "/apply-template", {"tools": [function]}


def _counts(source: random.Random) -> Attack:
    """Numbers of answers and tokens, stop texts, biases, penalties."""
    number = source.choice(_HUGE)
    field = source.choice(
        (
            *("n", "best_of", "max_tokens", "top_k", "logprobs", "seed", "temperature", "top_p", "min_p"),
            *("presence_penalty", "frequency_penalty", "repetition_penalty", "top_logprobs", "thinking_budget"),
        )
    )
    fields: dict[str, Any] = {field: number}
    match source.randrange(6):
        case 0:
            fields = {"stop": ["a" * 10_000] * 2000}
        case 1:
            fields = {"stop": ["", "\x00", "\ud800", "\u202e", "a"]}
        case 2:
            fields = {"logit_bias": {str(token): number for token in range(-5, 3000)}}
        case 3:
            fields = {"logit_bias": {source.choice(("", "x", "1e3", "٣", "-1", "99999999", "0x1")): 1}}
        case 4:
            fields["n"] = 16
    path = source.choice((CHAT, COMPLETIONS))
    return _json(f"counts {str(fields)[:60]}", path, {**VALID[path], **fields})


def many_tools(count: int) -> bytes:
    """A chat with `count` tools."""
    tool = {"type": "function", "function": {"name": "NAME", "parameters": {"type": "object"}}}
    text = json.dumps(tool).encode()
    tools = b",".join(text.replace(b"NAME", b"t%d" % number) for number in range(count))
    return b'{"messages": ' + json.dumps(MESSAGES).encode() + b', "max_tokens": 3, "tools": [' + tools + b"]}"


def _json(name: str, path: str, body: Mapping[str, Any]) -> Attack:
    return post(name, path, lambda: [json.dumps(body).encode()])


__all__ = ["CHAT", "COMPLETIONS", "MODEL", "hostile_forms", "many_tools"]
