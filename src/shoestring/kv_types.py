"""The types of stored keys and values, and how results name them. Loads nothing: settings and options need it."""

from __future__ import annotations

from typing import Literal, get_args

#: q8_0: int8, with one float16 scale for each 32 dims of a head.
KVType = Literal["f16", "f32", "q8_0"]
KV_TYPES: tuple[KVType, ...] = get_args(KVType)
_UNUSUAL: dict[KVType, str] = {kv_type: f"keys and values in {kv_type}" for kv_type in KV_TYPES if kv_type != "f16"}


def unusual_kv_type(kv_type: KVType) -> str | None:
    """What stored results name, as answers depend on it: "keys and values in q8_0"; None: f16, the default."""
    return _UNUSUAL.get(kv_type)


def says_kv_type(text: str) -> bool:
    """Whether a text is one of `unusual_kv_type`."""
    return text in _UNUSUAL.values()
