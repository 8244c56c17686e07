"""The reader: any region of any file is its bytes, on any file system; order, failures, and ends of tickets."""

from __future__ import annotations

import ctypes
import itertools
import mmap
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_layout import packed

from shoestring import ops
from shoestring.errors import CapacityError, CheckpointError, ReadError, RequestError, StoppedError

Bytes = npt.NDArray[np.uint8]
BUFFER = 256 << 10
NO_ARENA = np.empty(0, np.uint8)
#: Reading it takes long enough that nothing else waits for its end; its bytes are zeros that no disk stores.
HUGE = 16 << 30
SHM = Path("/dev/shm")
#: where files lie, and whether they are opened without direct I/O
PLACES = [("disk", False), ("disk", True), ("memory", False), ("memory", True)]


@pytest.fixture(params=PLACES, ids=lambda place: f"{place[0]}-{'buffered' if place[1] else 'direct'}")
def place(request: pytest.FixtureRequest) -> Iterator[tuple[Path, bool]]:
    where, buffered = request.param
    if where == "memory" and not SHM.is_dir():
        pytest.skip("this system has no /dev/shm")
    with tempfile.TemporaryDirectory(dir=SHM if where == "memory" else None) as folder:
        yield Path(folder), buffered


def random_bytes(size: int, seed: int = 0) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def write(path: Path, data: Bytes) -> Path:
    path.write_bytes(data.tobytes())
    return path


@pytest.fixture
def huge(tmp_path: Path) -> ops.File:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(HUGE)
    return ops.File(tmp_path / "huge", buffered=True)  # direct reads of nothing are ten times as fast


# --- bytes ---------------------------------------------------------------------------------------------------------


def test_any_region_is_the_bytes_of_the_file(place: tuple[Path, bool]) -> None:
    folder, buffered = place
    data = random_bytes(1_500_001)
    file = ops.File(write(folder / "data", data), buffered=buffered)
    size = len(data)
    regions = [(0, size), (0, 0), (0, 1), (size - 1, 1), (size, 0), (511, 2), (4095, 4098), (4096, 8192), (7, 700_000)]
    with ops.Reader(NO_ARENA, 3, BUFFER) as reader:
        outs = {}
        for offset, count in regions:
            out = np.zeros(count, np.uint8)
            outs[reader.read(file, offset, out, "now")] = (offset, out)
        waiting = set(outs)
        while waiting:
            waiting -= set(reader.wait(waiting))
        for offset, out in outs.values():
            assert out.tobytes() == data[offset : offset + len(out)].tobytes()
        counters = reader.counters
    assert counters.bytes_asked == sum(count for _, count in regions)
    assert counters.bytes_asked <= counters.bytes_read <= counters.bytes_asked + counters.reads * 8192
    assert 1 <= counters.peak_in_flight <= 3
    assert counters.busy_seconds > 0
    assert file.size == size
    assert file.direct == ops.File(folder / "data", buffered=buffered).direct  # no read was refused


def test_direct_where_the_file_system_has_it(tmp_path: Path) -> None:
    path = write(tmp_path / "data", random_bytes(8192))
    possible = True
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
        try:
            os.preadv(descriptor, [mmap.mmap(-1, 4096)], 0)
        finally:
            os.close(descriptor)
    except OSError:
        possible = False
    assert ops.File(path).direct == possible
    assert not ops.File(path, buffered=True).direct


def test_buffered_reads_leave_no_pages_behind(tmp_path: Path) -> None:
    data = random_bytes(8 << 20)
    path = write(tmp_path / "data", data)
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    if resident_pages(descriptor) > 20:
        pytest.skip("this file system keeps its pages")
    for buffered in (False, True):
        file, out = ops.File(path, buffered=buffered), np.empty(len(data) - 1000, np.uint8)
        with ops.Reader(NO_ARENA, 2, BUFFER) as reader:
            reader.wait([reader.read(file, 999, out, "now")])
        assert out.tobytes() == data[999:-1].tobytes()
        assert resident_pages(descriptor) <= 20
    os.close(descriptor)


