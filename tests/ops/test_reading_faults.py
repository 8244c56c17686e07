"""The reader over an operating system that fails: short reads, signals, broken disks, stopped processes.

A small library in front of libc makes the faults, so the reader has no door for tests.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shoestring import ops

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")

LIBRARY = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_int calls;

static ssize_t faulty(const char *name, int file, void *bytes, size_t count, off_t at) {
    ssize_t (*real)(int, void *, size_t, off_t) = dlsym(RTLD_NEXT, name);
    const char *fault = getenv("FAULT");
    const int call = atomic_fetch_add(&calls, 1), direct = fcntl(file, F_GETFL) & O_DIRECT;
    if (!strcmp(fault, "short") && count > 4096) count = call % 3 ? 4096 : count - 512;
    if (!strcmp(fault, "interrupted") && call % 2) return errno = EINTR, -1;
    if (!strcmp(fault, "never direct") && direct) return errno = EINVAL, -1;
    if (!strcmp(fault, "later not direct") && direct && call > 3) return errno = EINVAL, -1;
    if (!strcmp(fault, "broken") && at + (off_t)count > 1000000) {
        if (at >= 999424) return errno = EIO, -1;
        count = 999424 - at;
    }
    const ssize_t done = real(file, bytes, count, at);
    return !strcmp(fault, "odd") && done > 2000 ? 600 + call % 1000 : done;
}

ssize_t pread(int file, void *bytes, size_t count, off_t at) { return faulty("pread", file, bytes, count, at); }
ssize_t pread64(int file, void *bytes, size_t count, off_t at) { return faulty("pread64", file, bytes, count, at); }
"""

PROGRAM = """
import os, sys
from pathlib import Path
import numpy as np
from shoestring import ops
from shoestring.errors import ReadError
path, buffered = Path(sys.argv[1]), sys.argv[2] == "True"
data = np.frombuffer(path.read_bytes(), np.uint8)
file = ops.File(path, buffered=buffered)
fault = os.environ["FAULT"]
with ops.Reader(np.empty(0, np.uint8), 2, 256 << 10) as reader:
    out = np.zeros(len(data) - 1000, np.uint8)
    ticket = reader.read(file, 600, out, "now")
    if fault == "broken":
        try:
            reader.wait([ticket])
            raise AssertionError("no error")
        except ReadError as error:
            assert (error.file, error.offset, error.ticket) == (str(path), 999424, ticket), error
            assert "Input/output error" in str(error), error
        good = np.zeros(999_424 - 600, np.uint8)
        reader.wait([reader.read(file, 600, good, "now")])
        assert good.tobytes() == data[600:999_424].tobytes()
    else:
        reader.wait([ticket])
        assert out.tobytes() == data[600:-400].tobytes()
    print(reader.counters.retries > 0, file.direct)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if COMPILER is None:
        pytest.skip("there is no C compiler")
    folder = tmp_path_factory.mktemp("faults")
    (folder / "faults.c").write_text(LIBRARY)
    built = folder / "faults.so"
    subprocess.run([COMPILER, "-shared", "-fPIC", "-o", built, folder / "faults.c", "-ldl"], check=True)
    return built


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **more}


@pytest.mark.parametrize("buffered", [False, True])
@pytest.mark.parametrize(
    ("fault", "retried"),
    [
        ("short", True),
        ("odd", True),
        ("interrupted", True),
        ("never direct", False),
        ("later not direct", None),
        ("broken", None),
    ],
)
def test_faults(fault: str, retried: bool | None, buffered: bool, library: Path, tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(os.urandom(1_500_123))
    before = os.environ.get("LD_PRELOAD", "")
    preload = f"{before} {library}".strip()  # a sanitizer's library comes first
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path), str(buffered)],
        env=environment(LD_PRELOAD=preload, FAULT=fault),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    has_retried, direct = result.stdout.split()
    if retried is not None:
        assert has_retried == str(retried)
    expected = ops.File(path).direct and not buffered and "direct" not in fault
    assert direct == str(expected)


READS_FOR_EVER = """
import sys
from pathlib import Path
import numpy as np
from shoestring import ops
path = Path(sys.argv[1])
data = np.frombuffer(path.read_bytes(), np.uint8)
file, out = ops.File(path), np.zeros(len(data), np.uint8)
with ops.Reader(np.empty(0, np.uint8), 3, 256 << 10) as reader:
    while True:
        out[:] = 0
        reader.wait([reader.read(file, 0, out, "now")])
        assert out.tobytes() == data.tobytes()
        print(reader.counters.reads, flush=True)
"""


def test_a_process_that_is_stopped_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(os.urandom(3_000_000))
    command = [sys.executable, "-c", READS_FOR_EVER, str(path)]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            process.stdout.readline()
            for _ in range(10):
                process.send_signal(signal.SIGSTOP)
                time.sleep(0.01)
                process.send_signal(signal.SIGCONT)
                time.sleep(0.01)
            before = int(process.stdout.readline())
            while int(process.stdout.readline()) < before + 100:
                pass
            assert process.poll() is None
        finally:
            process.kill()
