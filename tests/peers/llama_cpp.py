"""llama.cpp through the C API that the xllamacpp wheel exports: logits of all positions of a token list.

Parameter structures are taken by value and returned by value, and grow between releases: they are handled as
blocks of bytes larger than any of them, and only leading fields that never moved are set, checked by their
documented defaults.
"""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

_PARAMS_BYTES = 1024


class _Params(ctypes.Structure):
    _fields_ = [("words", ctypes.c_uint32 * (_PARAMS_BYTES // 4))]


class _Batch(ctypes.Structure):
    _fields_ = [
        ("n_tokens", ctypes.c_int32),
        ("token", ctypes.POINTER(ctypes.c_int32)),
        ("embd", ctypes.POINTER(ctypes.c_float)),
        ("pos", ctypes.POINTER(ctypes.c_int32)),
        ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
        ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
        ("logits", ctypes.POINTER(ctypes.c_int8)),
    ]


_LOG_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


@_LOG_CALLBACK
def _silent(level: int, text: bytes, data: object) -> None:
    if level == 4:  # errors, which pytest shows when the test fails
        print("llama.cpp:", text.decode(errors="replace").rstrip())


@functools.cache
def _library() -> ctypes.CDLL:
    xllamacpp = pytest.importorskip("xllamacpp", reason="the peer, PyPI's xllamacpp, is not installed")
    (path,) = Path(xllamacpp.__file__).parent.glob("xllamacpp*.so")
    lib = ctypes.CDLL(str(path))
    pointer = ctypes.c_void_p
    signatures: dict[str, tuple[object, list[object]]] = {
        "llama_log_set": (None, [_LOG_CALLBACK, pointer]),
        "llama_backend_init": (None, []),
        "llama_model_default_params": (_Params, []),
        "llama_context_default_params": (_Params, []),
        "llama_model_load_from_file": (pointer, [ctypes.c_char_p, _Params]),
        "llama_model_free": (None, [pointer]),
        "llama_init_from_model": (pointer, [pointer, _Params]),
        "llama_free": (None, [pointer]),
        "llama_model_get_vocab": (pointer, [pointer]),
        "llama_vocab_n_tokens": (ctypes.c_int32, [pointer]),
        "llama_batch_init": (_Batch, [ctypes.c_int32] * 3),
        "llama_batch_free": (None, [_Batch]),
        "llama_decode": (ctypes.c_int32, [pointer, _Batch]),
        "llama_get_logits": (ctypes.POINTER(ctypes.c_float), [pointer]),
    }  # fmt: skip
    for name, (result, arguments) in signatures.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    lib.llama_log_set(_silent, None)
    lib.llama_backend_init()
    return lib


def logits(path: Path, tokens: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
    """Logits of every position, [tokens, vocabulary], of one sequence in one batch; KV type f16."""
    lib = _library()
    model = lib.llama_model_load_from_file(str(path).encode(), lib.llama_model_default_params())
    assert model, f"llama.cpp does not load {path}"
    context = None
    try:
        count = len(tokens)
        params = lib.llama_context_default_params()
        # n_ctx, n_batch, n_ubatch, n_seq_max
        assert list(params.words[:4]) == [512, 2048, 512, 1], "llama_context_params begins otherwise in this release"
        params.words[0] = params.words[1] = params.words[2] = max(count, 32)
        context = lib.llama_init_from_model(model, params)
        assert context, "llama.cpp made no context"
        batch = lib.llama_batch_init(count, 0, 1)
        try:
            batch.n_tokens = count
            for i, token in enumerate(tokens.tolist()):
                batch.token[i], batch.pos[i] = token, i
                batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = 1, 0, 1
            assert lib.llama_decode(context, batch) == 0
        finally:
            lib.llama_batch_free(batch)
        size = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))
        return np.ctypeslib.as_array(lib.llama_get_logits(context), shape=(count, size)).copy()
    finally:
        if context:
            lib.llama_free(context)
        lib.llama_model_free(model)