def resident_pages(descriptor: int) -> int:
    size = os.fstat(descriptor).st_size
    with mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY) as mapped:
        pages = (ctypes.c_ubyte * (size // mmap.PAGESIZE))()
        view = (ctypes.c_char * size).from_buffer(mapped)
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.mincore(ctypes.byref(view), ctypes.c_size_t(size), pages) == 0
        del view
        return sum(page & 1 for page in pages)


# --- parts and targets ---------------------------------------------------------------------------------------------


@given(
    block_columns=st.integers(1, 12),
    rows=st.lists(st.integers(1, 200), min_size=1, max_size=3),
    types=st.lists(st.sampled_from(["Q4_K", "Q6_K", "Q8_0", "BF16", "F32"]), min_size=3, max_size=3),
    gaps=st.lists(st.integers(0, 300_000), min_size=3, max_size=3),
    begin=st.integers(0, 10_000),
    threads=st.integers(1, 4),
)
@settings(max_examples=40)
def test_targets_one_behind_the_other(
    block_columns: int, rows: list[int], types: list[str], gaps: list[int], begin: int, threads: int
) -> None:
    """As the experts of a GGUF file, with gaps between them."""
    columns, offset, destination = 256 * block_columns, 0, 0
    targets, files, expected = [], [np.zeros(begin, np.uint8)], []
    for count, kind, gap in zip(rows, types, gaps, strict=False):
        stride = ops.packed_bytes(kind, 16, columns) // 16 if kind not in ("Q4_K", "Q5_K") else columns // 256 * 144
        data = random_bytes(count * stride, count)
        item = stride // columns if kind in ("BF16", "F32") else 0
        targets.append(ops.Target(kind, count, columns, offset, stride, item, destination))
        files += [data, np.full(gap, 0x55, np.uint8)]
        expected.append(packed(kind, data.reshape(count, stride), columns))
        offset += len(data) + gap
        destination += len(expected[-1])
    whole = np.concatenate(files)
    arena = np.full(destination, 0xAA, np.uint8)
    with tempfile.TemporaryDirectory() as folder, ops.Reader(arena, threads, 512 << 10) as reader:
        file = ops.File(write(Path(folder) / "data", whole))
        part = ops.Part(file, begin, len(whole), tuple(reversed(targets)))
        assert ops.least_buffer(part) <= 512 << 10
        reader.wait([reader.submit([part], "now")])
        asked = reader.counters.bytes_asked
    assert arena.tobytes() == np.concatenate(expected).tobytes()
    used = len(whole) - begin - sum(gap for gap, _ in zip(gaps, rows, strict=False))
    assert used <= asked <= used + sum(gap for gap in gaps if gap <= 65536)


@given(
    width=st.integers(1, 700),
    hidden=st.integers(1, 600),
    weight_type=st.sampled_from(["F32", "F16", "BF16"]),
    begin=st.integers(0, 5000),
    threads=st.integers(1, 4),
)
@settings(max_examples=40)
def test_transposed_halves_of_one_tensor(width: int, hidden: int, weight_type: str, begin: int, threads: int) -> None:
    """Llama 4 of Hugging Face: an expert [hidden, 2 · width]; gate and up are the transposed halves of every row."""
    item = 4 if weight_type == "F32" else 2
    data = random_bytes(hidden * 2 * width * item, width).reshape(hidden, 2 * width, item)
    stride = 2 * width * item
    size = ops.packed_bytes(weight_type, width, hidden)
    arena = np.full(2 * size, 0xAA, np.uint8)
    targets = tuple(
        ops.Target(weight_type, width, hidden, half * width * item, item, stride, half * size) for half in (0, 1)
    )
    with tempfile.TemporaryDirectory() as folder, ops.Reader(arena, threads, BUFFER) as reader:
        whole = np.concatenate([np.zeros(begin, np.uint8), data.reshape(-1)])
        part = ops.Part(ops.File(write(Path(folder) / "data", whole)), begin, len(whole), targets)
        reader.wait([reader.submit([part], "now")])
        counters = reader.counters
    assert counters.bytes_asked == data.nbytes  # each byte once
    for half in (0, 1):
        rows = data[:, half * width : (half + 1) * width].swapaxes(0, 1).reshape(width, -1)
        assert arena[half * size : (half + 1) * size].tobytes() == packed(weight_type, rows, hidden).tobytes()


def test_a_part_needs_no_buffer_of_its_size(tmp_path: Path) -> None:
    """A BF16 expert of Llama 4 Scout, sparse: 160 MB through 2 × 256 KB."""
    width, hidden = 8192, 5120
    with (tmp_path / "expert").open("wb") as sparse:
        sparse.truncate(hidden * 2 * width * 2)
        sparse.seek(-2, os.SEEK_END)
        sparse.write(b"\x34\x12")
    size = ops.packed_bytes("BF16", width, hidden)
    arena = np.zeros(2 * size, np.uint8)
    file = ops.File(tmp_path / "expert")
    targets = tuple(ops.Target("BF16", width, hidden, half * 2 * width, 2, 4 * width, half * size) for half in (0, 1))
    part = ops.Part(file, 0, file.size, targets)
    assert ops.least_buffer(part) <= BUFFER
    with ops.Reader(arena, 2, BUFFER) as reader:
        assert reader.nbytes == 2 * BUFFER
        reader.wait([reader.submit([part], "now")])
        assert reader.counters.bytes_asked == file.size
        assert reader.counters.bytes_read <= 1.05 * file.size
    assert arena[-2:].tobytes() == b"\x34\x12"  # the last column pair of row 8191
    assert not arena[:size].any()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rows": 0}, "at least 1"),
        ({"columns": 100}, "block"),
        ({"offset": 1}, "inside its part"),
        ({"row_stride": 1 << 62}, "not negative"),
        ({"rows": 1 << 62}, "at least 1"),
        ({"row_stride": 1 << 46}, "inside its part"),
        ({"destination": 64}, "inside the arena"),
        ({"destination": -1}, "not negative"),
        ({"type": "Q3_K"}, "Q3_K"),
    ],
)
def test_targets_that_cannot_be_read_are_refused(wrong: dict[str, int], message: str, tmp_path: Path) -> None:
    file = ops.File(write(tmp_path / "data", random_bytes(16 * 68)))
    good = {"type": "Q8_0", "rows": 16, "columns": 64, "offset": 0, "row_stride": 68, "column_stride": 0}
    arena = np.zeros(ops.packed_bytes("Q8_0", 16, 64), np.uint8)
    target = ops.Target(**{**good, "destination": 0, **wrong})  # type: ignore[arg-type]
    with ops.Reader(arena, 1, BUFFER) as reader, pytest.raises(ValueError, match=message):
        reader.submit([ops.Part(file, 0, 16 * 68, (target,))], "now")


