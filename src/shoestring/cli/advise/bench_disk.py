"""`shoestring bench --disk`: how fast the disk serves the reads of a model whose experts stream from it."""

from __future__ import annotations

import dataclasses
import json as json_module
import os
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from shoestring.cli.find import find
from shoestring.errors import CheckpointError
from shoestring.files import check_space

if TYPE_CHECKING:
    from shoestring.planning.hardware.disk import DiskSpeed

#: For a file that is no mixture of experts: bytes of a read, and reads at once.
READ_BYTES, IN_FLIGHT = 1 << 20, 8
#: Bytes of the temporary file that is read if none is given.
FILE_BYTES = 1 << 30


def bench_disk(model: str | None, json: bool) -> None:
    """Measure the disk of a model, of another file, or of the user's data folder; print and keep the speed.

    Raises RequestError for a file that cannot be read, CapacityError without space for a temporary file.
    """
    from shoestring.planning.hardware.detect import this_key
    from shoestring.planning.hardware.disk import mount_point, read_speed
    from shoestring.planning.hardware.kept import remember_disk

    with _file(model, FILE_BYTES) as (file, read_bytes, in_flight):
        speed = read_speed(file, read_bytes, in_flight)
        disk = mount_point(file)
    remember_disk(this_key(), disk, speed)
    typer.echo(json_module.dumps({"disk": disk, **dataclasses.asdict(speed)}) if json else described(disk, speed))


def measured_disk(file_bytes: int) -> tuple[str, DiskSpeed]:
    """Mount point and speed of the disk of the user's data folder, by a temporary file of so many bytes; kept too."""
    from shoestring.planning.hardware.detect import this_key
    from shoestring.planning.hardware.disk import mount_point, read_speed
    from shoestring.planning.hardware.kept import remember_disk

    with _file(None, file_bytes) as (file, read_bytes, in_flight):
        disk, speed = mount_point(file), read_speed(file, read_bytes, in_flight)
    remember_disk(this_key(), disk, speed)
    return disk, speed


def described(disk: str, speed: DiskSpeed) -> str:
    """One line about a disk."""
    how = "past the page cache" if speed.direct else "through the page cache, because its file system has no direct I/O"
    return (
        f"{speed.bytes_per_second / 1e9:.2f} GB/s from the disk at {disk}: {speed.reads} random reads of "
        f"{speed.read_bytes / 1e6:.2f} MB, {speed.in_flight} at once, {how}"
    )


@contextmanager
def _file(model: str | None, file_bytes: int) -> Iterator[tuple[Path, int, int]]:
    """A file to read, the bytes of a read, and how many to keep in flight."""
    if model is not None:
        path = Path(model)
        yield _reads(path if path.is_file() else find(model))
        return
    import platformdirs

    folder = Path(platformdirs.user_data_dir("shoestring", appauthor=False))
    folder.mkdir(parents=True, exist_ok=True)
    check_space(folder / "disk", file_bytes)
    with tempfile.NamedTemporaryFile(dir=folder, prefix="bench-disk-") as file:
        block = os.urandom(1 << 20)
        for _ in range(file_bytes // len(block)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        yield Path(file.name), READ_BYTES, IN_FLIGHT


def _reads(path: Path) -> tuple[Path, int, int]:
    """A model's largest file, the bytes of one expert's part, and the experts that a token chooses."""
    from shoestring.models.families import expert_layers
    from shoestring.models.weights import stored_bytes
    from shoestring.runtime.opening import open_model

    try:
        opened = open_model(path)
    except CheckpointError:
        if path.is_dir():
            raise
        return path, READ_BYTES, IN_FLIGHT  # any file tells the speed of its disk
    file = max(opened.checkpoint.files, key=lambda file: file.stat().st_size)
    layers = expert_layers(opened.config)
    if not layers:
        return file, READ_BYTES, IN_FLIGHT
    parts = [
        stored_bytes(opened.binding.sources[f"layers.{layer.layer}.experts.0.{part}"])
        for layer in layers
        for part in ("gate", "up", "down")
    ]
    return file, int(statistics.mean(parts)), opened.config.num_experts_per_tok
