"""Recorded answers of models, valid and malformed, and what a client must get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assembled import tool

TOOLS = (
    tool("get_weather", {"city": {"type": "string"}, "days": {"type": "integer"}, "metric": {"type": "boolean"}}),
    tool("write_file", {"path": {"type": "string"}, "text": {"type": "string"}}),
    tool(
        "search",
        {
            "query": {"type": ["string", "null"]},
            "filters": {"type": "object"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "limit": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "score": {"type": "number"},
            "order": {"enum": ["up", "down"]},
            "kind": {"$ref": "#/$defs/kind"},
            "any": {},
        },
        **{"$defs": {"kind": {"type": "string"}}},
    ),
    tool("now"),
)


@dataclass(frozen=True)
class Recorded:
    name: str
    text: str
    content: str = ""
    calls: Sequence[tuple[str, Mapping[str, Any]]] = ()
    thinking: str = ""
    inside_thinking: bool = False


def call(name: str, *parameters: tuple[str, str]) -> str:
    """A call in Qwen's format."""
    inner = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in parameters)
    return f"<tool_call>\n<function={name}>\n{inner}</function>\n</tool_call>"


_WEATHER = ("get_weather", {"city": "Paris"})

QWEN = (
    Recorded("text", "Hello, world! <b>1 < 2</b> {x} [y](z)", content="Hello, world! <b>1 < 2</b> {x} [y](z)"),
    Recorded("nothing", ""),
    Recorded("unicode", "naïve 日本語 🎉 e\u0301 ", content="naïve 日本語 🎉 é "),
    Recorded("thinking", "Let me see.\n</think>\n\nFour.", "Four.", thinking="Let me see.", inside_thinking=True),
    Recorded("thinking begins itself", "<think>\nHm.\n</think>\n\nYes.", "Yes.", thinking="Hm."),
    Recorded("never ends thinking", "and on\nand on ", thinking="and on\nand on ", inside_thinking=True),
    Recorded("empty thinking", "</think>\n\nYes.", "Yes.", inside_thinking=True),
    Recorded("call", call("get_weather", ("city", "Paris")), calls=[_WEATHER]),
    Recorded(
        "thinking, content, call",
        "I look.\n</think>\n\nI look it up.\n\n" + call("get_weather", ("city", "Paris")),
        "I look it up.",
        [_WEATHER],
        "I look.",
        True,
    ),
    Recorded(
        "types",
        call("get_weather", ("city", "75001"), ("days", "3"), ("metric", "true")),
        calls=[("get_weather", {"city": "75001", "days": 3, "metric": True})],
    ),
    Recorded(
        "types as Python writes them",
        call("get_weather", ("city", "None"), ("days", " 3.0 "), ("metric", "False")),
        calls=[("get_weather", {"city": "None", "days": 3, "metric": False})],
    ),
    Recorded(
        "what cannot be read stays text",
        call("get_weather", ("days", "three"), ("metric", "perhaps")),
        calls=[("get_weather", {"days": "three", "metric": "perhaps"})],
    ),
    Recorded(
        "all kinds",
        call(
            "search",
            ("query", "null"),
            ("filters", '{"a": [1, {"b": "}"}], "c": null}'),
            ("tags", "['x', \"it's\"]"),
            ("limit", "null"),
            ("score", "1e3"),
            ("order", "up"),
            ("kind", "12"),
            ("any", "12"),
        ),
        calls=[
            (
                "search",
                {
                    "query": None,
                    "filters": {"a": [1, {"b": "}"}], "c": None},
                    "tags": ["x", "it's"],
                    "limit": None,
                    "score": 1000.0,
                    "order": "up",
                    "kind": "12",
                    "any": 12,
                },
            )
        ],
    ),
    Recorded(
        "almost null",
        call("search", ("query", "nullable"), ("any", "two words")),
        calls=[("search", {"query": "nullable", "any": "two words"})],
    ),
    Recorded("no arguments", call("now"), calls=[("now", {})]),
    Recorded("no arguments on one line", "<tool_call><function=now></function></tool_call>", calls=[("now", {})]),
    Recorded("empty value", call("write_file", ("path", "")), calls=[("write_file", {"path": ""})]),
    Recorded(
        "inline values",
        "<tool_call><function=write_file><parameter=path>a.txt</parameter><parameter=text> b </parameter></function>"
        "</tool_call>",
        calls=[("write_file", {"path": "a.txt", "text": " b "})],
    ),
    Recorded(
        "a file with everything",
        call("write_file", ("path", "a.py"), ("text", 'x = {"q": "\\n\\"", \'é\': "日本🎉"}\n\tprint("<a>")\n\n')),
        calls=[("write_file", {"path": "a.py", "text": 'x = {"q": "\\n\\"", \'é\': "日本🎉"}\n\tprint("<a>")\n\n'})],
    ),
    Recorded(
        "closing tags in a value",
        call(
            "write_file",
            ("text", "a</parameter>b\n</parameter>\nc </function> d\n</function>\n<parameter>"),
            ("path", "p"),
        ),
        calls=[
            (
                "write_file",
                {"text": "a</parameter>b\n</parameter>\nc </function> d\n</function>\n<parameter>", "path": "p"},
            )
        ],
    ),
    Recorded(
        "marks in a value",
        call("write_file", ("text", "A call ends with </tool_call>, thinking <think> with </think>."), ("path", "p")),
        calls=[("write_file", {"text": "A call ends with </tool_call>, thinking <think> with </think>.", "path": "p"})],
    ),
    Recorded(
        "three calls",
        "\n".join((call("get_weather", ("city", "Paris")), call("now"), call("get_weather", ("city", "Rome")))),
        calls=[_WEATHER, ("now", {}), ("get_weather", {"city": "Rome"})],
    ),
    Recorded(
        "two functions in one mark",
        "<tool_call>\n<function=now>\n</function>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n"
        "</function>\n</tool_call>",
        calls=[("now", {}), _WEATHER],
    ),
    Recorded("text behind a call", call("now") + "\n\nDone.", "Done.", [("now", {})]),
    Recorded("call inside thinking", "Hm.\n" + call("now"), thinking="Hm.", calls=[("now", {})], inside_thinking=True),
    Recorded(
        "thinking closed behind the call",
        "Hm.\n" + call("now") + "\n</think>\n\n",
        thinking="Hm.",
        calls=[("now", {})],
        inside_thinking=True,
    ),
    Recorded(
        "a call drafted inside thinking",
        "I might say\n" + call("now") + "\nbut no.\n</think>\n\nNo.",
        "No.",
        thinking="I might say\n" + call("now") + "\nbut no.",
        inside_thinking=True,
    ),
    Recorded(
        "drafted, then made",
        "So:\n" + call("now") + "\n</think>\n\n" + call("now"),
        thinking="So:\n" + call("now"),
        calls=[("now", {})],
        inside_thinking=True,
    ),
    Recorded(
        "marks without a call",
        "The mark <tool_call> opens, </tool_call> closes.",
        "The mark <tool_call> opens, </tool_call> closes.",
    ),
    Recorded("unknown tool", call("fly", ("to", "Mars")), content=call("fly", ("to", "Mars"))),
    Recorded("unknown, then known", call("fly") + "\n" + call("now"), content=call("fly"), calls=[("now", {})]),
    Recorded("no function", "<tool_call>\nnow()\n</tool_call>", content="<tool_call>\nnow()\n</tool_call>"),
    Recorded(
        "the end of the call is missing",
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>",
        calls=[_WEATHER],
    ),
    Recorded(
        "all closing tags are missing", "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis", calls=[_WEATHER]
    ),
    Recorded(
        "the parameter's closing tag is missing",
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</function>\n</tool_call>",
        calls=[_WEATHER],
    ),
    Recorded(
        "the function's closing tag is missing",
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</tool_call>",
        calls=[_WEATHER],
    ),
    Recorded(
        "the mark is missing",
        "Well.\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>",
        "Well.",
        [_WEATHER],
    ),
    Recorded(
        "JSON between the marks",
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>',
        calls=[_WEATHER],
    ),
    Recorded(
        "code is no call",
        "```\n<function=now>\n</function>\n```",
        "```\n<function=now>\n</function>\n```",
    ),
    Recorded(
        "garbage inside a call",
        "<tool_call>\n<function=now>\nwell\n</function>\n</tool_call>",
        "well\n</function>\n</tool_call>",
        [("now", {})],
    ),
)