def test_a_buffer_that_is_too_small_is_refused(huge: ops.File) -> None:
    target = ops.Target("F32", 16, 8192, 0, 32768, 4, 0)
    part = ops.Part(huge, 0, 16 * 32768, (target,))
    arena = np.zeros(16 * 32768, np.uint8)
    with ops.Reader(arena, 1, BUFFER) as reader, pytest.raises(ValueError, match="too small"):
        reader.submit([part], "now")
    with ops.Reader(arena, 1, ops.least_buffer(part)) as reader:
        assert reader.wait([reader.submit([part], "now")]) == [1]
    for threads, buffer_bytes in ((0, BUFFER), (257, BUFFER), (1, 1000), (1, 1 << 40)):
        with pytest.raises(ValueError, match=r"threads|buffer_bytes"):
            ops.Reader(arena, threads, buffer_bytes)


# --- files ---------------------------------------------------------------------------------------------------------


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, message in (("missing", "does not exist"), ("pipe", "a pipe"), (".", "a folder")):
        with pytest.raises(CheckpointError, match=message):
            ops.File(tmp_path / name)


@pytest.mark.parametrize("change", ["removed", "renamed", "replaced", "touched"])
def test_an_open_file_stays_what_it_was(change: str, place: tuple[Path, bool]) -> None:
    folder, buffered = place
    data = random_bytes(600_000)
    path = write(folder / "data", data)
    file = ops.File(path, buffered=buffered)
    before = file.identity()
    match change:
        case "removed":
            path.unlink()
        case "renamed":
            path.rename(folder / "other")
        case "replaced":
            os.replace(write(folder / "new", random_bytes(600_000, 1)), path)
        case _:
            os.utime(path, ns=(1, 1))
    out = np.zeros(600_000, np.uint8)
    with ops.Reader(NO_ARENA, 2, BUFFER) as reader:
        reader.wait([reader.read(file, 0, out, "now")])
    assert out.tobytes() == data.tobytes()
    assert file.identity()[:3] == before[:3]
    assert (file.identity() == before) == (change != "touched")


def test_a_truncated_file_fails_where_it_ends(place: tuple[Path, bool]) -> None:
    folder, buffered = place
    data = random_bytes(900_000)
    path = write(folder / "data", data)
    file = ops.File(path, buffered=buffered)
    os.truncate(path, 500_001)
    with ops.Reader(NO_ARENA, 2, BUFFER) as reader:
        good, bad = np.zeros(500_001, np.uint8), np.zeros(500_002, np.uint8)
        failing = reader.read(file, 0, bad, "now")
        with pytest.raises(ReadError, match="truncated") as caught:
            reader.wait([failing])
        assert (caught.value.file, caught.value.offset, caught.value.ticket) == (str(path), 500_001, failing)
        assert reader.wait([reader.read(file, 0, good, "now")]) == [failing + 1]
    assert good.tobytes() == data[:500_001].tobytes()
    assert file.direct == ops.File(path, buffered=buffered).direct  # the cut block is no reason to give it up


