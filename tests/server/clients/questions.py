"""What every client asks, and what the scripted model answers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from odd_pictures import saved
from PIL import Image

from shoestring.testing import Asked, Reply

HELLO = "Say hello."
HELLO_REPLY = "Hello — γειά σου, 你好 👋!"
SUM = "What is 6 × 7?"
WEATHER = "What is the weather in Oslo?"
BOTH = "What is the weather in Oslo and in Rome?"
ADA = "Who wrote the first program?"
RAW = "The quick brown fox"
RAW_REPLY = " jumps over the lazy dog."

#: The calls' arguments, with the types of the schema.
OSLO = {"city": "Oslo", "days": 2}
ROME = {"city": "Rome", "days": 1}

WEATHER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
WEATHER_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "get_weather", "description": "Forecast of a city.", "parameters": WEATHER_SCHEMA},
}

REPLIES: dict[str, Reply] = {
    HELLO: Reply(HELLO_REPLY),
    SUM: Reply("42", thinking="Six sevens are forty-two."),
    WEATHER: Reply(calls=[("get_weather", OSLO)]),
    BOTH: Reply("I look it up.", calls=[("get_weather", OSLO), ("get_weather", ROME)]),
    ADA: Reply('{"name": "Ada Lovelace", "born": 1815}'),
}


#: Two pictures, and how a client names what the model saw of one.
RED, BLUE = (saved(Image.new("RGB", (64, 48), colour), "PNG") for colour in ("red", "blue"))


@dataclass(frozen=True)
class Seen:
    """What the model saw of a message's pictures: the numbers of its first and last rows, and how many they are."""

    first: str
    last: str
    rows: int


def seen_in(text: str) -> Seen:
    found = re.fullmatch(r"I see (.+) … (.+): (\d+)", text)
    assert found is not None, text
    return Seen(found[1], found[2], int(found[3]))


def rule(asked: Asked) -> Reply | str:
    if asked.seen:
        return f"I see {' '.join(map(str, asked.seen[:3]))} … {' '.join(map(str, asked.seen[-3:]))}: {len(asked.seen)}"
    if asked.role == "tool":
        return f"It says: {asked.text}"
    return REPLIES.get(asked.text, Reply(f"You said: {asked.text}"))
