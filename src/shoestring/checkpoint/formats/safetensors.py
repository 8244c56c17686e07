"""Read Hugging Face folders: config.json, and safetensors with or without an index; parse headers, map tensors.

Implements the byte layout of safetensors (https://github.com/huggingface/safetensors, "Format") and checks every size
against the file's. The `safetensors` package hides the offsets that mapping needs.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shoestring.checkpoint.formats.json_file import parse_json, read_json
from shoestring.checkpoint.formats.mapping import MappedFile, map_file
from shoestring.checkpoint.tensors import Checkpoint, Tensor, by_name, is_name, shown
from shoestring.errors import CheckpointError

Bytes = npt.NDArray[np.uint8]

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"

#: Bytes per element of the format's types, except those smaller than a byte
_ELEMENT_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "F8_E8M0": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8, "C64": 8,
}  # fmt: skip

#: The format allows 100 MB; 200,000 tensors take 26 MB.
_LARGEST_HEADER = 40 << 20
_MOST_DIMENSIONS = 8


def has_safetensors(folder: Path) -> bool:
    """Whether a folder contains a Hugging Face checkpoint, complete or not."""
    return (folder / INDEX).exists() or any(folder.glob("*.safetensors"))


def open_safetensors(folder: Path) -> Checkpoint:
    """Open a folder with config.json and safetensors.

    Raises CheckpointError if a file violates the format or is missing, or if the index does not match the files.
    """
    config_path = folder / "config.json"
    if not config_path.exists():
        raise CheckpointError(f"{folder} has no config.json: download the whole repository")
    metadata = read_json(config_path)
    generation = read_json(folder / "generation_config.json", optional=True)
    weight_map = _weight_map(folder)
    if weight_map is None:
        paths = [_only_file(folder)]
    else:
        paths = [folder / name for name in sorted(set(weight_map.values()))]
        missing = [path.name for path in paths if not path.is_file()]
        if missing:
            raise CheckpointError(
                f"{folder}: {len(missing)} of {len(paths)} files of {INDEX} are missing, first {missing[0]}: "
                "download the rest"
            )
    files = [map_file(path) for path in paths]
    tensors = by_name(tensor for file in files for tensor in _tensors(file))
    if weight_map is not None:
        _check_index(folder / INDEX, weight_map, tensors)
    return Checkpoint(
        path=folder,
        format="safetensors",
        tensors=tensors,
        metadata=metadata,
        files=tuple(paths),
        identities=tuple(file.identity for file in files),
        generation_config=generation,
    )


def _weight_map(folder: Path) -> dict[str, str] | None:
    """The index: tensor name → file name; None if there is no index."""
    path = folder / INDEX
    if not path.exists():
        return None
    if (folder / SINGLE).exists():
        raise CheckpointError(f"{folder} contains both {SINGLE} and {INDEX}: remove one of them")
    weight_map = read_json(path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{path}: weight_map is missing or empty: download it again")
    for name, file in weight_map.items():
        # Allow only files of this folder: an index must not reach into others.
        plain = isinstance(file, str) and file.endswith(".safetensors") and not set(file) & set("/\\\0")
        if not plain:
            raise CheckpointError(f"{path}: weight_map puts {shown(name)} into {shown(file)}, which is not a file name")
    return weight_map


def _only_file(folder: Path) -> Path:
    if (folder / SINGLE).exists():
        return folder / SINGLE
    paths = sorted(folder.glob("*.safetensors"))
    if len(paths) != 1:
        raise CheckpointError(f"{folder} contains {len(paths)} safetensors files but no {INDEX}: download the index")
    return paths[0]


def _check_index(path: Path, weight_map: dict[str, str], tensors: dict[str, Tensor]) -> None:
    absent = [name for name, file in weight_map.items() if name not in tensors or tensors[name].file.name != file]
    unlisted = [name for name in tensors if name not in weight_map]
    for names, verb in ((absent, "lists"), (unlisted, "does not list")):
        if names:
            first = names[0]
            place = f"that is not in {weight_map[first]}" if verb == "lists" else f"of {tensors[first].file.name}"
            raise CheckpointError(
                f"{path} {verb} {len(names)} tensors {place}, first {shown(first)}: "
                "index and files are from different downloads: download them again"
            )


def _tensors(file: MappedFile) -> list[Tensor]:
    path, size = file.path, len(file.data)
    prefix = file.head(8)
    if len(prefix) < 8:
        raise CheckpointError(f"{path} has {size} bytes, too few for a header: it is truncated, download it again")
    (length,) = struct.unpack("<Q", prefix)
    if length > min(size - 8, _LARGEST_HEADER):
        raise CheckpointError(
            f"{path} claims a header of {length} bytes, the file has {size}, at most {_LARGEST_HEADER} are valid: "
            "it is truncated or not safetensors"
        )
    header = parse_json(f"{path}: its header", file.head(8 + length)[8:])
    header.pop("__metadata__", None)
    data = file.data[8 + length :]
    tensors = [_tensor(path, name, entry, data, 8 + length) for name, entry in header.items()]
    position = 0
    for tensor in sorted(tensors, key=lambda t: (t.offset, t.nbytes)):
        begin = tensor.offset - 8 - length
        if begin != position:
            trouble = "overlaps the tensor before it" if begin < position else f"leaves bytes from {position} unused"
            raise CheckpointError(f"{path}: tensor {tensor.name} at data offset {begin} {trouble}: download it again")
        position += tensor.nbytes
    if position != len(data):
        raise CheckpointError(f"{path}: its tensors take {position} bytes of data, the file has {len(data)}")
    return tensors


def _tensor(path: Path, name: str, entry: Any, data: Bytes, data_start: int) -> Tensor:
    where = f"{path}: tensor {shown(name)}"
    if not is_name(name):
        raise CheckpointError(f"{where} has a name that is empty, unprintable or too long: download it again")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise CheckpointError(f"{where} is not described by dtype, shape and data_offsets: download it again")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or not is_name(dtype):
        raise CheckpointError(f"{where} has dtype {shown(dtype)}, which is not a name")
    if not _are_counts(shape) or len(shape) > _MOST_DIMENSIONS:
        raise CheckpointError(f"{where} has shape {shown(shape)}, which is not valid")
    if not _are_counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise CheckpointError(f"{where} has data_offsets {shown(offsets)}, which is not a range")
    begin, end = offsets
    if end > len(data):
        raise CheckpointError(
            f"{where} ends at data byte {end}, the file has {len(data)}: it is truncated, download it again"
        )
    element_bytes = _ELEMENT_BYTES.get(dtype)
    if element_bytes is not None:
        size = element_bytes * math.prod(shape)
        if size != end - begin:
            raise CheckpointError(
                f"{where} of {shown(dtype)} {tuple(shape)} needs {size} bytes, its range has {end - begin}"
            )
    return Tensor(name, dtype, tuple(shape), path, data_start + begin, data[begin:end])


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(n) is int and 0 <= n < 1 << 63 for n in values)
