"""Default sampling: the checkpoint's generation_config.json, else the vendor's recommendation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from shoestring.ops.sampling import Sampling

#: Recommendations of the vendors (Qwen 3.5's model cards; Llama 4's generation_config.json).
RECOMMENDED: Mapping[tuple[str, bool], Sampling] = {
    ("qwen3_5", True): Sampling(temperature=1.0, top_p=0.95, top_k=20, presence_penalty=1.5),
    ("qwen3_5", False): Sampling(temperature=0.7, top_p=0.8, top_k=20, presence_penalty=1.5),
    ("llama4", True): Sampling(temperature=0.6, top_p=0.9),
    ("llama4", False): Sampling(temperature=0.6, top_p=0.9),
}

_FROM_FILE: Mapping[str, Callable[[Any], Any]] = {
    "temperature": float,
    "top_k": int,
    "top_p": float,
    "min_p": float,
    "repetition_penalty": float,
    "presence_penalty": float,
    "frequency_penalty": float,
}


def default_sampling(family: str, thinking: bool, generation_config: Mapping[str, Any]) -> Sampling:
    """The sampling of generation_config.json if it sets any field, else the vendor's recommendation."""
    fields: dict[str, Any] = {}
    for name, kind in _FROM_FILE.items():
        value = generation_config.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            fields[name] = kind(value)
    if generation_config.get("do_sample") is False:
        fields["temperature"] = 0.0
    return Sampling(**fields) if fields else RECOMMENDED[family, thinking]
