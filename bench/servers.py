"""Start servers for the benchmarks, as users would, and write the file that they serve.

Handles processes, addresses and readiness; the benchmarks measure.
"""

from __future__ import annotations

import http.client
import mmap
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shoestring.samples.synthetic import read_config, write_synthetic

CONFIG = Path(__file__).parents[1] / "src" / "shoestring" / "catalogue" / "configs" / "qwen3.5-0.8b.json"
#: Maximum seconds for loading.
PATIENCE = 300


@dataclass(frozen=True)
class Server:
    """A running server: its address without a path, its process, and what it has written."""

    name: str
    url: str
    pid: int
    log: Path


@contextmanager
def model_file(given: Path | None, kind: str = "Q8_0") -> Iterator[Path]:
    """`given`, written if it is missing; without it, a temporary file."""
    with tempfile.TemporaryDirectory() as folder:
        file = given or Path(folder) / f"qwen3.5-0.8b-{kind}.gguf"
        if not file.exists():
            print(f"writing {file} …", file=sys.stderr)
            write_synthetic(read_config(CONFIG), file, kind)
            use_whole_vocabulary(file)
        yield file


def use_whole_vocabulary(file: Path) -> None:
    """Turn the unused tokens of a synthetic file into words, so that both engines sample and show all of them.

    llama.cpp writes nothing for an unused token.
    """
    key, kind_of_array, int32 = b"tokenizer.ggml.token_type", 9, 5
    unused, normal = 5, 1
    with file.open("r+b") as handle, mmap.mmap(handle.fileno(), 0) as data:
        at = data.find(key) + len(key)
        array, element, count = struct.unpack_from("<IIQ", data, at)
        if at < len(key) or (array, element) != (kind_of_array, int32):
            raise SystemExit(f"{file}: the types of its tokens are not where GGUF has them")
        types = np.frombuffer(data, "<i4", count, at + 16).copy()
        types[types == unused] = normal
        data[at + 16 : at + 16 + types.nbytes] = types.tobytes()


@contextmanager
def shoestring(file: Path, *options: str) -> Iterator[Server]:
    """`shoestring serve` with this Python."""
    port = free_port()
    command = [sys.executable, "-m", "shoestring", "serve", str(file), "--port", str(port), *options]
    with _process("shoestring", command, port, "/health") as server:
        yield server


@contextmanager
def llama_cpp(binary: Path | None, file: Path, clients: int, context: int, threads: int) -> Iterator[Server]:
    """llama-server of a native build, else the one in PyPI's xllamacpp. `context` is per client.

    It caches nothing between prompts, which would not help: they differ from the first token on.
    """
    port = free_port()
    facts = {"model": str(file), "port": port, "clients": clients, "context": context, "threads": threads}
    if binary is None:
        command = [sys.executable, "-c", _XLLAMACPP, *(str(value) for value in facts.values())]
    else:
        command = [
            str(binary), "-m", str(file), "--host", "127.0.0.1", "--port", str(port),
            "-np", str(clients), "-c", str(clients * context), "-t", str(threads), "-tb", str(threads),
            "-cb", "--no-cache-prompt", "--cache-ram", "0",
        ]  # fmt: skip
    with _process("llama.cpp", command, port, "/health") as server:
        yield server


#: The arguments are those of `facts` above, in the same order.
_XLLAMACPP = """
import signal, sys
import xllamacpp
model, port, clients, context, threads = sys.argv[1:]
params = xllamacpp.CommonParams()
params.model.path, params.port, params.hostnames = model, int(port), ["127.0.0.1"]
params.n_parallel, params.n_ctx = int(clients), int(clients) * int(context)
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(threads)
params.cont_batching, params.cache_prompt, params.cache_ram_mib, params.n_gpu_layers = True, False, 0, 0
server = xllamacpp.Server(params)
signal.pause()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _process(name: str, command: Sequence[str], port: int, ready: str) -> Iterator[Server]:
    url = f"http://127.0.0.1:{port}"
    with tempfile.NamedTemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=_environment())
        try:
            _await(process, url + ready)
            yield Server(name, url, process.pid, Path(log.name))
        except BaseException:
            log.seek(0)
            print(f"{name}: {log.read()[-2000:].decode(errors='replace')}", file=sys.stderr)
            raise
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _environment() -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("LLAMA_", "SHOESTRING_"))}


def _await(process: subprocess.Popen[bytes], url: str) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        if process.poll() is not None:
            raise SystemExit(f"the server ended with {process.returncode} before it was ready")
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError, http.client.HTTPException):
            pass
        if time.monotonic() > until:
            raise SystemExit(f"{url} was not ready after {PATIENCE} s")
        time.sleep(0.2)