# --- tickets -------------------------------------------------------------------------------------------------------


def test_now_goes_before_guess_before_background(huge: ops.File) -> None:
    """One thread. Each later one would wait for seconds if the order were that of submission."""
    reader = ops.Reader(NO_ARENA, 1, BUFFER)
    background = reader.skip(huge, 0, HUGE, "background")
    guess = reader.skip(huge, 0, HUGE, "guess")
    now = [reader.skip(huge, 0, 1000, "now") for _ in range(3)]
    assert sorted(reader.wait([background, guess, now[2]])) == [now[2]]
    assert sorted(reader.wait(now[:2])) == now[:2]  # first come, first served
    small_guess = reader.skip(huge, 0, 1000, "guess")
    reader.raise_priority(small_guess, "now")
    assert reader.wait([background, guess, small_guess]) == [small_guess]
    asked = reader.counters.bytes_asked
    reader.close()
    assert reader.counters.bytes_read < asked // 2
    for ticket in (background, guess):
        with pytest.raises(StoppedError, match="closed"):
            reader.wait([ticket])


def test_the_lower_priorities_leave_a_thread_free(huge: ops.File) -> None:
    for priority in ("guess", "background"):
        with ops.Reader(NO_ARENA, 3, BUFFER) as reader:

            def until(peak: int, reader: ops.Reader = reader) -> None:
                end = time.monotonic() + 60
                while reader.counters.peak_in_flight < peak and time.monotonic() < end:
                    time.sleep(0.001)
                assert reader.counters.peak_in_flight == peak

            reader.skip(huge, 0, HUGE, priority)  # type: ignore[arg-type]
            until(2)
            reader.wait([reader.skip(huge, 0, 1000, "now") for _ in range(50)])
            reader.skip(huge, 0, HUGE, "now")
            until(3)
    with ops.Reader(NO_ARENA, 3, BUFFER) as reader:
        reader.wait([reader.skip(huge, 0, 256 << 20, "background")])
        assert reader.counters.peak_in_flight <= 2


def test_a_ticket_is_waited_for_once(tmp_path: Path) -> None:
    file = ops.File(write(tmp_path / "data", random_bytes(5000)))
    with ops.Reader(NO_ARENA, 1, BUFFER) as reader:
        empty = reader.submit([], "now")
        ticket = reader.skip(file, 0, 5000, "now")
        assert reader.wait([]) == []
        assert reader.wait({empty}) == [empty]
        assert reader.wait((ticket,)) == [ticket]
        for unknown in (ticket, empty, 99):
            with pytest.raises(ValueError, match=f"ticket {unknown} "):
                reader.wait([unknown])
        # A failure leaves the tickets that are done for the next call.
        good, bad = reader.skip(file, 0, 10, "now"), reader.skip(file, 0, 5001, "now")
        last = reader.skip(file, 0, 10, "now")
        assert reader.wait([last]) == [last]  # one thread: the others are done too
        with pytest.raises(ReadError) as caught:
            reader.wait([good, bad])
        assert caught.value.ticket == bad
        assert reader.wait([good]) == [good]


def test_many_callers(tmp_path: Path) -> None:
    data = random_bytes(3_000_000)
    file = ops.File(write(tmp_path / "data", data))
    reader, wrong = ops.Reader(NO_ARENA, 4, BUFFER), []

    def call(seed: int) -> None:
        random = np.random.default_rng(seed)
        for _ in range(30):
            outs = {}
            for _ in range(3):
                size = int(random.integers(1, 400_000))
                offset = int(random.integers(0, len(data) - size))
                out = np.zeros(size, np.uint8)
                priority = ("now", "guess", "background")[random.integers(3)]
                outs[reader.read(file, offset, out, priority)] = (out, offset)  # type: ignore[arg-type]
            reader.raise_priority(min(outs), "now")
            while outs:
                for ticket in reader.wait(outs):
                    out, offset = outs.pop(ticket)
                    if not np.array_equal(out, data[offset : offset + len(out)]):
                        wrong.append((seed, ticket))

    callers = [threading.Thread(target=call, args=(seed,)) for seed in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=120)
    assert not any(caller.is_alive() for caller in callers)
    assert not wrong
    reader.close()