_RAIN = ("get_weather", {"city": "Paris", "days": 2})

LLAMA = (
    Recorded("text", "Hello [1] {x}: <b>1 < 2</b>", "Hello [1] {x}: <b>1 < 2</b>"),
    Recorded("links and lists", "[a](b)\n[now] and [then]\n[]", "[a](b)\n[now] and [then]\n[]"),
    Recorded("JSON that is no call", '{"city": "Paris"}', '{"city": "Paris"}'),
    Recorded("JSON with a name", '{"name": "now"}', '{"name": "now"}'),
    Recorded("a list of data", '[{"name": "Bob", "parameters": {}}]', '[{"name": "Bob", "parameters": {}}]'),
    Recorded("pythonic", '[get_weather(city="Paris", days=2)]', calls=[_RAIN]),
    Recorded("pythonic, marked", '<|python_start|>[get_weather(city="Paris", days=2)]<|python_end|>', calls=[_RAIN]),
    Recorded("pythonic, marked, no list", '<|python_start|>get_weather(city="Paris", days=2)', calls=[_RAIN]),
    Recorded(
        "pythonic, three",
        "[now(), get_weather(city='Paris', days=2), now()]",
        calls=[("now", {}), _RAIN, ("now", {})],
    ),
    Recorded(
        "pythonic, quotes",
        '[write_file(path=\'it\\\'s\', text="a \\"b\\" \\u00e9 \\ud83c\\udf89 \\x41 \\q\\n")]',
        calls=[("write_file", {"path": "it's", "text": 'a "b" é 🎉 A \\q\n'})],
    ),
    Recorded(
        "pythonic, three quotes",
        '[write_file(path="p", text="""a "quoted" line\nand ""more""\n""")]',
        calls=[("write_file", {"path": "p", "text": 'a "quoted" line\nand ""more""\n'})],
    ),
    Recorded(
        "pythonic, all kinds",
        "[search(query=None, filters={'a': [1, True, None], \"b\": '}'}, tags=[\"x\", 'y,)'], limit=null, score=-1.5, "
        "order='up', kind=12, any=(1, 2))]",
        calls=[
            (
                "search",
                {
                    "query": None,
                    "filters": {"a": [1, True, None], "b": "}"},
                    "tags": ["x", "y,)"],
                    "limit": None,
                    "score": -1.5,
                    "order": "up",
                    "kind": "12",
                    "any": [1, 2],
                },
            )
        ],
    ),
    Recorded("pythonic, by place", '[get_weather("Paris", 2)]', calls=[_RAIN]),
    Recorded("pythonic, text before", 'I look it up.\n\n[get_weather(city="Paris", days=2)]', "I look it up.", [_RAIN]),
    Recorded("pythonic, in a sentence", 'Use [get_weather(city="Paris")].', 'Use [get_weather(city="Paris")].'),
    Recorded("pythonic, the bracket is missing", '[get_weather(city="Paris", days=2)', calls=[_RAIN]),
    Recorded("pythonic, cut in a value", '[get_weather(days=2, city="Paris', calls=[_RAIN]),
    Recorded("pythonic, cut in a number", '[get_weather(city="Paris", days=2', calls=[_RAIN]),
    Recorded("pythonic, unknown", '[fly(to="Mars")]', '[fly(to="Mars")]'),
    Recorded("pythonic, unknown second", '[now(), fly(to="Mars")]', ', fly(to="Mars")]', [("now", {})]),
    Recorded("JSON", '{"name": "get_weather", "parameters": {"city": "Paris", "days": 2}}', calls=[_RAIN]),
    Recorded(
        "JSON, marked",
        '<|python_start|>{"name": "get_weather", "parameters": {"city": "Paris", "days": 2}}<|python_end|><|eom|>',
        calls=[_RAIN],
    ),
    Recorded(
        "JSON with a type, numbers in quotes",
        '{"type": "function", "name": "get_weather", "parameters": {"city": 75001, "days": "2", "metric": "true"}}',
        calls=[("get_weather", {"city": "75001", "days": 2, "metric": True})],
    ),
    Recorded(
        "JSON, arguments first",
        '{"arguments": {"city": "Paris", "days": 2}, "name": "get_weather"}',
        calls=[_RAIN],
    ),
    Recorded(
        "JSON, arguments as text",
        '{"name": "get_weather", "arguments": "{\\"city\\": \\"Paris\\", \\"days\\": 2}"}',
        calls=[_RAIN],
    ),
    Recorded(
        "JSON, OpenAI's nesting",
        '{"type": "function", "function": {"name": "get_weather", "parameters": {"city": "Paris", "days": 2}}}',
        calls=[_RAIN],
    ),
    Recorded(
        "JSON, three",
        '{"name": "now", "parameters": {}}; {"name": "get_weather", "parameters": {"city": "Paris", "days": 2}}\n'
        '{"name": "now", "parameters": {}}',
        calls=[("now", {}), _RAIN, ("now", {})],
    ),
    Recorded(
        "JSON, a list",
        '[{"name": "now", "parameters": {}}, {"name": "get_weather", "parameters": {"city": "Paris", "days": 2}}]',
        calls=[("now", {}), _RAIN],
    ),
    Recorded(
        "JSON, deep",
        '{"name": "search", "parameters": {"filters": {"a": {"b": [{"c": "]}\\""}]}}, "tags": ["é", "\\u00e9"]}}',
        calls=[("search", {"filters": {"a": {"b": [{"c": ']}"'}]}}, "tags": ["é", "é"]})],
    ),
    Recorded("JSON, cut", '{"name": "get_weather", "parameters": {"days": 2, "city": "Paris', calls=[_RAIN]),
    Recorded("JSON, unknown", '{"name": "fly", "parameters": {}}', '{"name": "fly", "parameters": {}}'),
    Recorded(
        "JSON in code",
        '```json\n{"name": "now", "parameters": {}}\n```',
        '```json\n{"name": "now", "parameters": {}}\n```',
    ),
    Recorded(
        "half characters",
        '{"name": "write_file", "parameters": {"text": "a\\ud83cb"}}',
        calls=[("write_file", {"text": "a\ufffdb"})],
    ),
    Recorded("function", '<function=get_weather>{"city": "Paris", "days": 2}</function>', calls=[_RAIN]),
    Recorded(
        "function, marked, two",
        '<|python_start|><function=now>{}</function><function=get_weather>{"city": "Paris", "days": 2}</function>'
        "<|python_end|>",
        calls=[("now", {}), _RAIN],
    ),
    Recorded("function, unknown", '<function=fly>{"to": 1}</function>', '<function=fly>{"to": 1}</function>'),
    Recorded("python that is no call", "<|python_start|>print(1)<|python_end|>", "print(1)"),
)

ALL = [*(("qwen3_5", one) for one in QWEN), *(("llama4", one) for one in LLAMA)]
