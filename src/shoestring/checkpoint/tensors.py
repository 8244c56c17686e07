"""The result of reading any checkpoint format: `Checkpoint` and its `Tensor`s, and the table of tensor types."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from shoestring.errors import CheckpointError


@dataclass(frozen=True)
class TensorType:
    """A storage type: `block_size` consecutive elements of a row occupy `block_bytes` bytes.

    packed_bytes: bytes of the blocks of 16 rows in the kernels' layout; 0 for a type that the kernels do not support.
    activation_block: the columns for which a product quantizes the activations together; 0: it reads them as floats.
    The kernels have the same table (FORMATS of kernels/types.h); a test compares the two.
    """

    name: str
    block_size: int
    block_bytes: int
    packed_bytes: int = 0
    activation_block: int = 0


#: The types that we read. Block formats are those of ggml's `ggml-common.h`.
TENSOR_TYPES: dict[str, TensorType] = {
    t.name: t
    for t in (
        TensorType("F32", 1, 4, 64),
        TensorType("F16", 1, 2, 32),
        TensorType("BF16", 1, 2, 32),
        TensorType("Q8_0", 32, 34, 544, 32),
        TensorType("Q4_0", 32, 18, 288, 32),
        TensorType("Q4_1", 32, 20, 320, 32),
        TensorType("Q5_0", 32, 22, 352, 32),
        TensorType("Q4_K", 256, 144, 2368, 256),
        TensorType("Q5_K", 256, 176, 2880, 256),
        TensorType("Q6_K", 256, 210, 3360, 256),
        TensorType("F8_E4M3", 1, 1),
    )
}

#: The types that the kernels support, in their order
WEIGHT_TYPES = tuple(name for name, t in TENSOR_TYPES.items() if t.packed_bytes)


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file.

    `shape`: outermost dimension first (numpy order); a GGUF tensor with ne = [in, out] has shape (out, in).
    `data`: [nbytes] uint8, a read-only view of the mapped file.
    `type`: a key of TENSOR_TYPES, or the file's own name of another type.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    file: Path
    offset: int
    data: npt.NDArray[np.uint8] = field(repr=False, compare=False)

    @property
    def nbytes(self) -> int:
        return self.data.nbytes


@dataclass(frozen=True)
class Checkpoint:
    """An open checkpoint with mapped tensors.

    `metadata`: config.json of a Hugging Face folder, or the key-value section of a GGUF file (as int, float, bool, str
    and lists of them). `generation_config`: that file of a Hugging Face folder; empty if there is none.
    `identities`: (device, inode, size, mtime in ns) of each of `files` when it was opened, for `open.check_unchanged`.
    """

    path: Path
    format: Literal["gguf", "safetensors"]
    tensors: dict[str, Tensor]
    metadata: dict[str, Any]
    files: tuple[Path, ...]
    identities: tuple[tuple[int, int, int, int], ...] = ()
    generation_config: dict[str, Any] = field(default_factory=dict)


def by_name(tensors: Iterable[Tensor]) -> dict[str, Tensor]:
    """The tensors of all files of a checkpoint. Raises CheckpointError if two have the same name."""
    result: dict[str, Tensor] = {}
    for tensor in tensors:
        other = result.setdefault(tensor.name, tensor)
        if other is not tensor:
            raise CheckpointError(f"{tensor.file}: tensor {tensor.name} is also in {other.file}: download both again")
    return result


def is_name(text: str) -> bool:
    """Whether a name from a file is safe to use and print; names of real models are."""
    return 0 < len(text) <= 1024 and text.isprintable()


def shown(value: object) -> str:
    """A value from a file, for an error message: one line, at most 80 characters, no control characters."""
    text = value if isinstance(value, str) and value.isprintable() else repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
