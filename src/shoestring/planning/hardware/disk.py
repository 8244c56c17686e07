"""Measure how fast a disk serves random reads of one size from one file, past the page cache.

A model that streams waits for reads of one expert's part, as many at once as a layer misses. The rate of such reads
bounds its tokens/s; copying a large file says little about it. The reads are those of `ops.reading`, by the threads and
buffers that a model streams with: the rate depends on the buffers (docs/log.md).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from shoestring.errors import CheckpointError, ReadError, RequestError
from shoestring.files import reason

SECONDS = 3.0
MOST_IN_FLIGHT = 64


@dataclass(frozen=True)
class DiskSpeed:
    """Bytes per second of random reads of `read_bytes`, `in_flight` of them at once. direct: past the page cache."""

    bytes_per_second: float
    read_bytes: int
    in_flight: int
    direct: bool
    reads: int


def read_speed(path: Path, read_bytes: int, in_flight: int, seconds: float | None = None) -> DiskSpeed:
    """Read random places of `path` for about `seconds` (SECONDS), `in_flight` of them at once.

    Raises RequestError for a file that is shorter than one round of reads or cannot be read.
    """
    from shoestring import ops  # the plan command imports this module, and reads no disk
    from shoestring.checkpoint.formats.mapping import drop_cached
    from shoestring.streaming.store import BUFFER_BYTES, READ_THREADS

    in_flight = max(1, min(in_flight, MOST_IN_FLIGHT))
    try:
        file = ops.File(path)  # refuses a pipe, which would wait
        if file.size <= in_flight * read_bytes:
            raise RequestError(
                f"{path} has {file.size} bytes, too few for {in_flight} reads of {read_bytes}: name a larger file"
            )
        if not file.direct:
            drop_cached(path)
        rate, reads = ops.probe(
            file, [read_bytes], in_flight, seconds or SECONDS, threads=READ_THREADS, buffer_bytes=BUFFER_BYTES
        )
    except (CheckpointError, ReadError) as problem:
        raise RequestError(str(problem)) from None
    except OSError as problem:
        raise RequestError(f"{path} cannot be read ({reason(problem)})") from None
    return DiskSpeed(rate, read_bytes, in_flight, file.direct, reads)


def mount_point(path: Path) -> str:
    """Where the file system of a path is mounted."""
    here = path.resolve()
    while not os.path.ismount(here):
        here = here.parent
    return str(here)
