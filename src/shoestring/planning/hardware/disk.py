"""Measure how fast a disk serves random reads of one size from one file, past the page cache.

A model that streams waits for reads of one expert's part, as many at once as a layer misses. The rate of such reads
bounds its tokens/s; copying a large file says little about it. Several threads read with O_DIRECT where the file system
has it, else through the page cache after its pages of this file are dropped.
"""

from __future__ import annotations

import mmap
import os
import random
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from shoestring.errors import RequestError
from shoestring.files import open_regular, reason

#: Offsets and lengths of direct reads are multiples of this.
ALIGNMENT = 4096
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
    """Read random places of `path` for about `seconds` (SECONDS); each is read once before any is read again.

    Raises RequestError for a file that is shorter than one round of reads or cannot be read.
    """
    in_flight = max(1, min(in_flight, MOST_IN_FLIGHT))
    try:
        with open_regular(path) as file:  # refuses a pipe, which would wait
            size = os.fstat(file.fileno()).st_size
        places = list(range(0, size - read_bytes - ALIGNMENT + 1, read_bytes))
        if len(places) < in_flight:
            raise RequestError(
                f"{path} has {size} bytes, too few for {in_flight} reads of {read_bytes}: name a larger file"
            )
        descriptor, direct = _open(path)
    except OSError as problem:
        raise RequestError(f"{path} cannot be read ({reason(problem)})") from None
    random.Random(size).shuffle(places)
    try:
        return _measured(descriptor, direct, places, read_bytes, in_flight, seconds or SECONDS)
    except OSError as problem:
        raise RequestError(f"{path} cannot be read ({reason(problem)})") from None
    finally:
        os.close(descriptor)


def _open(path: Path) -> tuple[int, bool]:
    """A descriptor, and whether it reads past the page cache."""
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)
    if hasattr(os, "O_DIRECT"):
        try:
            descriptor = os.open(path, flags | os.O_DIRECT)
        except OSError:
            pass  # tmpfs and others
        else:
            try:
                with mmap.mmap(-1, ALIGNMENT) as buffer:
                    os.preadv(descriptor, [buffer], 0)
                return descriptor, True
            except OSError:
                os.close(descriptor)
    descriptor = os.open(path, flags)
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    return descriptor, False


def _measured(
    descriptor: int, direct: bool, places: list[int], read_bytes: int, in_flight: int, seconds: float
) -> DiskSpeed:
    lock, problems = threading.Lock(), list[OSError]()
    began = time.perf_counter()
    end = began + seconds
    done = next_place = 0
    longest = (read_bytes // ALIGNMENT + 2) * ALIGNMENT

    def work() -> None:
        nonlocal done, next_place
        try:
            with mmap.mmap(-1, longest) as buffer:
                while time.perf_counter() < end:
                    with lock:
                        place = places[next_place % len(places)]
                        next_place += 1
                    first = place - place % ALIGNMENT
                    last = -(-(place + read_bytes) // ALIGNMENT) * ALIGNMENT
                    count = os.preadv(descriptor, [memoryview(buffer)[: last - first]], first)
                    with lock:
                        done += count >= place + read_bytes - first
        except OSError as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work, name="disk") for _ in range(in_flight)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]
    took = time.perf_counter() - began
    return DiskSpeed(done * read_bytes / took, read_bytes, in_flight, direct, done)


def mount_point(path: Path) -> str:
    """Where the file system of a path is mounted."""
    here = path.resolve()
    while not os.path.ismount(here):
        here = here.parent
    return str(here)
