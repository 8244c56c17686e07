"""Read parts of files on several threads, past the page cache, and pack weights as their bytes arrive.

A `Reader` has threads and an arena. `submit` queues parts of files and returns a ticket; `wait` returns the tickets
that are done. Nothing here takes the lock of the kernels, so that reading and packing run beside the computing.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

import numpy as np

from shoestring.checkpoint.formats.mapping import Identity, identity
from shoestring.errors import CheckpointError, ReadError, StoppedError
from shoestring.files import open_regular, scratch_file
from shoestring.ops import extension
from shoestring.ops.extension import Bytes

if TYPE_CHECKING:
    from shoestring import _kernels
else:
    _kernels = extension.Unloaded(globals())

Priority = Literal["now", "guess", "background"]
"""What an answer waits for; what it may need soon; what only has to be done some time."""

_PRIORITIES: dict[Priority, int] = {"now": 0, "guess": 1, "background": 2}
#: Error codes beside those of the operating system; kernels/io_pool.h.
_END_OF_FILE, _CLOSED = -1, -2
#: A nameless file ends with whole blocks of any disk.
_BLOCK = 1 << 16


class File:
    """An open regular file. It stays readable after it is renamed, replaced or removed.

    `direct`: reads bypass the page cache. Where the file system cannot, or with `buffered`, they go through it and
    release its pages behind them.
    """

    def __init__(self, path: Path, *, buffered: bool = False) -> None:
        """Raises CheckpointError if the file is missing, not a regular file, or cannot be read."""
        self.path = path
        try:
            with open_regular(path, CheckpointError) as file:
                self.handle = _kernels.OpenFile(file.fileno(), str(path), buffered)
        except FileNotFoundError:
            raise CheckpointError(f"{path} does not exist") from None
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read ({error.strerror})") from None

    @classmethod
    def scratch(cls, folder: Path, size: int, *, buffered: bool = False) -> File:
        """A nameless file of zeros to write and read, on the disk of a folder; it disappears with its last use.

        Raises CapacityError if the disk has less than `size` bytes free, RequestError if it cannot be written.
        """
        made = cls.__new__(cls)
        made.path = folder
        with scratch_file(folder, -(-size // _BLOCK) * _BLOCK) as file:
            made.handle = _kernels.OpenFile(file.fileno(), str(folder), buffered)
        return made

    @property
    def direct(self) -> bool:
        return self.handle.direct

    @property
    def size(self) -> int:
        """Bytes, when it was opened."""
        return self.handle.size

    def identity(self) -> Identity:
        """Device, inode, size and time of change now, of the file that is open, whatever has its name."""
        return identity(os.fstat(self.handle.descriptor))


@dataclass(frozen=True, slots=True)
class Target:
    """A matrix inside a part of a file, and where its packed form goes.

    Element (r, c) of a float type is at byte `offset + r * row_stride + c * column_stride` of the part; row r of a
    block type is contiguous and begins at `offset + r * row_stride`. The packed matrix has `ops.packed_bytes` bytes and
    begins at byte `destination` of the arena.
    """

    type: str
    rows: int
    columns: int
    offset: int
    row_stride: int
    column_stride: int
    destination: int


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes `begin` to `end` of a file, with the matrices in them. Bytes that targets share are read once."""

    file: File
    begin: int
    end: int
    targets: tuple[Target, ...]


@dataclass(frozen=True)
class Counters:
    """What a reader has done so far.

    bytes_asked: of the regions; bytes_read, bytes_written: with what the alignment adds. reads, retries: calls of the
    operating system, and those after a short read. busy_seconds: with at least one read in flight.
    """

    bytes_asked: int
    bytes_read: int
    bytes_written: int
    reads: int
    retries: int
    busy_seconds: float
    peak_in_flight: int


