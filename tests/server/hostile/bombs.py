"""Bombs: bodies up to the limit whose text, depth or number of values costs much."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator

from hostile.attack import Attack, post
from hostile.endpoints import MESSAGES, MODEL
from hostile.forms import CHAT, COMPLETIONS, many_tools
from hostile.holes import HOLE, filled
from hostile.values import nested

#: Texts, to be repeated. They differ in how a pre-tokenizer cuts them and in how tokens merge.
TEXTS = {
    "one letter": b"a",
    "spaces": b" ",
    "brackets": b"[",
    "digits": b"7",
    "words": b"the in and ",
    "emoji": "👩‍👩‍👧".encode(),
    "Chinese": "的".encode(),
    "combining marks": "\u0301".encode(),
    "Hangul to compose": "\u1112\u1161\u11ab".encode(),
    "line breaks": b"\\n",
    "escaped NUL": b"\\u0000",
    "half a surrogate pair": b"\\ud83d",
    "apostrophes": b"'s",
    "markers of messages": b"<|im_start|>",
    "curly brackets": b"{{",
}
#: Places of text. A text is refused by its length or by its tokens, wherever it stands.
_TEXT_PLACES = (
    (CHAT, {"messages": [{"role": "user", "content": HOLE}], "max_tokens": 1}),
    (
        CHAT,
        {"max_tokens": 1, "messages": [{"role": "assistant", "reasoning_content": HOLE, "content": "x"}, *MESSAGES]},
    ),
    (COMPLETIONS, {"prompt": HOLE, "max_tokens": 1}),
    (COMPLETIONS, {"prompt": ["a", HOLE], "max_tokens": 1, "echo": True}),
    ("/v1/messages", {"model": MODEL, "max_tokens": 1, "messages": MESSAGES, "system": HOLE}),
    ("/v1/messages/count_tokens", {"model": MODEL, "messages": [{"role": "user", "content": HOLE}]}),
    ("/api/chat", {"model": MODEL, "messages": [{"role": "user", "content": HOLE}], "options": {"num_predict": 1}}),
    ("/api/generate", {"model": MODEL, "prompt": HOLE, "options": {"num_predict": 1}}),
    ("/tokenize", {"content": HOLE}),
    ("/tokenize", {"prompt": HOLE, "parse_special": True, "return_token_strs": True}),
    ("/apply-template", {"messages": [{"role": "user", "content": HOLE}]}),
    (CHAT, {"messages": MESSAGES, "max_tokens": 1, "user": HOLE}),
    (CHAT, {"messages": MESSAGES, "max_tokens": 1, HOLE: 1}),
    (CHAT, {"messages": MESSAGES, "max_tokens": 1, "model": HOLE}),
    (CHAT, {"messages": MESSAGES, "max_tokens": 1, "structured_outputs": {"regex": HOLE}}),
    (CHAT, {"messages": MESSAGES, "max_tokens": 1, "structured_outputs": {"grammar": HOLE}}),
    (CHAT, {"messages": MESSAGES, "max_tokens": 1, "stop": HOLE}),
    ("/api/show", {"model": HOLE}),
)
_VALUE_PLACES = (
    (CHAT, {"messages": MESSAGES, "max_tokens": 1, "metadata": HOLE}),
    (CHAT, {"messages": MESSAGES, "max_tokens": 1, "chat_template_kwargs": {"a": HOLE}}),
    (CHAT, {"messages": HOLE}),
    (CHAT, {"messages": MESSAGES, "max_tokens": 1, "tools": HOLE}),
    (COMPLETIONS, {"prompt": HOLE}),
    ("/v1/messages", {"model": MODEL, "max_tokens": 1, "messages": HOLE}),
    ("/api/chat", {"model": MODEL, "messages": HOLE}),
    ("/detokenize", {"tokens": HOLE}),
    ("/apply-template", {"messages": HOLE}),
    ("/tokenize", {"messages": HOLE}),
)


def _repeated(part: bytes, size: int, before: bytes = b"[", after: bytes = b"]") -> Callable[[], bytes]:
    return lambda: before + part * ((size - len(before) - len(after)) // len(part)) + after


def _structures(size: int) -> dict[str, Callable[[], bytes]]:
    """JSON values of about `size` bytes."""
    message = json.dumps(MESSAGES[0]).encode()
    return {
        "open brackets": lambda: b"[" * size,
        "lists in lists": lambda: nested(size // 2),
        "objects in objects": lambda: nested(size // 6, objects=True),
        "numbers": _repeated(b"1,", size, after=b"1]"),
        "token ids": _repeated(b"72,", min(size, 2 << 20), after=b"72]"),
        "large token ids": _repeated(b"4294967296,", size, after=b"1]"),
        "empty lists": _repeated(b"[],", size, after=b"[]]"),
        "empty objects": _repeated(b"{},", size, after=b"{}]"),
        "empty texts": _repeated(b'"",', size, after=b'""]'),
        "messages": _repeated(message + b",", size, after=message + b"]"),
        "short messages": _repeated(b'{"role":"user"},', size, after=message + b"]"),
        "one number": lambda: b"9" * size,
        "a long fraction": lambda: b"0." + b"3" * size,
        "many keys": lambda: b"{" + b",".join(b'"%x":0' % n for n in range(size // 12)) + b"}",
        "JSON in text": lambda: b'"' + nested(size // 2) + b'"',
        "escapes": _repeated(b"\\u0041", size, b'"', b'"'),
        "spaces between": lambda: b"[" + b" " * size + b"]",
        "tools": lambda: (
            b"[" + b",".join(b'{"type":"function","function":{"name":"t%d"}}' % n for n in range(size // 48)) + b"]"
        ),
    }


def text_bombs(source: random.Random, size: int) -> Iterator[Attack]:
    """Without end: `size` bytes of one text in one place."""
    pairs = [(name, place) for name in TEXTS for place in _TEXT_PLACES]
    while True:
        source.shuffle(pairs)
        for name, (path, body) in pairs:
            text = _repeated(TEXTS[name], size, b'"', b'"')
            yield _bomb(f"{size} bytes of {name}", path, body, text)


def value_bombs(source: random.Random, size: int) -> Iterator[Attack]:
    """Without end: a structure of about `size` bytes in one place."""
    pairs = [(name, place) for name in _structures(size) for place in _VALUE_PLACES]
    while True:
        source.shuffle(pairs)
        for name, (path, body) in pairs:
            yield _bomb(f"{size} bytes of {name}", path, body, _structures(size)[name])
        yield post("100,000 tools", CHAT, lambda: [many_tools(100_000)])
        yield post("spaces before nothing", CHAT, lambda: [b" " * size])
        yield post("NUL bytes", CHAT, lambda: [b"\0" * size])
        yield post("a body over the limit", CHAT, lambda: [b"[" * (size + (8 << 20))])


def _bomb(name: str, path: str, body: object, value: Callable[[], bytes]) -> Attack:
    """The hole's place in the name is what surrounds it, shortened."""
    shown = json.dumps(body).replace(f'"{HOLE}"', "…")[:80]
    return post(f"{name} in {shown}", path, lambda: [filled(json.dumps(body).encode(), value())])
