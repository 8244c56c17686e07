"""Weights that stay in memory, read around the page cache.

A map of the file would bring each of its bytes into the page cache first, which the limit of a container counts too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from shoestring import ops
from shoestring.checkpoint.config.types import Config
from shoestring.checkpoint.names.bind import Binding, Source
from shoestring.errors import CheckpointError, ReadError
from shoestring.models.weights import file_position, stored_bytes, vector_names
from shoestring.streaming.sources import is_packed_alone, parts
from shoestring.streaming.store import Store

if TYPE_CHECKING:
    from shoestring._kernels import Matrix

#: A matrix begins at a cache line.
_LINE = 64
#: Matrices whose reads are queued together: enough for the disk, few enough for a progress bar.
_QUEUED = 16


def resident_sources(config: Config, binding: Binding, *, embedding: bool) -> dict[str, Source]:
    """The matrices that are read so, by our names, in the order of their files. embedding: it is one of them.

    Routed experts, vectors, and what is converted when it is loaded are not.
    """
    vectors = vector_names(config)
    return {
        name: source
        for name, source in sorted(binding.sources.items(), key=file_position)
        if source.part != "routed_experts"
        and name not in vectors
        and is_packed_alone(source)
        and (embedding or name != "embedding")
    }


def resident_bytes(sources: Mapping[str, Source]) -> int:
    """Bytes of an arena with these matrices."""
    return sum(_lines(source) for source in sources.values())


def read_matrices(
    store: Store, sources: Mapping[str, Source], first_byte: int, progress: Callable[[int], None]
) -> dict[str, Matrix]:
    """Read the matrices into the store's arena from `first_byte` on. progress: called with the bytes read so far.

    Raises CheckpointError with file and offset for what cannot be read.
    """
    waiting = list(sources.items())
    reading: dict[int, int] = {}
    matrices: dict[str, Matrix] = {}
    place, done = first_byte, 0
    while waiting or reading:
        while waiting and len(reading) < _QUEUED:
            name, source = waiting.pop(0)
            ticket = store.reader.submit(parts(store.files, [(source, place)]), "now")
            reading[ticket] = stored_bytes(source)
            matrices[name] = ops.matrix_at(store.arena, place, source.tensor.type, source.rows, source.columns)
            place += _lines(source)
        try:
            ready = store.reader.wait(list(reading))
        except ReadError as error:
            raise CheckpointError(f"{error}: it cannot be loaded") from error
        done += sum(reading.pop(ticket) for ticket in ready)
        progress(done)
    return matrices


def _lines(source: Source) -> int:
    size = ops.packed_bytes(source.tensor.type, source.rows, source.columns)
    return -(-size // _LINE) * _LINE
