"""Sizes as people read and write them: bytes like 12GiB or 800MB, tokens like 32k, counts like 2,000 or 3B.

Commas and underscores separate digits. Commas do so in groups of three alone: 1,5 is not a number here, because it is
one and a half to many people.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from shoestring.errors import RequestError
from shoestring.printable import quoted

#: Bytes of each unit that people read.
_UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_NUMBER = re.compile(r"(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d[\d_]*(?:\.\d+)?|\.\d+)\s*([a-z]*)", re.IGNORECASE | re.ASCII)
_BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BYTES |= {"ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40}
#: A context of 32k has 32,768 tokens, as models are made.
_TOKENS = {"": 1, "k": 1 << 10, "m": 1 << 20, "ki": 1 << 10, "mi": 1 << 20}
#: of anything else: 2k users are 2,000
_COUNTS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}


def human(size: float, rounding: Literal["nearest", "up", "down"] = "nearest") -> str:
    """Format bytes with a unit: 1.50 GiB.

    Errors round what is needed up and what is free down: a user who gives the size that they name has enough, and two
    sizes of which one is too small never look equal.
    """
    unit = max((name for name in _UNITS if abs(size) >= _UNITS[name]), key=_UNITS.__getitem__, default="B")
    if unit == "B":
        return f"{size:.0f} B"
    hundredths, rest = divmod(round(size) * 100, _UNITS[unit])
    if rounding == "up":
        hundredths += rest > 0
    elif rounding == "nearest":
        hundredths += 2 * rest >= _UNITS[unit]
    return f"{hundredths / 100:.2f} {unit}"


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
    count = _whole(value, _TOKENS)
    if count is None:
        raise RequestError(f"{where} is {quoted(value)}: give a number of tokens like 32768 or 32k")
    return count


def count_of(value: Any, where: str) -> int:
    """A whole number, or a text of one: 2000, 2k (the same), 800M, 1.5B. Raises RequestError.

    Returns numbers unchanged, negative ones too.
    """
    count = _whole(value, _COUNTS)
    if count is None:
        raise RequestError(f"{where} is {quoted(value)}: give a whole number like 2000, 2k or 1.5M")
    return count


def _whole(value: Any, units: dict[str, int]) -> int | None:
    """A whole number, which may be negative if it has no unit; None for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, str) and re.fullmatch(r"-[0-9]{1,18}", text):
        return int(text)
    count = _scaled(text, units)
    return None if count is None or count != int(count) else int(count)


def _scaled(value: Any, units: dict[str, int], strip: str = "") -> float | None:
    match = _NUMBER.fullmatch(value.strip()) if isinstance(value, str) and len(value) < 40 else None
    if match is None:
        return None
    unit = match[2].lower()
    scale = units.get(unit if unit in units else unit.removesuffix(strip))
    if scale is None:
        return None
    digits = match[1].replace("_", "").replace(",", "")
    return float(digits) * scale if "." in digits else int(digits) * scale
