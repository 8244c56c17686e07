"""Build llguidance grammars, in Lark: for the content that a client asks for, and for calls of its tools.

A call's grammar is the format that the family's template shows to the model. In Qwen's XML the parameters come in the
schema's order. Strings there are bare text: the grammar enforces `enum` and `const`, but no pattern or length. Every
other value is JSON that follows its schema.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from shoestring.errors import RequestError
from shoestring.output.masks import LINE, lark, schema_text
from shoestring.output.request import Constraint
from shoestring.output.schemas.keywords import not_enforced, tidied
from shoestring.output.schemas.types import Tool, json_string, resolved
from shoestring.output.syntax import Syntax

_MOST_TEXT = 64 * 1024
_MOST_CHOICES = 1000
_MOST_DEFINITIONS = 1 << 20
#: Alternatives of oneOf that overlap count as those of anyOf.
_ONE_OF = {"coerce_one_of": True}
#: JSON as templates write it, which allows no endless white space
_COMPACT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": ", **_ONE_OF}
#: JSON of a client's own schema: on one line or indented, but without endless white space, in which models get stuck
_READABLE = {"whitespace_pattern": r" {1,2}|\r?\n[ \t]{0,64}", **_ONE_OF}
#: After a call anything is allowed.
_REST = "rest: /(?s:.*)/"
_CLOSE = "</parameter>"


def _text_rules() -> str:
    """Rules for bare text: lines that are not the closing tag, then the tag as a line.

    "Anything up to the tag" would be shorter. But here a line continues like LINE after every prefix of the tag, which
    llguidance recognizes without checking each token, so a mask takes a tenth of the time.
    """
    letters = "".join(sorted(set(_CLOSE)))
    lines = [f"{_CLOSE}[^\\n]+"]
    for n, letter in enumerate(_CLOSE):
        prefix = _CLOSE[:n]
        lines += [prefix + LINE, f"{prefix}[{letters.replace(letter, '')}][^\\n]*"]
        if prefix:
            lines.append(prefix)
    names = [f"LINE{number}" for number in range(len(lines))]
    rules = [
        f"{name}: /{line}/" for name, line in zip(names, (line.replace("/", r"\/") for line in lines), strict=True)
    ]
    return "\n".join([f'text: (line? "\\n")* {json_string(_CLOSE + chr(10))}', f"line: {' | '.join(names)}", *rules])


# ---- the content


def content_grammars(constraint: Constraint) -> list[dict[str, Any]]:
    """llguidance's grammars for a constraint; the first is the start. Raises RequestError for an invalid constraint."""
    value, kind = constraint.value, constraint.kind
    match kind:
        case "json_object":
            return [{"json_schema": {"type": "object", "x-guidance": _READABLE}}]
        case "json_schema":
            if not isinstance(value, Mapping):
                raise RequestError("the JSON schema is not an object")
            schema = tidied(json.loads(schema_text(value, "the JSON schema")))
            problem = not_enforced(schema)
            if problem is not None:
                raise RequestError(f"the JSON schema: {problem}")
            return [{"json_schema": {**schema, "x-guidance": _READABLE}}]
        case "choice":
            return [{"lark_grammar": "start: " + " | ".join(map(json_string, _choices(value)))}]
    text = _text(value, {"regex": "the pattern", "lark": "the grammar", "gbnf": "the grammar"}[kind])
    if kind == "regex":
        from llguidance import LLMatcher

        grammars: list[dict[str, Any]] = json.loads(LLMatcher.grammar_from_regex(text))["grammars"]
        return grammars
    return [{"lark_grammar": _from_gbnf(text) if kind == "gbnf" else text}]


