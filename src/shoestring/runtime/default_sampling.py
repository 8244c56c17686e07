"""Default sampling: the checkpoint's generation_config.json, else the vendor's recommendation."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from shoestring.checkpoint.tensors import Checkpoint, shown
from shoestring.errors import RequestError
from shoestring.ops.sampling import Sampling

log = logging.getLogger("shoestring")

#: Recommendations of the vendors (Qwen 3.5's model cards; Llama 4's generation_config.json).
RECOMMENDED: Mapping[tuple[str, bool], Sampling] = {
    ("qwen3_5", True): Sampling(temperature=1.0, top_p=0.95, top_k=20, presence_penalty=1.5),
    ("qwen3_5", False): Sampling(temperature=0.7, top_p=0.8, top_k=20, presence_penalty=1.5),
    ("llama4", True): Sampling(temperature=0.6, top_p=0.9),
    ("llama4", False): Sampling(temperature=0.6, top_p=0.9),
}

_FROM_FILE: Mapping[str, type[int] | type[float]] = {
    "temperature": float,
    "top_k": int,
    "top_p": float,
    "min_p": float,
    "repetition_penalty": float,
    "presence_penalty": float,
    "frequency_penalty": float,
}


def default_sampling(family: str, thinking: bool, fields: Mapping[str, Any]) -> Sampling:
    """The sampling of generation_config.json if it sets any field, else the vendor's. fields: of `sampling_fields`."""
    return Sampling(**fields) if fields else RECOMMENDED[family, thinking]


def sampling_fields(checkpoint: Checkpoint, vocabulary_size: int) -> dict[str, Any]:
    """The fields of Sampling that the checkpoint's generation_config.json sets. Ignores values that cannot be used.

    Logs one warning that names the file and the ignored values: wrong sampling fields, and eos ids (which the
    tokenizer reads) outside of the vocabulary.
    """
    values = checkpoint.generation_config
    fields: dict[str, Any] = {}
    ignored: list[str] = []
    for name, kind in _FROM_FILE.items():
        value = values.get(name)
        if value is None:
            continue
        try:
            if isinstance(value, bool) or not isinstance(value, int | float) or (kind is int and value != int(value)):
                raise RequestError(f"{name} is not a number")
            field: dict[str, Any] = {name: kind(value)}
            Sampling(**field)  # checks the range
            fields |= field
        except (RequestError, ValueError, OverflowError):  # ValueError: int() of NaN
            ignored.append(name)
    if values.get("do_sample") is False:
        fields["temperature"] = 0.0
    elif values.get("do_sample") not in (None, True):
        ignored.append("do_sample")
    eos = values.get("eos_token_id")
    ids = eos if isinstance(eos, list) else [] if eos is None else [eos]
    if not all(type(id) is int and 0 <= id < vocabulary_size for id in ids):
        ignored.append("eos_token_id")
    if ignored:
        listed = ", ".join(f"{name} {shown(repr(values[name]))}" for name in ignored)
        file = checkpoint.path / "generation_config.json"
        log.warning("warning: %s: ignored values that cannot be used: %s", file, listed)
    return fields
