"""Recorded routes: which experts every row chose, without any text. From these, replays find the hit rate of any cache.

A file is MAGIC, the length of a JSON header (u32), the header, and a record for every step and layer: layer (u16), rows
(u32), and ids [rows, k] (u16); all little-endian.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shoestring import bounded_json, ops
from shoestring.errors import RequestError
from shoestring.files import check_writable, read_bytes, write_whole
from shoestring.models.experts import Experts
from shoestring.streaming.slots import ExpertBytes

MAGIC = b"shoestring routes 1\n"
#: Bytes of a file: 200,000 tokens of a model with 48 layers and 8 experts a token.
MOST_BYTES = 160 << 20
#: A recording is saved when it has so many bytes, then each time it has doubled: a killed process loses half at most.
_FIRST_SAVE = 1 << 20
_LENGTH, _RECORD = struct.Struct("<I"), struct.Struct("<HI")
_LARGEST_HEADER = 1 << 20
_MOST_LAYERS, _MOST_EXPERTS = 4096, 1 << 16

Ids = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Routes:
    """records: layer and ids [rows, k] of every step, in the order in which they were computed."""

    model: str
    experts_per_token: int
    layers: tuple[ExpertBytes, ...]
    records: tuple[tuple[int, Ids], ...]


class RouteRecorder:
    """Writes the routes of a process to one file."""

    def __init__(
        self,
        path: Path,
        model: str,
        layers: Sequence[ExpertBytes],
        experts_per_token: int,
        warn: Callable[[str], None],
    ) -> None:
        """Raises RequestError now if `path` cannot become such a file."""
        check_writable(path, begins=MAGIC)
        header = {
            "model": model,
            "experts_per_token": experts_per_token,
            "layers": [asdict(layer) for layer in layers],
        }
        text = json.dumps(header).encode()
        self._path = path
        self._warn = warn
        self._data = bytearray(MAGIC + _LENGTH.pack(len(text)) + text)
        self._next_save = _FIRST_SAVE
        self._saved = 0
        self._is_full = False

    def record(self, layer: int, ids: ops.Int32) -> None:
        """The experts of a step's rows in a layer, [rows, k]. After MOST_BYTES, nothing more is recorded."""
        nbytes = _RECORD.size + 2 * ids.size
        if len(self._data) + nbytes > MOST_BYTES:
            if not self._is_full:
                self._is_full = True
                self.save()
                self._warn(f"{self._path} has {len(self._data)} bytes: routes are no longer recorded")
            return
        self._data += _RECORD.pack(layer, len(ids)) + ids.astype("<u2").tobytes()
        if len(self._data) >= self._next_save:
            self._next_save *= 2
            self.save()

    def save(self) -> None:
        """Write all records that are not in the file yet. Raises CapacityError, RequestError."""
        if self._saved < len(self._data):
            with write_whole(self._path, begins=MAGIC) as file:
                file.write(self._data)
            self._saved = len(self._data)


class RecordedExperts:
    """Experts whose routes are recorded. Implements `models.experts.Experts`."""

    def __init__(self, experts: Experts, recorder: RouteRecorder) -> None:
        self._experts = experts
        self._recorder = recorder

    def guesses(self, rows: int) -> bool:
        return self._experts.guesses(rows)

    def guess(self, layer: int, ids: ops.Int32) -> None:
        self._experts.guess(layer, ids)

    def request(self, layer: int, ids: ops.Int32) -> None:
        self._experts.request(layer, ids)

    def apply(
        self,
        ws: ops.Workspace,
        layer: int,
        x: ops.Float32,
        ids: ops.Int32,
        weights: ops.Float32,
        *,
        scale_input: bool,
    ) -> ops.Float32:
        self._recorder.record(layer, ids)
        return self._experts.apply(ws, layer, x, ids, weights, scale_input=scale_input)


def read_routes(path: Path) -> Routes:
    """The routes of a file. Raises RequestError if it is missing or is not such a file."""
    try:
        data = read_bytes(path, MOST_BYTES)
    except FileNotFoundError:
        raise RequestError(f"{path} does not exist") from None
    if not data.startswith(MAGIC):
        raise RequestError(f"{path} has no recorded routes: record them with --record-routes {path.name}")
    begin = len(MAGIC) + _LENGTH.size
    if len(data) < begin:
        raise RequestError(f"{path} ends inside its header: record it again")
    length = _LENGTH.unpack_from(data, len(MAGIC))[0]
    header = _header(path, data[begin : begin + min(length, _LARGEST_HEADER + 1)], length)
    model, experts_per_token, layers = header
    records = tuple(_records(path, data, begin + length, {layer.layer: layer for layer in layers}, experts_per_token))
    return Routes(model, experts_per_token, layers, records)


def _header(path: Path, text: bytes, length: int) -> tuple[str, int, tuple[ExpertBytes, ...]]:
    try:
        if len(text) != length:
            raise ValueError("its header has another length")
        header = bounded_json.loads(text)
        layers = tuple(
            ExpertBytes(
                _whole(layer["layer"], 0, _MOST_LAYERS),
                _whole(layer["num_experts"], 1, _MOST_EXPERTS),
                _whole(layer["slot_bytes"], 1, 1 << 40),
                _whole(layer["stored_bytes"], 1, 1 << 40),
            )
            for layer in header["layers"]
        )
        experts_per_token = _whole(header["experts_per_token"], 1, min(layer.num_experts for layer in layers))
        if len({layer.layer for layer in layers}) != len(layers):
            raise ValueError("a layer appears twice")
        return str(header["model"]), experts_per_token, layers
    except (KeyError, TypeError, ValueError) as error:
        raise RequestError(f"{path} is damaged in its header ({error}): record it again") from None


def _records(
    path: Path, data: bytes, position: int, layers: dict[int, ExpertBytes], experts_per_token: int
) -> Iterator[tuple[int, Ids]]:
    while position < len(data):
        end = position + _RECORD.size
        layer, rows = _RECORD.unpack_from(data, position) if end <= len(data) else (-1, 0)
        nbytes = 2 * rows * experts_per_token
        if layer not in layers or not rows or end + nbytes > len(data):
            raise RequestError(f"{path} is damaged at byte {position}: record it again")
        ids: Ids = np.frombuffer(data, "<u2", rows * experts_per_token, end).reshape(rows, experts_per_token)
        if int(ids.max()) >= layers[layer].num_experts:
            raise RequestError(f"{path} is damaged at byte {position}: layer {layer} has no expert {int(ids.max())}")
        yield layer, ids
        position = end + nbytes


def _whole(value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{str(value)[:40]} is not from {least} to {most}")
    return value
