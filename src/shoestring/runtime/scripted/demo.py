"""demo-scripted: a MODEL without weights that thinks, calls tools and answers by a script, to try clients with.

Qwen 3.5's tokenizer marks, template and output format are real, and so is the engine; the answers are the script's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from shoestring import bounded_json
from shoestring.errors import RequestError
from shoestring.runtime.model import Model
from shoestring.runtime.scripted.model import Asked, Reply, scripted_model
from shoestring.spelling import option

#: A token is a byte, so that clients with long instructions need many.
CONTEXT, MOST_CONTEXT = 262144, 1048576
PARALLEL, MOST_PARALLEL = 8, 256
_MOST_LINES = 1000

HELP = """I am demo-scripted: I answer by a script and have no weights. This is what I know:

- `call NAME` calls the tool NAME of your request, with arguments that fit its schema;
  `call NAME {"city": "Oslo"}` calls it with these.
- `count 100` writes 100 lines, to watch or stop a stream.
- `markdown` shows headings, lists, code and a table.
- Anything else I repeat."""

MARKDOWN = """# Markdown

A paragraph with **bold**, *italic* and `code`, and a list:

1. one
2. two
   - inside

```python
def answer() -> int:
    return 42
```

| left | right |
|---|---:|
| a | 1 |
| b | 22 |

> A quotation."""


def demo_scripted(context: int | None = None, parallel: int | None = None) -> Model:
    """The model. Raises RequestError for a context or a number of sequences that is out of range."""
    context = CONTEXT if context is None else context
    parallel = PARALLEL if parallel is None else parallel
    for name, value, most in (("context", context, MOST_CONTEXT), ("parallel", parallel, MOST_PARALLEL)):
        if not 1 <= value <= most:
            raise RequestError(f"{option(name)} is {value}: choose a value from 1 to {most}")
    return scripted_model(answer, context=context, sequences=parallel)


def answer(asked: Asked) -> Reply:
    """The script's answer to the last message of a prompt."""
    text = asked.text.strip()
    if asked.role == "tool":
        return Reply(f"The tool answered: {text}", thinking="The result of the tool is here. I repeat it.")
    words = text.split(maxsplit=1)
    command = words[0].lower().strip("/.:") if words else ""
    rest = words[1] if len(words) > 1 else ""
    called = re.search(r"\bcall\s+([\w.-]+)\s*(\{.*)?", text, re.DOTALL | re.IGNORECASE)
    if called is not None:
        return _call(called[1].rstrip("."), called[2] or "", tools_of(asked.prompt))
    if command == "count" and (number := re.search(r"\d{1,6}", rest)) is not None:
        lines = range(1, min(int(number[0]), _MOST_LINES) + 1)
        return Reply("\n".join(map(str, lines)), thinking=f"I count to {len(lines)}.")
    if text.lower() == "markdown":
        return Reply(MARKDOWN, thinking="I show Markdown.")
    if not text or command in ("help", "hi", "hello"):
        return Reply(HELP, thinking="I say what I can do.")
    return Reply(f"You said: {text}", thinking="I have no weights, so I repeat the message.")


def _call(name: str, arguments: str, tools: Mapping[str, Any]) -> Reply:
    if name not in tools:
        offered = ", ".join(tools) or "no tools"
        return Reply(
            f"The request offers no tool {name}; it offers {offered}.", thinking=f"I look for the tool {name}."
        )
    try:
        value, _ = json.JSONDecoder().raw_decode(arguments) if arguments else (example(tools[name]), 0)
    except (ValueError, RecursionError):
        return Reply(f"The arguments of {name} are not valid JSON.", thinking="I read the arguments.")
    return Reply(calls=[(name, value)], thinking=f"I call {name}.")


def tools_of(prompt: str) -> dict[str, Any]:
    """Name → schema of the arguments, of the tools that a prompt offers."""
    found = re.search(r"<tools>\n(.*?)\n</tools>", prompt, re.DOTALL)
    tools: dict[str, Any] = {}
    for line in found[1].splitlines() if found else ():
        try:
            tool = bounded_json.loads(line)
            function = tool.get("function", tool)
            tools[str(function["name"])] = function.get("parameters") or {}
        except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
            continue
    return tools


def example(schema: Any, depth: int = 0) -> Any:
    """A small value that fits the usual schemas: the first choice, required properties, one item."""
    if not isinstance(schema, Mapping) or depth > 20:
        return {} if depth == 0 else "example"
    for choices in ("enum", "examples", "anyOf", "oneOf", "allOf"):
        if isinstance(schema.get(choices), list) and schema[choices]:
            first = schema[choices][0]
            return first if choices in ("enum", "examples") else example(first, depth + 1)
    for fixed in ("const", "default"):
        if fixed in schema:
            return schema[fixed]
    kind = schema.get("type", "object" if "properties" in schema or depth == 0 else "string")
    match kind[0] if isinstance(kind, list) and kind else kind:
        case "object":
            properties = schema.get("properties")
            properties = properties if isinstance(properties, Mapping) else {}
            required = schema.get("required", properties)
            names = (
                [name for name in required if isinstance(name, str) and name in properties]
                if isinstance(required, list)
                else properties
            )
            return {str(name): example(properties[name], depth + 1) for name in names}
        case "array":
            return [example(schema.get("items", {}), depth + 1)] if schema.get("minItems", 1) else []
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "null":
            return None
    return "example"
