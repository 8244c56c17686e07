"""One run of llama.cpp in a process of its own, through its C API. Prints JSON.

    LLAMA_PYTHON llama.py JOB.json

LLAMA_PYTHON is an interpreter that has PyPI's llama-cpp-python, built for this machine from its source, or xllamacpp, a
wheel for any x86-64 with AVX2. The job has the fields of ours.py: file, threads, context, prompts (one), answers (one),
settle. The file is mapped (mmap), and weights are not repacked: repacked ones are copies in memory, with which a model
larger than its limit is killed. Prompts go in batches of 512; no logits but the last row's are computed.

Parameter structures are taken and returned by value and change between releases, so they are handled as blocks of bytes
larger than any of them. The fields that are set (llama.h of October 2026) are checked by their defaults first.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import json
import sys
import time
from pathlib import Path

LIBRARIES = {"llama_cpp": ("llama-cpp-python", "lib/libllama.so"), "xllamacpp": ("xllamacpp", "xllamacpp*.so")}
BATCH = 512
ERROR = 4


class Parameters(ctypes.Structure):
    _fields_ = [("words", ctypes.c_uint32 * 256)]


class Batch(ctypes.Structure):
    _fields_ = [
        ("n_tokens", ctypes.c_int32),
        ("token", ctypes.POINTER(ctypes.c_int32)),
        ("embd", ctypes.c_void_p),
        ("pos", ctypes.c_void_p),
        ("n_seq_id", ctypes.c_void_p),
        ("seq_id", ctypes.c_void_p),
        ("logits", ctypes.c_void_p),
    ]


@ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
def log(level: int, text: bytes, data: object) -> None:
    if level == ERROR:
        print(text.decode(errors="replace"), end="", file=sys.stderr)


def main() -> None:
    path, version = found()
    if len(sys.argv) < 2:
        print(version)
        return
    library = opened(path)
    job = json.loads(Path(sys.argv[1]).read_text())
    began = time.perf_counter()
    model = library.llama_model_load_from_file(job["file"].encode(), model_parameters(library, version))
    if not model:
        raise SystemExit(f"llama.cpp does not load {job['file']}")
    options = library.llama_context_default_params()
    if list(options.words[:4]) != [512, 2048, 512, 1]:  # n_ctx, n_batch, n_ubatch, n_seq_max
        raise SystemExit(f"llama_context_params begins otherwise in {version}")
    options.words[0], options.words[1], options.words[2] = job["context"], BATCH, BATCH
    context = library.llama_init_from_model(model, options)
    if not context:
        raise SystemExit("llama.cpp made no context")
    library.llama_set_n_threads(context, job["threads"], job["threads"])
    loaded = time.perf_counter() - began

    def decode(tokens: list[int]) -> float:
        """Seconds to compute tokens; their positions go on where the last ones ended."""
        array = (ctypes.c_int32 * len(tokens))(*tokens)
        began = time.perf_counter()
        if status := library.llama_decode(context, library.llama_batch_get_one(array, len(tokens))):
            raise SystemExit(f"llama_decode returns {status}")
        library.llama_synchronize(context)
        return time.perf_counter() - began

    prompt, answer = job["prompts"][0], job["answers"][0]
    prefill = sum(decode(prompt[first : first + BATCH]) for first in range(0, len(prompt), BATCH))
    steps = [decode([token]) for token in answer[:-1]]  # no engine computes an answer's last token
    facts = {"load_seconds": loaded, "prefill_seconds": prefill, "step_seconds": steps[job["settle"] :]}
    print(json.dumps(facts | {"version": version}))


def model_parameters(library: ctypes.CDLL, version: str) -> Parameters:
    """Mapped, and not repacked."""
    parameters = library.llama_model_default_params()
    fields = (ctypes.c_int8 * ctypes.sizeof(parameters)).from_buffer(parameters)
    # n_gpu_layers, split_mode, load_mode (auto), lazy_mode; vocab_only, check_tensors, use_extra_bufts, no_host
    expected = {16: -1, 20: 1, 24: -1, 28: 1, 72: 0, 73: 0, 74: 1, 75: 0}
    if any(fields[place] != value for place, value in expected.items()):
        raise SystemExit(f"llama_model_params is another structure in {version}")
    parameters.words[24 // 4] = 1  # LLAMA_LOAD_MODE_MMAP
    fields[74] = 0
    return parameters


def found() -> tuple[Path, str]:
    """The library, and the name and version of its package."""
    for module, (package, pattern) in LIBRARIES.items():
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.origin is not None:
            for path in Path(spec.origin).parent.glob(pattern):
                return path, f"{package} {importlib.metadata.version(package)}"
    raise SystemExit(f"none of {', '.join(package for package, _ in LIBRARIES.values())} is installed")


def opened(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    pointer, number = ctypes.c_void_p, ctypes.c_int32
    signatures: dict[str, tuple[object, list[object]]] = {
        "llama_log_set": (None, [type(log), pointer]),
        "llama_backend_init": (None, []),
        "llama_model_default_params": (Parameters, []),
        "llama_context_default_params": (Parameters, []),
        "llama_model_load_from_file": (pointer, [ctypes.c_char_p, Parameters]),
        "llama_init_from_model": (pointer, [pointer, Parameters]),
        "llama_set_n_threads": (None, [pointer, number, number]),
        "llama_batch_get_one": (Batch, [ctypes.POINTER(number), number]),
        "llama_decode": (number, [pointer, Batch]),
        "llama_synchronize": (None, [pointer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    library.llama_log_set(log, None)
    library.llama_backend_init()
    return library


if __name__ == "__main__":
    main()
