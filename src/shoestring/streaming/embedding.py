"""Rows of an untied embedding that stays on disk: a step reads those of its tokens; recent ones stay in memory."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from shoestring import ops
from shoestring.checkpoint.config.types import Config
from shoestring.checkpoint.names.bind import Binding, Source
from shoestring.errors import CheckpointError, ReadError
from shoestring.models.weights import region
from shoestring.streaming.sources import is_packed_alone
from shoestring.streaming.store import Store

#: Rows that stay in memory: words repeat.
RECENT_ROWS = 2048


def check_rows(source: Source) -> None:
    """Raise CheckpointError if the rows of an embedding cannot be computed from the file's bytes alone."""
    tensor = source.tensor
    if not is_packed_alone(source):
        raise CheckpointError(
            f"{tensor.file}: {tensor.name} has type {tensor.type}, which is converted when it is loaded: "
            "it cannot stay on disk"
        )


def row_bytes(source: Source) -> int:
    """Bytes of a row in the file."""
    begin, end = region(source)
    return end - begin - (source.rows - 1) * source.row_stride


def stored_source(config: Config, binding: Binding) -> Source | None:
    """The embedding, if its rows can stay on disk where the experts do: it is not the head as well."""
    source = binding.sources["embedding"]
    return None if config.tie_word_embeddings or not is_packed_alone(source) else source


def packed_bytes(source: Source) -> int:
    """Bytes of the whole embedding in memory."""
    return ops.packed_bytes(source.tensor.type, source.rows, source.columns)


def recent_bytes(source: Source) -> int:
    """Bytes of the rows that stay in memory."""
    return RECENT_ROWS * row_bytes(source)


class StoredEmbedding:
    """The matrix [vocabulary, hidden_size] of an embedding, in its file. Only the engine's thread calls it."""

    def __init__(self, store: Store, source: Source) -> None:
        """Raises CheckpointError as `check_rows`."""
        check_rows(source)
        self._store = store
        self._source = source
        self._row_bytes = row_bytes(source)
        self._recent: OrderedDict[int, ops.Bytes] = OrderedDict()

    def embed(self, ws: ops.Workspace, token_ids: ops.Int32) -> ops.Float32:
        """`ops.embed` of the whole matrix, bit for bit: [rows, hidden_size]; rows of id −1 are not written.

        Raises CheckpointError with file and offset if a row cannot be read.
        """
        ids, places = np.unique(token_ids, return_inverse=True)
        first = int(np.searchsorted(ids, 0))  # behind −1
        wanted = ids[first:].tolist()
        if not wanted:
            return ws.floats(len(token_ids), self._source.columns)
        rows = self._rows(wanted)
        matrix = ops.pack(
            rows.reshape(-1),
            self._source.tensor.type,
            len(wanted),
            self._source.columns,
            offset=0,
            row_stride=self._row_bytes,
            column_stride=self._source.column_stride,
        )
        return ops.embed(ws, matrix, (places.reshape(-1) - first).clip(-1).astype(np.int32))

    def _rows(self, ids: list[int]) -> ops.Bytes:
        """The rows of these tokens as they are in the file, [ids, row_bytes]."""
        rows = np.empty((len(ids), self._row_bytes), np.uint8)
        source, reader = self._source, self._store.reader
        file = self._store.files[source.tensor.file]
        begin = source.tensor.offset + source.offset
        reading: dict[int, int] = {}
        for place, token in enumerate(ids):
            if token in self._recent:
                self._recent.move_to_end(token)
                rows[place] = self._recent[token]
            else:
                ticket = reader.read(file, begin + token * source.row_stride, rows[place], "now")
                reading[ticket] = place
        if reading:
            self._wait(reading)
            self._store.watch.check()
            for place in reading.values():
                self._recent[ids[place]] = rows[place].copy()
            while len(self._recent) > RECENT_ROWS:
                self._recent.popitem(last=False)
        return rows

    def _wait(self, reading: dict[int, int]) -> None:
        """Wait for all rows: after a failure too, nothing may be written into them any more."""
        waiting, failure = set(reading), None
        while waiting:
            try:
                waiting.difference_update(self._store.reader.wait(waiting))
            except ReadError as error:
                waiting.discard(error.ticket)
                failure = failure or error
        if failure is not None:
            raise CheckpointError(f"{failure}: its embedding cannot be read") from failure
