"""Read GGUF (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): parse metadata, map tensors.

Reads versions 2 and 3, little-endian, in one file or split (`name-00001-of-000NN.gguf`), and checks every size against
the file's. Parses the header from a copy, not from the map: reading a map kills the process if the file was truncated.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shoestring.checkpoint.formats.mapping import MappedFile, map_file
from shoestring.checkpoint.tensors import TENSOR_TYPES, Checkpoint, Tensor, by_name, is_name, shown
from shoestring.errors import CheckpointError
from shoestring.files import open_regular

Bytes = npt.NDArray[np.uint8]

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32

#: Names of tensor types in ggml.h; other numbers become GGML_TYPE_n.
GGML_TYPE_NAMES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1",
    10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K",
    16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS",
    24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 30: "BF16",
    34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4", 41: "Q1_0", 42: "Q2_0",
}  # fmt: skip

#: Value types by number; numeric ones as numpy dtypes
NUMBERS = {0: "u1", 1: "i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 10: "<u8", 11: "<i8", 12: "<f8"}
BOOL, STRING, ARRAY = 7, 8, 9

#: Limits on what a header can make us allocate, far above any real file.
_ARCHITECTURE_READ = 1 << 20
_FIRST_READ = 32 << 20
_LARGEST_HEADER = 128 << 20
#: Values of all arrays together: Qwen 3.5's tokens, their types and merges are 750,000.
_MOST_VALUES = 1 << 22
_MOST_KEYS, _MOST_TENSORS = 1 << 16, 1 << 18
_LARGEST_STRING = 1 << 26
_LARGEST_NAME = 1 << 16
_LARGEST_ALIGNMENT = 1 << 20
_MOST_DIMENSIONS = 4
_LARGEST_SIZE = (1 << 63) - 1
#: Bytes of the smallest key with a value and of the smallest tensor description
_SMALLEST_PAIR = 8 + 1 + 4 + 1
_SMALLEST_TENSOR = 8 + 1 + 4 + 8 + 4 + 8

_SPLIT_NAME = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")


def open_gguf(path: Path) -> Checkpoint:
    """Open one GGUF file, or all parts of the split that `path` belongs to.

    Raises CheckpointError if a file violates the format, a part is missing, or a tensor appears twice.
    """
    paths, number = _parts(path)
    shards = [_open_file(part) for part in paths]
    if number:
        _check_split(paths, shards)
    elif shards[0].metadata.get("split.count", 1) not in (0, 1):
        raise CheckpointError(
            f"{path} is one part of {shown(shards[0].metadata['split.count'])} but is not named …-00001-of-000NN.gguf: "
            "restore the original names of all parts"
        )
    return Checkpoint(
        path=path,
        format="gguf",
        tensors=by_name(tensor for shard in shards for tensor in shard.tensors.values()),
        metadata=shards[0].metadata,
        files=tuple(paths),
        identities=tuple(shard.file.identity for shard in shards),
    )


def read_architecture(path: Path) -> str | None:
    """`general.architecture` of a GGUF file, which is among its first keys; None if it cannot be read."""
    try:
        with open_regular(path, CheckpointError) as file:
            cursor = _Cursor(path, file.read(_ARCHITECTURE_READ))
        if cursor.take(len(MAGIC)) != MAGIC:
            return None
        _version, _num_tensors, num_pairs = (cursor.unsigned(code) for code in "IQQ")
        for index in range(num_pairs):
            key = cursor.name(f"key {index}")
            value = cursor.value(key)
            if key == "general.architecture":
                return value if isinstance(value, str) else None
    except (OSError, _Short, CheckpointError):
        pass
    return None


def _parts(path: Path) -> tuple[list[Path], int]:
    """All files of the split that `path` belongs to, and its number in it; `path` and 0 if it is no part."""
    match = _SPLIT_NAME.fullmatch(path.name)
    if match is None:
        return [path], 0
    number, count = int(match["number"]), int(match["count"])
    if not 1 <= number <= count:
        raise CheckpointError(f"{path} says it is part {number} of {count}: restore its original name")
    if count == 1:
        return [path], 0
    paths = [path.with_name(f"{match['stem']}-{n:05d}-of-{count:05d}.gguf") for n in range(1, count + 1)]
    missing = [part.name for part in paths if not part.exists()]
    if missing:
        raise CheckpointError(
            f"{path.parent}: {len(missing)} of {count} parts are missing, first {missing[0]}: download the rest"
        )
    return paths, number


def _check_split(paths: list[Path], shards: list[_Shard]) -> None:
    for index, (path, shard) in enumerate(zip(paths, shards, strict=True)):
        for key, want in (("split.no", index), ("split.count", len(paths))):
            if shard.metadata.get(key) != want:
                raise CheckpointError(
                    f"{path}: metadata {key} is {shown(shard.metadata.get(key))} but its name says {want}: "
                    "download it again, or restore its original name"
                )
    total = shards[0].metadata.get("split.tensors.count")
    count = sum(len(shard.tensors) for shard in shards)
    if total != count:
        raise CheckpointError(
            f"{paths[0]}: metadata split.tensors.count is {shown(total)}, but its parts contain {count} tensors"
        )


@dataclass(frozen=True)
class _Shard:
    file: MappedFile
    metadata: dict[str, Any]
    tensors: dict[str, Tensor]


class _Short(Exception):
    """The header is longer than the bytes that were read."""


def _open_file(path: Path) -> _Shard:
    file = map_file(path)
    for limit in (_FIRST_READ, _LARGEST_HEADER):
        header = file.head(limit)
        try:
            metadata, infos, end = _parse(path, header, len(file.data))
        except _Short:
            if len(header) < limit:
                raise CheckpointError(f"{path} ends inside its header: it is truncated, download it again") from None
            continue
        return _Shard(file, metadata, _place(path, file.data, metadata, infos, end))
    raise CheckpointError(f"{path}: its header is larger than {_LARGEST_HEADER} bytes: no model needs that")


@dataclass(frozen=True)
class _Info:
    """A tensor in the header. `sizes`: innermost first. `offset`: within the data section."""

    name: str
    sizes: tuple[int, ...]
    type: str
    offset: int


def _parse(path: Path, header: bytes, file_size: int) -> tuple[dict[str, Any], list[_Info], int]:
    """Metadata, tensor descriptions, and the offset at which the header ends."""
    cursor = _Cursor(path, header)
    if header[:4] != MAGIC[: len(header)]:
        raise CheckpointError(f"{path} does not begin with GGUF: it is not a GGUF file")
    cursor.position = 4
    version = cursor.unsigned("I")
    if version & 0xFFFF == 0 and version:
        raise CheckpointError(f"{path} is big-endian GGUF: convert it to little-endian")
    if version not in VERSIONS:
        raise CheckpointError(f"{path} is GGUF version {version}, supported are {VERSIONS}: convert it again")
    num_tensors, num_pairs = cursor.unsigned("Q"), cursor.unsigned("Q")
    for what, count, smallest, most in (
        ("keys", num_pairs, _SMALLEST_PAIR, _MOST_KEYS),
        ("tensors", num_tensors, _SMALLEST_TENSOR, _MOST_TENSORS),
    ):
        if count > file_size // smallest:
            raise CheckpointError(
                f"{path} claims {count} {what}, more than {file_size} bytes can hold: it is truncated or damaged"
            )
        if count > most:
            raise CheckpointError(f"{path} claims {count} {what}: at most {most} are valid")
    metadata: dict[str, Any] = {}
    for index in range(num_pairs):
        key = cursor.name(f"key {index}")
        if key in metadata:
            raise CheckpointError(f"{path}: metadata {key} appears twice: convert the model again")
        metadata[key] = cursor.value(key)
    infos = [_tensor_info(cursor, index) for index in range(num_tensors)]
    return metadata, infos, cursor.position


def _tensor_info(cursor: _Cursor, index: int) -> _Info:
    path = cursor.path
    name = cursor.name(f"the name of tensor {index}")
    num_dimensions = cursor.unsigned("I")
    if not 1 <= num_dimensions <= _MOST_DIMENSIONS:
        raise CheckpointError(
            f"{path}: tensor {name} has {num_dimensions} dimensions: 1 to {_MOST_DIMENSIONS} are valid"
        )
    sizes = tuple(cursor.unsigned("Q") for _ in range(num_dimensions))
    if not 0 < math.prod(sizes) <= _LARGEST_SIZE:
        raise CheckpointError(f"{path}: tensor {name} has sizes {sizes}, which are not valid")
    number, offset = cursor.unsigned("I"), cursor.unsigned("Q")
    return _Info(name, sizes, GGML_TYPE_NAMES.get(number, f"GGML_TYPE_{number}"), offset)


def _place(path: Path, data: Bytes, metadata: dict[str, Any], infos: list[_Info], header_end: int) -> dict[str, Tensor]:
    """Find each tensor's bytes in the mapped file; check that they are inside it, aligned, and do not overlap."""
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    valid = type(alignment) is int and 0 < alignment <= _LARGEST_ALIGNMENT and alignment & (alignment - 1) == 0
    if not valid:
        raise CheckpointError(f"{path}: metadata general.alignment is {shown(repr(alignment))}, not a power of two")
    start = -(-header_end // alignment) * alignment
    tensors: dict[str, Tensor] = {}
    by_offset = sorted(infos, key=lambda info: info.offset)
    for index, info in enumerate(by_offset):
        following = by_offset[index + 1] if index + 1 < len(by_offset) else None
        where = f"{path}: tensor {info.name}"
        if info.name in tensors:
            raise CheckpointError(f"{where} appears twice: convert the model again")
        if info.offset % alignment:
            raise CheckpointError(f"{where} has offset {info.offset}, not a multiple of the alignment {alignment}")
        begin = start + info.offset
        available = (start + following.offset if following else len(data)) - begin
        known = TENSOR_TYPES.get(info.type)
        # Give an unknown type all bytes up to the next tensor: binding refuses it later, with its name.
        size = max(available, 0) if known is None else _size(where, info, known.block_size, known.block_bytes)
        if begin + size > len(data) or (begin >= len(data)):
            raise CheckpointError(
                f"{where} ends at byte {begin + size}, the file has {len(data)}: it is truncated, download it again"
            )
        if size > available or available <= 0:
            raise CheckpointError(f"{where} overlaps {following.name if following else 'the end'}: convert it again")
        tensors[info.name] = Tensor(info.name, info.type, info.sizes[::-1], path, begin, data[begin : begin + size])
    return {info.name: tensors[info.name] for info in infos}


def _size(where: str, info: _Info, block_size: int, block_bytes: int) -> int:
    if info.sizes[0] % block_size:
        raise CheckpointError(f"{where} has rows of {info.sizes[0]}, not whole {info.type} blocks of {block_size}")
    return info.sizes[0] // block_size * block_bytes * math.prod(info.sizes[1:])


class _Cursor:
    """Reads the header's bytes in order; raises _Short at their end."""

    def __init__(self, path: Path, data: bytes) -> None:
        self.path = path
        self.data = data
        self.position = 0
        self.values = 0

    def unsigned(self, code: str) -> int:
        try:
            (value,) = struct.unpack_from("<" + code, self.data, self.position)
        except struct.error:
            raise _Short from None
        self.position += struct.calcsize(code)
        return int(value)

    def take(self, size: int) -> bytes:
        end = self.position + size
        if end > len(self.data):
            raise _Short
        start, self.position = self.position, end
        return self.data[start:end]

    def string(self, longest: int, what: Callable[[], str]) -> str:
        length = self.unsigned("Q")
        if length > longest:
            raise CheckpointError(f"{self.path}: {what()} claims {length} bytes of text: at most {longest} are valid")
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError as error:
            raise CheckpointError(f"{self.path}: {what()} is not UTF-8 ({error.reason}): convert it again") from None

    def name(self, what: str) -> str:
        name = self.string(_LARGEST_NAME, lambda: what)
        if not is_name(name):
            raise CheckpointError(f"{self.path}: {what} is {shown(name)}: empty, unprintable or too long")
        return name

    def value(self, key: str) -> Any:
        kind = self.unsigned("I")
        if kind == STRING:
            return self.string(_LARGEST_STRING, lambda: f"metadata {key}")
        if kind != ARRAY:
            return self.numbers(key, kind, 1)[0]
        kind, count = self.unsigned("I"), self.unsigned("Q")
        self.values += count
        if self.values > _MOST_VALUES:
            raise CheckpointError(
                f"{self.path}: metadata {key} claims {count} values: at most {_MOST_VALUES} are valid in all arrays"
            )
        if kind == ARRAY:
            raise CheckpointError(f"{self.path}: metadata {key} is an array of arrays, which no model needs")
        return self.strings(key, count) if kind == STRING else self.numbers(key, kind, count)

    def numbers(self, key: str, kind: int, count: int) -> list[Any]:
        if kind == BOOL:
            values = np.frombuffer(self.take(count), np.uint8)
            if count and values.max() > 1:
                raise CheckpointError(f"{self.path}: metadata {key} has a boolean that is neither 0 nor 1")
            return list(map(bool, values))
        if kind not in NUMBERS:
            raise CheckpointError(f"{self.path}: metadata {key} has value type {kind}, which GGUF does not define")
        dtype = np.dtype(NUMBERS[kind])
        return list(np.frombuffer(self.take(count * dtype.itemsize), dtype).tolist())

    def strings(self, key: str, count: int) -> list[str]:
        # Every start reads half a million strings of vocabulary and merges: make only the two calls that each needs.
        data, position, end = self.data, self.position, len(self.data)
        length_of = struct.Struct("<Q").unpack_from
        values: list[str] = []
        append = values.append
        try:
            for _ in range(count):
                (length,) = length_of(data, position)
                position += 8
                after = position + length
                if after > end:
                    if length > _LARGEST_STRING:
                        raise CheckpointError(
                            f"{self.path}: metadata {key}[{len(values)}] claims {length} bytes of text"
                        )
                    raise _Short
                append(data[position:after].decode())
                position = after
        except struct.error:
            raise _Short from None
        except UnicodeDecodeError as error:
            raise CheckpointError(f"{self.path}: metadata {key}[{len(values)}] is not UTF-8 ({error.reason})") from None
        self.position = position
        return values
