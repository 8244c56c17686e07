"""Read a JSON object of a checkpoint: from a regular file of bounded size, depth and number of values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from shoestring import bounded_json
from shoestring.checkpoint.tensors import shown
from shoestring.errors import CheckpointError, ShoestringError
from shoestring.files import read_bytes

#: The index of a model with 200,000 tensors has 25 MB.
LARGEST_FILE = 40 << 20
#: Values of a safetensors header; a tensor takes about ten.
MOST_VALUES = 1 << 21


def read_json(path: Path, error: type[ShoestringError] = CheckpointError, *, optional: bool = False) -> dict[str, Any]:
    """The object in a JSON file. Raises `error` for anything else. optional: a missing file is an empty object."""
    try:
        data = read_bytes(path, LARGEST_FILE, error)
    except FileNotFoundError:
        if optional:
            return {}
        raise error(f"{path} cannot be read (it does not exist): check the path") from None
    return parse_json(str(path), data, error)


def parse_json(what: str, data: bytes, error: type[ShoestringError] = CheckpointError) -> dict[str, Any]:
    """The object of a JSON text whose keys are unique. Raises `error`, which begins with `what`."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) != len(pairs):
            seen: set[str] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise ValueError(f"{shown(twice)} appears twice")
        return table

    try:
        bounded_json.check(data, values=MOST_VALUES)
        table = json.loads(data.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as problem:
        raise error(f"{what} is not valid JSON ({problem}): download it again") from None
    if not isinstance(table, dict):
        raise error(f"{what} is not a JSON object: download it again")
    return table
