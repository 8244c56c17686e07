"""One run of llama.cpp in a process of its own, through the library of PyPI's llama-cpp-python. Prints JSON.

    LLAMA_PYTHON llama.py JOB.json

LLAMA_PYTHON is an interpreter that has llama-cpp-python, built for this machine from its source. The job has the fields
of ours.py: file, threads, context, prompts (one), answers (one), settle. The file is mapped (mmap), threads do not spin
longer than they must, prompts go in batches of 512.
"""

import ctypes
import json
import sys
import time
from pathlib import Path


def main() -> None:
    import llama_cpp

    if len(sys.argv) < 2:
        print(json.dumps({"version": llama_cpp.__version__}))
        return
    job = json.loads(Path(sys.argv[1]).read_text())

    @llama_cpp.llama_log_callback
    def log(level: int, text: bytes, data: object) -> None:
        if level == 4:
            print(text.decode(errors="replace"), end="", file=sys.stderr)

    llama_cpp.llama_log_set(log, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    began = time.perf_counter()
    parameters = llama_cpp.llama_model_default_params()
    parameters.use_mmap, parameters.use_mlock, parameters.n_gpu_layers = True, False, 0
    model = llama_cpp.llama_model_load_from_file(job["file"].encode(), parameters)
    if not model:
        raise SystemExit(f"llama.cpp does not load {job['file']}")
    options = llama_cpp.llama_context_default_params()
    options.n_ctx, options.n_batch, options.n_ubatch = job["context"], 512, 512
    options.n_threads = options.n_threads_batch = job["threads"]
    options.no_perf = True
    context = llama_cpp.llama_init_from_model(model, options)
    if not context:
        raise SystemExit("llama.cpp made no context")
    loaded = time.perf_counter() - began
    prompt, answer = job["prompts"][0], job["answers"][0]
    began = time.perf_counter()
    for first in range(0, len(prompt), 512):
        decode(llama_cpp, context, prompt[first : first + 512])
    prefill = time.perf_counter() - began
    steps = []
    for token in answer[:-1]:  # no engine computes an answer's last token
        began = time.perf_counter()
        decode(llama_cpp, context, [token])
        steps.append(time.perf_counter() - began)
    count = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    logits = llama_cpp.llama_get_logits_ith(context, -1)
    best = max(range(count), key=lambda token: logits[token])
    print(json.dumps({"load_seconds": loaded, "prefill_seconds": prefill, "step_seconds": steps[job["settle"] :],
                      "best_token": best, "version": llama_cpp.__version__}))  # fmt: skip


def decode(llama_cpp: object, context: object, tokens: list) -> None:
    """Compute tokens; their positions go on where the last ones ended."""
    array = (llama_cpp.llama_token * len(tokens))(*tokens)
    status = llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(array, len(tokens)))
    if status:
        raise SystemExit(f"llama_decode: {status}")


if __name__ == "__main__":
    main()
