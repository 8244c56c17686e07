"""What streaming opens and closes together: the arena of the slots, the files, and the threads that read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shoestring import ops
from shoestring.ops.reading import File, Reader, least_buffer
from shoestring.streaming.sources import LayerSources, files_of, parts
from shoestring.streaming.watch import Watch

#: Threads that read and pack, and bytes of the buffer of each.
READ_THREADS = 8
BUFFER_BYTES = 1 << 20
#: Bytes of the buffers of all threads, unless a file's transposed experts need more.
USUAL_READER_BYTES = READ_THREADS * BUFFER_BYTES


@dataclass(frozen=True)
class Store:
    """files: by path, read around the page cache where the file system can."""

    arena: ops.Bytes
    reader: Reader
    files: Mapping[Path, File]
    watch: Watch

    def close(self) -> None:
        """Wait for the reads in flight, and close the files."""
        self.reader.close()
        self.watch.close()


def open_store(
    layers: Sequence[LayerSources], arena_bytes: int, warn: Callable[[str], None], *, others: Iterable[Path] = ()
) -> Store:
    """An arena of `arena_bytes`, and a reader of the files with these experts and of `others`.

    warn: called once a file that was replaced or touched. Raises CheckpointError for a file that cannot be read or is
    still being written.
    """
    paths = sorted({*files_of(layers), *others})
    watch = Watch(paths, warn)
    try:
        files = {path: File(path) for path in paths}
        arena = ops.arena(arena_bytes)
        return Store(arena, Reader(arena, READ_THREADS, buffer_bytes(layers, files)), files, watch)
    except BaseException:
        watch.close()
        raise


def buffer_bytes(layers: Sequence[LayerSources], files: Mapping[Path, File]) -> int:
    """Bytes of a thread's buffer that can read every expert: more than usual for large transposed ones."""
    least = BUFFER_BYTES
    for layer in layers:
        gate, up, down = layer.experts[0]
        for part in (*parts(files, [(gate, 0), (up, 0)]), *parts(files, [(down, 0)])):
            least = max(least, least_buffer(part))
    return least


def reader_bytes(layers: Sequence[LayerSources]) -> int:
    """Bytes of the buffers of all threads that read these experts. Raises CheckpointError as `open_store`."""
    return READ_THREADS * buffer_bytes(layers, {path: File(path) for path in files_of(layers)})