def _choices(value: Any) -> list[str]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise RequestError("choice must be a list of at least one string")
    if not all(isinstance(one, str) and one for one in value):
        raise RequestError("choice has an entry that is empty or not a string")
    if len(value) > _MOST_CHOICES or sum(map(len, value)) > _MOST_TEXT:
        raise RequestError(
            f"choice is too long: the limit is {_MOST_CHOICES} strings of {_MOST_TEXT} characters in all"
        )
    return [_text(one, "a choice") for one in value]


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise RequestError(f"{what} is empty or not a string")
    if len(value) > _MOST_TEXT:
        raise RequestError(f"{what} has {len(value)} characters: the limit is {_MOST_TEXT}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise RequestError(f"{what} contains a lone surrogate (half of a character)") from None
    return value


def _from_gbnf(text: str) -> str:
    from llguidance.gbnf_to_lark import any_to_lark

    try:
        return str(any_to_lark(text))
    except RecursionError:
        raise RequestError("the GBNF grammar nests too deep") from None
    except Exception as error:  # the converter's errors have no common base
        raise RequestError(f"the GBNF grammar: {' '.join(str(error).split())[:200]}") from None


def answer_grammar(content: list[dict[str, Any]] | None, calls: str | None) -> str:
    """The grammar of an answer after its thinking: the content, or calls (rules that start with `calls`), or either."""
    if content is None:
        return lark(f"start: calls\n{calls}")
    if calls is None:
        return json.dumps({"grammars": content})
    inner = [{**content[0], "name": "content"}, *content[1:]]
    return json.dumps({"grammars": [{"lark_grammar": f"start: calls | @content\n{calls}"}, *inner]})


# ---- calls


def calls_rules(syntax: Syntax, tools: Mapping[str, Tool], many: bool) -> str:
    """Rules for one call or, if `many`, for one or more, in the family's format."""
    rules = [f"calls: call{' (separator call)*' if many else ''}", 'separator: "\\n"']
    names = [f"tool{number}" for number in range(len(tools))]
    rules.append(f"tool: {' | '.join(names)}")
    if syntax.family == "qwen3_5":
        rules += [f'call: {_mark(syntax, syntax.call)} "\\n" tool {_mark(syntax, syntax.end_call)}', _text_rules()]
        for name, tool in zip(names, tools.values(), strict=True):
            rules.append(f"{name}: {json_string(f'<function={tool.name}>')} {name}_rest")
            rules += _xml_rest(f"{name}_rest", tool)
    else:
        rules.append("call: tool")
        for name, tool in zip(names, tools.values(), strict=True):
            head = {"name": {"const": tool.name}, "parameters": _arguments_schema(tool)}
            whole = {"type": "object", "properties": head, "required": list(head), "additionalProperties": False}
            rules.append(f"{name}: {_json(with_definitions(whole, tool))}")
    return "\n".join(rules)


def rest_of_call(syntax: Syntax, tool: Tool, form: str) -> str:
    """The grammar of what follows a call's name, in a format of calls.py ("xml", "json", "python")."""
    match form:
        case "xml":
            end = _mark(syntax, syntax.end_call)
            rules = [f"start: call {end}", *_xml_rest("call", tool), _text_rules()]
        case "json":
            rules = [f"start: {_json(_arguments_schema(tool))} rest", _REST]
        case _:
            rules = ["start: call rest", _REST, *_python_rest("call", tool)]
    return lark("\n".join(rules))


def _xml_rest(name: str, tool: Tool) -> list[str]:
    """Rules for `name`: everything after <function=NAME>, including its closing tag and a line break."""
    schema = resolved(tool.parameters)
    properties, required = _properties(schema)
    _check_size(tool, properties)
    rules, parts = [], []
    for number, (key, value) in enumerate(properties.items()):
        rule = f"{name}_{number}"
        rules.append(f"{rule}: {json_string(f'<parameter={key}>' + chr(10))} {_xml_value(tool, key, value)}")
        parts.append(rule if key in required else f"{rule}?")
    if not properties and schema.get("additionalProperties", True) is not False and "properties" not in schema:
        rules.append(f'{name}_any: "<parameter=" /[^<>\\n]{{1,64}}/ ">\\n" text')
        parts.append(f"{name}_any*")
    return [f'{name}: "\\n" {" ".join(parts)} "</function>\\n"', *rules]


def _xml_value(tool: Tool, key: str, schema: Any) -> str:
    end = json_string("\n</parameter>\n")
    kinds = tool.kinds(key)
    if kinds and "string" not in kinds:
        return f"{_json(with_definitions(schema, tool))} {end}"
    literals = _enumerated(schema, tool)
    if literals:
        return f"({' | '.join(map(json_string, literals))}) {end}"
    return "text"


def _enumerated(schema: Any, tool: Tool) -> list[str]:
    """The texts that a parameter may have, as XML writes them; empty: any."""
    schema = resolved(schema, tool.parameters) if isinstance(schema, Mapping) else {}
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if not isinstance(values, list) or "" in values:
        return []
    return [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values]


def _python_rest(name: str, tool: Tool) -> list[str]:
    """Rules for `name`: (KEY=VALUE, …) in the schema's order."""
    properties, required = _properties(resolved(tool.parameters))
    _check_size(tool, properties)
    last = len(properties)
    rules = [f'{name}: "(" {name}_first0 ")"', f'{name}_first{last}: ""', f'{name}_more{last}: ""']
    for number, (key, value) in enumerate(properties.items()):
        rules.append(f"{name}_{number}: {json_string(key + '=')} {_json(with_definitions(value, tool))}")
        for state, comma in (("first", ""), ("more", '", " ')):
            skip = "" if key in required else f" | {name}_{state}{number + 1}"
            rules.append(f"{name}_{state}{number}: {comma}{name}_{number} {name}_more{number + 1}{skip}")
    return rules


def _check_size(tool: Tool, properties: Mapping[str, Any]) -> None:
    """Raise RequestError if the definitions, which each property's grammar repeats, take too much together."""
    definitions = schema_text(with_definitions({}, tool), "the schema of a tool")
    if len(definitions) * len(properties) > _MOST_DEFINITIONS:
        raise RequestError(f"the schema of {tool.name}: its definitions are too long for so many properties")


def _properties(schema: Mapping[str, Any]) -> tuple[dict[str, Any], set[str]]:
    properties, required = schema.get("properties"), schema.get("required")
    return (
        {key: value for key, value in properties.items() if _KEY.fullmatch(key)}
        if isinstance(properties, Mapping)
        else {},
        {key for key in required if isinstance(key, str)} if isinstance(required, list) else set(),
    )


_KEY = re.compile(r"[^<>\n]{1,256}")


def _arguments_schema(tool: Tool) -> Mapping[str, Any]:
    return {"type": "object", **tool.parameters}


def with_definitions(schema: Any, tool: Tool) -> Any:
    """A parameter's schema with the definitions that it refers to."""
    if not isinstance(schema, Mapping):
        return schema
    return {**{key: tool.parameters[key] for key in ("$defs", "definitions") if key in tool.parameters}, **schema}


def _json(schema: Any) -> str:
    if isinstance(schema, Mapping):
        schema = {**schema, "x-guidance": _COMPACT}
    return f"%json {schema_text(schema, 'the schema of a tool')}"


def _mark(syntax: Syntax, mark: str) -> str:
    id = syntax.id_of(mark)
    return json_string(mark) if id is None else f"<[{id}]>"
