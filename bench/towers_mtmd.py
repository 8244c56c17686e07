"""Time llama.cpp's mtmd for one picture of noise: run by bench/towers.py with a Python that has llama-cpp-python.

    python bench/towers_mtmd.py MODEL.gguf MMPROJ.gguf SIDE THREADS

Prints a JSON object: the picture's tokens, and the seconds of its encoding, without the resize.
"""

import ctypes
import json
import sys
import time

import llama_cpp
import numpy as np
from llama_cpp import mtmd_cpp


def main() -> None:
    model_file, tower_file, side, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    llama_cpp.llama_backend_init()
    parameters = llama_cpp.llama_model_default_params()
    model = llama_cpp.llama_model_load_from_file(model_file.encode(), parameters)
    wishes = mtmd_cpp.mtmd_context_params_default()
    wishes.use_gpu, wishes.n_threads, wishes.warmup, wishes.print_timings = False, threads, False, False
    context = mtmd_cpp.mtmd_init_from_file(tower_file.encode(), model, wishes)
    if not context:
        raise SystemExit(f"mtmd cannot read {tower_file}")
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    data = pixels.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
    bitmap = mtmd_cpp.mtmd_bitmap_init(side, side, data)
    marker = mtmd_cpp.mtmd_default_marker()
    text = mtmd_cpp.mtmd_input_text(marker, len(marker), False, True)
    chunks = mtmd_cpp.mtmd_input_chunks_init()
    bitmaps = (mtmd_cpp.mtmd_bitmap_p_ctypes * 1)(bitmap)
    if mtmd_cpp.mtmd_tokenize(context, chunks, ctypes.byref(text), bitmaps, 1):
        raise SystemExit("mtmd cannot split the picture")
    tokens, seconds = 0, 0.0
    for number in range(mtmd_cpp.mtmd_input_chunks_size(chunks)):
        chunk = mtmd_cpp.mtmd_input_chunks_get(chunks, number)
        if mtmd_cpp.mtmd_input_chunk_get_type(chunk) != mtmd_cpp.MTMD_INPUT_CHUNK_TYPE_IMAGE:
            continue
        began = time.perf_counter()
        if mtmd_cpp.mtmd_encode_chunk(context, chunk):
            raise SystemExit("mtmd cannot encode the picture")
        seconds += time.perf_counter() - began
        tokens += mtmd_cpp.mtmd_input_chunk_get_n_tokens(chunk)
    print(json.dumps({"tokens": tokens, "seconds": seconds}))


if __name__ == "__main__":
    main()