class Reader:
    """Threads that read into an arena. Use it from any thread; each ticket is waited for once.

    Pieces of "guess" and "background" leave one thread free for "now", where there is more than one. Everything that a
    ticket uses stays alive until it is done: files, the arena, arrays. Nothing grows but the list of tickets that
    nobody has waited for.
    """

    def __init__(self, arena: Bytes, threads: int, buffer_bytes: int) -> None:
        """arena: [n] uint8, contiguous. buffer_bytes: of each thread; at least `least_buffer` of every part.

        Raises ValueError for threads outside 1 … 256, or buffers outside 256 KB … 1 GB.
        """
        self._reader = _kernels.Reader(arena, threads, buffer_bytes)

    def submit(self, parts: Sequence[Part], priority: Priority) -> int:
        """Queue the reading and packing of parts → a ticket, done when all are.

        Raises ValueError for a target outside its part or the arena, or too large for the buffers; StoppedError after
        `close`.
        """
        return _ticket(self._reader.submit(parts, _PRIORITIES[priority]))

    def read(self, file: File, offset: int, out: Bytes, priority: Priority) -> int:
        """Queue the reading of `len(out)` bytes into an array → a ticket. Raises StoppedError after `close`."""
        return _ticket(self._reader.read(file.handle, offset, out, _PRIORITIES[priority]))

    def write(self, file: File, offset: int, data: Bytes, priority: Priority, *, sync: bool = False) -> int:
        """Queue the writing of an array, which must not change until the ticket is done → a ticket.

        sync: done only when the device has it. Writes in flight must not overlap. Raises StoppedError after `close`.
        """
        return _ticket(self._reader.write(file.handle, offset, data, _PRIORITIES[priority], sync))

    def skip(self, file: File, offset: int, count: int, priority: Priority) -> int:
        """Queue a read whose bytes nobody gets, to measure the disk → a ticket. Raises StoppedError after `close`."""
        return _ticket(self._reader.skip(file.handle, offset, count, _PRIORITIES[priority]))

    def wait(self, tickets: Collection[int]) -> list[int]:
        """Wait until at least one ticket is done → all of them that are. Ctrl-C interrupts it.

        Raises ReadError for one that failed (`error.ticket`; those that are done stay for the next call), StoppedError
        for one that `close` ended, ValueError for one that does not exist or was returned before.
        """
        done = self._reader.wait(list(tickets))
        if isinstance(done, list):
            return done
        ticket, file, offset, error, writing = done
        if error == _CLOSED:
            raise StoppedError(f"the reader was closed before ticket {ticket} was done")
        if error == _END_OF_FILE:
            why = "the file ends here: it was truncated while it was in use: restore it"
        else:
            why = f"{'writing' if writing else 'reading'} failed ({os.strerror(error)}): check the disk"
        raise ReadError(file, offset, why, ticket)

    def raise_priority(self, ticket: int, priority: Priority) -> None:
        """Move what is left of a ticket behind the others of a priority. Does nothing if none is left."""
        self._reader.set_priority(ticket, _PRIORITIES[priority])

    @property
    def counters(self) -> Counters:
        return Counters(*self._reader.counters())

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers."""
        return self._reader.nbytes

    def close(self) -> None:
        """Wait for the reads in flight and end the threads. Tickets that are not done fail. May be called again."""
        self._reader.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def least_buffer(part: Part) -> int:
    """The least `buffer_bytes` of a reader that can read the part. Raises ValueError as `Reader.submit`."""
    return _kernels.least_buffer(part)


def probe(
    file: File, sizes: Sequence[int], in_flight: int, seconds: float, *, threads: int = 4, buffer_bytes: int = 1 << 20
) -> tuple[int, int]:
    """Bytes a second of random reads of a file, without packing: what its disk gives in this minute; and their number.

    sizes: bytes of the reads, one chosen at random each time. in_flight: reads that are queued together; `threads` of
    their pieces are in flight at a time. Raises ReadError; ValueError for sizes that are not in the file.
    """
    if not sizes or min(sizes) < 1 or max(sizes) > file.size or in_flight < 1:
        raise ValueError("probe: sizes from 1 byte to the file's size, at least one read in flight")
    choose = random.Random()
    with Reader(np.empty(0, np.uint8), threads, buffer_bytes) as reader:

        def submit() -> tuple[int, int]:
            size = choose.choice(sizes)
            return reader.skip(file, choose.randrange(file.size - size + 1), size, "now"), size

        begin = time.perf_counter()
        waiting = dict(submit() for _ in range(in_flight))
        done_bytes = reads = 0
        while (elapsed := time.perf_counter() - begin) < seconds:
            for ticket in reader.wait(waiting):
                done_bytes += waiting.pop(ticket)
                reads += 1
                waiting |= [submit()]
        return int(done_bytes // elapsed), reads


def _ticket(number: int) -> int:
    if number == 0:
        raise StoppedError("the reader is closed")
    return number
