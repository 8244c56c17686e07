"""Check messages, tools and other values of a chat template, and convert them to what templates expect."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from shoestring import bounded_json
from shoestring.errors import RequestError
from shoestring.printable import shortened

ROLES = ("system", "developer", "user", "assistant", "tool", "ipython", "function")

#: Private characters of Unicode's planes 15 and 16, where marks come from
_PRIVATE = re.compile("[\U000f0000-\U0010ffff]")
_NUMBER_BITS = 8192
#: Parts where templates write the placeholder of a picture or a video.
PLACEHOLDERS = ({"type": "image"}, {"type": "video"})
#: How often arguments may be encoded as JSON text.
_MOST_ENCODINGS = 2
#: The name of arguments that are not an object.
UNREADABLE = "arguments"


def checked_messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Check messages and convert them as templates expect: contents as text, arguments of tool calls as objects."""
    if not messages:
        raise RequestError("there are no messages: give at least one with the role 'user'")
    checked = []
    for number, message in enumerate(messages):
        where = f"message {number}"
        if not isinstance(message, Mapping):
            raise RequestError(f"{where} is not an object with a role and a content")
        role, content = message.get("role"), message.get("content")
        if not isinstance(role, str | None) or role not in ROLES:
            name = repr(shortened(role, 100)) if isinstance(role, str) else role and "that is not text"
            raise RequestError(f"{where} has the role {name}: choose one of {', '.join(ROLES)}")
        if isinstance(content, list):
            for part in content:
                if not (_is_text(part) or part in PLACEHOLDERS):
                    raise RequestError(f"{where} has a part that is neither text nor a picture or video that is read")
        elif content is not None and not isinstance(content, str):
            raise RequestError(f"{where}: content must be text or a list of parts")
        entry = {**message, "content": content if content is not None else ""}
        if message.get("tool_calls"):
            if not isinstance(message["tool_calls"], Sequence) or isinstance(message["tool_calls"], str):
                raise RequestError(f"{where}: tool_calls must be a list")
            entry["tool_calls"] = [_with_object(call, where) for call in message["tool_calls"]]
        checked.append(entry)
    return checked


def _is_text(part: Any) -> bool:
    return isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _with_object(call: Any, where: str) -> dict[str, Any]:
    """A tool call with its arguments parsed: OpenAI's clients send them as JSON text."""
    if not isinstance(call, Mapping):
        raise RequestError(f"{where} has a tool call that is not an object")
    function = call.get("function")
    if isinstance(function, Mapping):
        return {**call, "function": {**function, "arguments": arguments_of(function.get("arguments"))}}
    return {**call, "arguments": arguments_of(call.get("arguments"))}


def arguments_of(arguments: Any) -> dict[str, Any]:
    """The arguments of a call as the object that templates expect.

    OpenAI's clients send JSON text, some of them as JSON text of a JSON text. A model may have written something else:
    max_tokens cut it off, or it is a list. That becomes the one argument UNREADABLE, as it is written.
    """
    value = arguments
    for _ in range(_MOST_ENCODINGS):
        if not isinstance(value, str):
            break
        try:
            value = bounded_json.loads(value or "{}")
        except (ValueError, RecursionError):
            break
    if value is None:
        return {}
    return dict(value) if isinstance(value, Mapping) else {UNREADABLE: arguments}


def json_copy(value: Any, where: str, private: set[str], depth: int = 0) -> Any:
    """A copy of a value in dicts and lists; adds its private characters to `private`.

    where: the value's name, for messages. Raises RequestError if it is not JSON or nests too deep.
    """
    if isinstance(value, str):
        if not value.isascii():
            private.update(_PRIVATE.findall(value))
        return value
    if value is None or isinstance(value, float):
        return value
    if isinstance(value, int):
        if value.bit_length() > _NUMBER_BITS:
            raise RequestError(f"{where} contains a number of more than {int(_NUMBER_BITS * math.log10(2)):,} digits")
        return value
    if depth >= bounded_json.DEPTH:
        raise RequestError(f"{where} nests deeper than {bounded_json.DEPTH} levels")
    if isinstance(value, Mapping):
        if not all(isinstance(key, str | int | float | None) for key in value):
            raise RequestError(f"{where} is not JSON: it contains a name that is not text")
        return {
            json_copy(key, where, private): json_copy(item, where, private, depth + 1) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [json_copy(item, where, private, depth + 1) for item in value]
    raise RequestError(f"{where} is not JSON: it contains a {shortened(type(value).__name__, 100)}")


def private_characters(text: str) -> set[str]:
    """The characters of a text that no mark may be."""
    return set(_PRIVATE.findall(text))
