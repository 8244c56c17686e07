"""Sizes as people write them: bytes like 12GiB or 800MB, tokens like 32k."""

from __future__ import annotations

import re
from typing import Any

from shoestring.errors import RequestError
from shoestring.printable import quoted

_NUMBER = re.compile(r"(\d[\d_]*(?:\.\d+)?|\.\d+)\s*([a-z]*)", re.IGNORECASE | re.ASCII)
_BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BYTES |= {"ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40}
#: A context of 32k has 32,768 tokens, as models are made.
_TOKENS = {"": 1, "k": 1 << 10, "m": 1 << 20, "ki": 1 << 10, "mi": 1 << 20}


def bytes_of(value: Any, where: str) -> int:
    """Bytes from a number, or a text with a unit: 12GiB, 800MB, 4G. Raises RequestError that names `where`."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    size = _scaled(value, _BYTES, strip="b")
    if size is None:
        raise RequestError(f"{where} is {quoted(value)}: write a size like 12GiB or 800MB")
    return int(size)


def tokens_of(value: Any, where: str) -> int:
    """A number of tokens, or a text of one: 32768, 32k (the same), 1M (1,048,576). Raises RequestError.

    Returns numbers unchanged, negative ones too.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, str) and re.fullmatch(r"-[0-9]{1,18}", text):
        return int(text)
    count = _scaled(text, _TOKENS)
    if count is None or count != int(count):
        raise RequestError(f"{where} is {quoted(value)}: give a number of tokens like 32768 or 32k")
    return int(count)


def _scaled(value: Any, units: dict[str, int], strip: str = "") -> float | None:
    match = _NUMBER.fullmatch(value.strip()) if isinstance(value, str) and len(value) < 40 else None
    if match is None:
        return None
    unit = match[2].lower()
    scale = units.get(unit if unit in units else unit.removesuffix(strip))
    if scale is None:
        return None
    digits = match[1].replace("_", "")
    return float(digits) * scale if "." in digits else int(digits) * scale
