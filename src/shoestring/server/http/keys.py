"""API keys, and the labels under which the log and the metrics show them: never the keys themselves."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from shoestring.errors import RequestError
from shoestring.files import named_path, read_input_text
from shoestring.server.http.settings import LARGEST_FILE, Settings

#: Labels that mean something else in the metrics: requests without a key, and keys beyond the most that have series.
NO_KEY, OTHER_KEYS = "none", "other"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", re.ASCII)


@dataclass(frozen=True)
class Key:
    """A key, and the name that the operator gave it."""

    secret: str = field(repr=False)
    name: str = ""

    @property
    def label(self) -> str:
        """The name; without one, the first 8 hexadecimal digits of the key's SHA-256."""
        return self.name or hashlib.sha256(self.secret.encode("utf-8", "replace")).hexdigest()[:8]


def read_keys(settings: Settings) -> tuple[Key, ...]:
    """All keys of the settings and their file, which may be a pipe: call it once.

    Raises RequestError for a file that is unreadable, has no key, or a line that is neither KEY nor NAME KEY.
    """
    keys = tuple(Key(secret) for secret in settings.api_keys)
    if settings.api_key_file is None:
        return keys
    path = named_path(settings.api_key_file)
    try:
        text = read_input_text(path, LARGEST_FILE)
    except RequestError as error:
        raise RequestError(f"--api-key-file: {error}") from None
    in_file = tuple(_parsed(text, path))
    if not in_file:
        raise RequestError(f"--api-key-file {path} has no key: write one per line")
    return keys + in_file


def _parsed(text: str, path: Path) -> Iterator[Key]:
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        # Errors repeat nothing of the line: it may be a key.
        where = f"--api-key-file {path}, line {number}"
        if len(words) > 2:
            raise RequestError(f"{where} has {len(words)} words: write KEY, or NAME KEY")
        name = words[0] if len(words) == 2 else ""
        if name and _NAME.fullmatch(name) is None:
            raise RequestError(f"{where}: a name has at most 40 letters, digits, dots, dashes and underscores")
        if name in (NO_KEY, OTHER_KEYS):
            raise RequestError(f"{where}: the metrics use the name {name} themselves, choose another one")
        yield Key(words[-1], name)