def test_waiting_leaves_python_to_others_and_ends_at_ctrl_c(huge: ops.File) -> None:
    turns = 0

    def interrupt() -> None:
        nonlocal turns
        end = time.monotonic() + 0.2
        while time.monotonic() < end:
            turns += 1
        os.kill(os.getpid(), signal.SIGINT)

    with ops.Reader(NO_ARENA, 1, BUFFER) as reader:
        ticket = reader.skip(huge, 0, HUGE, "now")
        thread = threading.Thread(target=interrupt)
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012
            thread.start()
            reader.wait([ticket])
        thread.join()
        assert turns > 100
        assert reader.counters.bytes_read < HUGE  # both happened before the ticket was done


def test_closing_ends_what_waits(huge: ops.File) -> None:
    reader, ended = ops.Reader(NO_ARENA, 2, BUFFER), []

    def wait(ticket: int) -> None:
        try:
            reader.wait([ticket])
        except StoppedError:
            ended.append(ticket)

    tickets = [reader.skip(huge, 0, HUGE, "now") for _ in range(3)]
    done = reader.submit([], "now")
    waiters = [threading.Thread(target=wait, args=(ticket,)) for ticket in tickets]
    for waiter in waiters:
        waiter.start()
    reader.close()
    reader.close()
    for waiter in waiters:
        waiter.join(timeout=30)
    assert sorted(ended) == tickets
    assert reader.wait([done]) == [done]
    for call in (lambda: reader.submit([], "now"), lambda: reader.read(huge, 0, np.zeros(1, np.uint8), "now")):
        with pytest.raises(StoppedError, match="closed"):
            call()


def test_a_reader_that_nobody_closes_ends_before_its_arrays(huge: ops.File) -> None:
    for _ in range(20):
        reader = ops.Reader(np.zeros(1 << 20, np.uint8), 2, BUFFER)
        reader.read(huge, 0, np.zeros(8 << 20, np.uint8), "now")
        del reader


# --- writing -------------------------------------------------------------------------------------------------------


@given(
    cuts=st.lists(st.integers(0, 700_000), min_size=2, max_size=12, unique=True).map(sorted),
    buffered=st.booleans(),
    in_memory=st.booleans(),
)
@settings(max_examples=30)
def test_what_is_written_is_read_back(cuts: list[int], buffered: bool, in_memory: bool) -> None:
    """Neighbouring regions at once, at any bytes; the rest stays zero."""
    with tempfile.TemporaryDirectory(dir=SHM if in_memory and SHM.is_dir() else None) as name:
        folder, size = Path(name), 700_000
        file = ops.File.scratch(folder, size, buffered=buffered)
        expected, out = np.zeros(size, np.uint8), np.empty(size, np.uint8)
        with ops.Reader(NO_ARENA, 3, BUFFER) as reader:
            tickets = set()
            for i, (begin, end) in enumerate(itertools.pairwise(cuts)):
                data = random_bytes(end - begin, i)
                expected[begin:end] = data
                tickets.add(reader.write(file, begin, data, "background", sync=i == 0))
            while tickets:
                tickets -= set(reader.wait(tickets))
            reader.wait([reader.read(file, 0, out, "now")])
            assert reader.counters.bytes_written >= cuts[-1] - cuts[0]
        assert out.tobytes() == expected.tobytes()
        assert os.listdir(folder) == []


def test_what_cannot_be_written_is_said(tmp_path: Path, huge: ops.File) -> None:
    with pytest.raises(CapacityError, match="free"):
        ops.File.scratch(tmp_path, 1 << 60)
    with pytest.raises(RequestError, match="missing"):
        ops.File.scratch(tmp_path / "missing", 1)
    with ops.Reader(NO_ARENA, 1, BUFFER) as reader:
        ticket = reader.write(huge, 4096, np.ones(10, np.uint8), "now")  # opened for reading
        with pytest.raises(ReadError, match=r"huge, byte 4096: writing failed \(Bad file descriptor\)") as caught:
            reader.wait([ticket])
        assert caught.value.ticket == ticket


# --- the probe -----------------------------------------------------------------------------------------------------


def test_the_probe_reads_what_it_is_asked_for(huge: ops.File) -> None:
    rate, reads = ops.probe(huge, [100_000, 1 << 20], 3, 0.1)
    assert rate > 1e6
    assert reads > 0
    for sizes, in_flight in (([], 1), ([0], 1), ([HUGE + 1], 1), ([1], 0)):
        with pytest.raises(ValueError, match="probe"):
            ops.probe(huge, sizes, in_flight, 0.1)
