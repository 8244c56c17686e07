"""RowStore: the encoded rows of pictures, so that a second question about one computes nothing of it again.

An entry belongs to an owner, as a prefix does: neither its existence nor its time tells one API key what another shows.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from shoestring.ops import Float32

#: Of encoded pictures, by default: 16,384 rows of 1024 numbers, or 6,400 of 2560.
PICTURE_BYTES = 64 << 20
#: Owner, and key of a part (media/prepared.py).
Name = tuple[str, bytes]


class RowStore:
    """Encoded parts, least recently used first. most_bytes: of those that no running request needs."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._rows: dict[Name, Float32] = {}
        self.nbytes = 0

    def has(self, owner: str, key: bytes) -> bool:
        return (owner, key) in self._rows

    def rows(self, owner: str, key: bytes) -> Float32 | None:
        """[rows, hidden_size]; it becomes the most recently used entry."""
        rows = self._rows.pop((owner, key), None)
        if rows is not None:
            self._rows[owner, key] = rows
        return rows

    def add(self, owner: str, key: bytes, rows: Float32) -> None:
        """Store a copy."""
        self.nbytes -= self._rows.pop((owner, key), rows[:0]).nbytes
        kept = self._rows[owner, key] = np.array(rows, np.float32)
        self.nbytes += kept.nbytes

    def trim(self, needed: Collection[Name]) -> None:
        """Evict until the entries that nobody needs fit; the least recently used go first."""
        if self.nbytes <= self.most_bytes:
            return
        used = sum(self._rows[name].nbytes for name in needed if name in self._rows)
        for name in [name for name in self._rows if name not in needed]:
            if self.nbytes - used <= self.most_bytes:
                return
            self.nbytes -= self._rows.pop(name).nbytes
