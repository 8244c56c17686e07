"""Write GGUF v3 (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): metadata, then the tensors as a stream."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shoestring.checkpoint.formats import gguf
from shoestring.checkpoint.tensors import TENSOR_TYPES, WEIGHT_TYPES
from shoestring.errors import CheckpointError, RequestError
from shoestring.files import reason, write_whole

Progress = Callable[[int, int], None]
"""Called with (bytes written, bytes in total)."""

#: numpy kind and width → GGUF value type
_SCALARS = {dtype.lstrip("<"): number for number, dtype in gguf.NUMBERS.items()} | {"b1": gguf.BOOL}
#: type → ggml's number, of the types that we write
_GGML_TYPES = {name: number for number, name in gguf.GGML_TYPE_NAMES.items() if name in WEIGHT_TYPES}


@dataclass(frozen=True)
class OutgoingTensor:
    """A tensor to write. `shape`: outermost dimension first. `chunks()`: its bytes in order, produced when needed."""

    name: str
    type: str
    shape: tuple[int, ...]
    chunks: Callable[[], Iterable[npt.NDArray[np.uint8] | bytes | memoryview]]

    @property
    def nbytes(self) -> int:
        kind = TENSOR_TYPES[self.type]
        rows = int(np.prod(self.shape[:-1], dtype=np.int64))
        return rows * (self.shape[-1] // kind.block_size) * kind.block_bytes


def write_gguf(
    path: Path, metadata: Mapping[str, Any], tensors: Sequence[OutgoingTensor], progress: Progress | None = None
) -> None:
    """Write `path` completely or not at all; an existing GGUF file stays until then, and no other file is replaced.

    Metadata values: str, bool, numpy scalars and arrays (the file gets their dtype), lists of str. A Python int becomes
    uint32 (int64 if it does not fit), a float becomes float32, a list of ints int32, other lists of numbers float32.

    Raises CapacityError if the disk is full, RequestError if `path` is another file or its folder is not writable,
    CheckpointError for a type that GGUF does not have.
    """
    for tensor in tensors:
        _check(path, tensor)
    header = _header(metadata, tensors)
    total = len(header) + sum(_padded(t.nbytes) for t in tensors)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"cannot write {path} ({reason(error)}): choose a writable folder") from None
    with write_whole(path, begins=gguf.MAGIC, size=total) as file:
        file.write(header)
        done = len(header)
        for tensor in tensors:
            written = 0
            for chunk in tensor.chunks():
                written += file.write(chunk.data if isinstance(chunk, np.ndarray) else chunk)
                if progress is not None:
                    progress(done + written, total)
            if written != tensor.nbytes:
                raise CheckpointError(f"{path}: tensor {tensor.name} needs {tensor.nbytes} bytes, got {written}")
            file.write(bytes(_padded(written) - written))
            done += _padded(written)
    if progress is not None:
        progress(total, total)


def _check(path: Path, tensor: OutgoingTensor) -> None:
    if tensor.type not in _GGML_TYPES:
        raise CheckpointError(
            f"{path}: tensor {tensor.name} has type {tensor.type}, which this version cannot write to GGUF"
        )
    block = TENSOR_TYPES[tensor.type].block_size
    if not tensor.shape or tensor.shape[-1] % block:
        raise CheckpointError(f"{path}: rows of tensor {tensor.name} {tensor.shape} are not whole blocks of {block}")


def _header(metadata: Mapping[str, Any], tensors: Sequence[OutgoingTensor]) -> bytes:
    parts = [gguf.MAGIC, struct.pack("<IQQ", gguf.VERSIONS[-1], len(tensors), len(metadata))]
    for key, value in metadata.items():
        parts += [_string(key), _typed(key, value)]
    offset = 0
    for tensor in tensors:
        sizes = tensor.shape[::-1]  # GGUF: innermost first
        parts.append(_string(tensor.name))
        parts.append(struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes))
        parts.append(struct.pack("<IQ", _GGML_TYPES[tensor.type], offset))
        offset += _padded(tensor.nbytes)
    header = b"".join(parts)
    return header + bytes(_padded(len(header)) - len(header))


def _typed(key: str, value: Any) -> bytes:
    """The value's type number and bytes."""
    if isinstance(value, str):
        return struct.pack("<I", gguf.STRING) + _string(value)
    if isinstance(value, list | tuple) and value and all(isinstance(item, str) for item in value):
        return struct.pack("<IIQ", gguf.ARRAY, gguf.STRING, len(value)) + b"".join(map(_string, value))
    dtype = np.dtype(_dtype(key, value))
    number = _SCALARS.get(dtype.str[1:])
    if number is None:
        raise CheckpointError(f"metadata {key} has dtype {dtype}, which GGUF has no type for")
    array = np.asarray(value, dtype.newbyteorder("<"))
    if isinstance(value, list | tuple | np.ndarray):
        return struct.pack("<IIQ", gguf.ARRAY, number, array.size) + array.tobytes()
    return struct.pack("<I", number) + array.tobytes()


def _dtype(key: str, value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype
    if isinstance(value, list | tuple):
        if all(isinstance(item, bool) for item in value):
            return np.bool_
        return np.int32 if all(isinstance(item, int) for item in value) else np.float32
    if isinstance(value, bool):
        return np.bool_
    if isinstance(value, int):
        return np.uint32 if 0 <= value < 1 << 32 else np.int64
    if isinstance(value, float):
        return np.float32
    raise CheckpointError(f"metadata {key} is a {type(value).__name__}, which GGUF has no type for")


def _string(text: str) -> bytes:
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def _padded(size: int) -> int:
    return -(-size // gguf.DEFAULT_ALIGNMENT) * gguf.DEFAULT_ALIGNMENT
