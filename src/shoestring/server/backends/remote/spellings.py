"""The spellings of another server's tokens. It tells bytes, not ids: each spelling gets an id here, when it is seen."""

from __future__ import annotations

#: More spellings than a vocabulary has; beyond it, what differs counts as one.
_MOST = 1 << 20
_MARK = "bytes:\\x"


class Interned:
    """Ids of spellings, in the order in which they were seen."""

    bos_id: int | None = None
    add_bos: bool = False
    eos_ids: frozenset[int] = frozenset()
    thinking: tuple[int, int] | None = None

    def __init__(self) -> None:
        self._ids: dict[bytes, int] = {b"": 0}
        self._spellings: list[bytes] = [b""]

    def of_bytes(self, data: bytes) -> int:
        id = self._ids.get(data)
        if id is None:
            if len(self._spellings) >= _MOST:
                return 0
            id = self._ids[data] = len(self._spellings)
            self._spellings.append(data)
        return id

    def of_text(self, text: str) -> int:
        """The id of a token as a completion spells it: "bytes:\\x…" if it is no text by itself."""
        if text.startswith(_MARK):
            try:
                return self.of_bytes(bytes.fromhex(text.removeprefix("bytes:").replace("\\x", "")))
            except ValueError:
                pass
        return self.of_bytes(text.encode("utf-8", "replace"))

    def token_bytes(self, id: int, /) -> bytes:
        return self._spellings[id]
