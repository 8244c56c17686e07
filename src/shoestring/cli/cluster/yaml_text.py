"""Write YAML: of mappings, lists, texts, numbers and switches, as Ray and Kubernetes read them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*")
#: What YAML wants escaped; JSON has escaped what is below the space.
_UNPRINTABLE = re.compile("[\x7f-\xa0\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


def yaml_text(value: Any) -> str:
    """The document of a mapping. Texts that could mean something else are quoted as in JSON, which is YAML."""
    return "".join(f"{line}\n" for line in _lines(value, ""))


def _lines(value: Any, indent: str) -> Iterator[str]:
    items = value.items() if isinstance(value, Mapping) else ((None, item) for item in value)
    for key, item in items:
        head = f"{indent}- " if key is None else f"{indent}{_scalar(key)}:"
        if isinstance(item, Mapping | list | tuple) and item:
            inner = list(_lines(item, indent + "  "))
            if key is None:
                yield f"{indent}- {inner[0].lstrip()}"
                yield from inner[1:]
            else:
                yield head
                yield from inner
        else:
            yield f"{head.rstrip()} {_scalar(item)}"


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    if isinstance(value, float):
        text = repr(value)
        return text if "." in text else text.replace("e", ".0e")
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))
