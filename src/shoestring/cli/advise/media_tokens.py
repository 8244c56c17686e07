"""What pictures and videos cost in tokens: of `shoestring tokens --image FILE --video FILE`.

Sizes come from headers; a video's packets are counted. Nothing is decoded but a video's first frame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from shoestring.errors import CheckpointError, RequestError
from shoestring.files import read_input
from shoestring.media.pieces import timestamp_tokens
from shoestring.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from shoestring.media.settings import Settings, Wishes


@dataclass(frozen=True)
class Reader:
    """A model that reads pictures. tokens_of: the tokens of a text in its vocabulary."""

    model: str
    settings: Settings
    tokens_of: Callable[[str], int]


@dataclass(frozen=True)
class MediaCost:
    """Tokens of one picture or video in one model, markers and timestamps included; None: the model reads no video.

    width, height: as shown. seconds: 0 for a picture. shape: how the model reads it.
    """

    file: str
    kind: str
    format: str
    width: int
    height: int
    frames: int
    seconds: float
    model: str
    tokens: int | None
    shape: str


def media_costs(images: list[Path], videos: list[Path], readers: list[Reader], wishes: Wishes) -> list[MediaCost]:
    """The cost of each file in each model. Raises RequestError, CheckpointError."""
    from shoestring.media.headers import probe_picture
    from shoestring.media.limits import LIMITS
    from shoestring.media.settings import wished
    from shoestring.media.video import probe_video

    readers = [replace(reader, settings=wished(reader.settings, wishes)) for reader in readers]
    costs = []
    for path in images:
        picture = probe_picture(read_input(path, LIMITS.picture_bytes), str(path))
        facts = (str(path), "image", picture.format, picture.width, picture.height, picture.frames, 0.0)
        for reader in readers:
            cost = _picture_cost(picture.height, picture.width, reader)
            costs.append(MediaCost(*facts, reader.model, *cost))
    for path in videos:
        video = probe_video(read_input(path, LIMITS.video_bytes), str(path))
        video_facts = (str(path), "video", video.format, video.width, video.height, video.frames, video.seconds)
        for reader in readers:
            video_cost = _video_cost(video.height, video.width, video.frames, video.fps, reader)
            costs.append(MediaCost(*video_facts, reader.model, *video_cost))
    return costs


def lines(costs: list[MediaCost]) -> list[str]:
    """A line for each file, and below it one for each model."""
    width = max(len(cost.model) for cost in costs)
    printed, models = [], {cost.model for cost in costs}
    for number, cost in enumerate(costs):
        if number % len(models) == 0:
            length = f", {cost.seconds:,.1f} seconds, {cost.frames:,} frames" if cost.kind == "video" else ""
            printed.append(f"{printable(cost.file)}: {cost.width:,} × {cost.height:,} {cost.format}{length}")
        tokens = f"{cost.tokens:>9,} tokens" if cost.tokens is not None else f"{'-':>9}       "
        printed.append(f"  {cost.model:{width}}  {tokens}  {cost.shape}")
    return printed


def reader_of(name: str) -> Reader:
    """The processor of a folder, of a file's family, or of a model of the catalogue. Raises CheckpointError."""
    from shoestring.checkpoint.open import open_checkpoint
    from shoestring.cli.advise.vocabularies import open_tokenizer
    from shoestring.cli.find import find
    from shoestring.media.settings import mmproj_settings, read_settings

    try:
        path = find(name)
    except CheckpointError:
        family = _catalogue_family(name)
        if family is None:
            raise
        return Reader(name, published(family), timestamp_tokens)
    metadata = {} if path.is_dir() else open_checkpoint(path).metadata
    if metadata.get("general.architecture") == "clip":
        return Reader(name, mmproj_settings(metadata, str(path)), timestamp_tokens)
    tokenizer, family = open_tokenizer(name, path)
    settings = read_settings(path, family) if path.is_dir() else published(family)
    return Reader(name, settings, lambda text: len(tokenizer.encode(text)))


def published(family: str) -> Settings:
    """The published settings of qwen3_5 or llama4."""
    from shoestring.media.settings import LlamaSettings, QwenSettings

    return LlamaSettings() if family == "llama4" else QwenSettings()


def published_readers() -> list[Reader]:
    """Both families, where no model is named."""
    from shoestring.cli.advise.vocabularies import FAMILIES

    return [Reader(name, published(family), timestamp_tokens) for family, (name, _) in FAMILIES.items()]


def _picture_cost(height: int, width: int, reader: Reader) -> tuple[int, str]:
    from shoestring.media import llama4, qwen3_5
    from shoestring.media.pieces import token_count
    from shoestring.media.settings import LlamaSettings

    settings = reader.settings
    if isinstance(settings, LlamaSettings):
        tiling = llama4.tiling(height, width, settings)
        shape = f"{tiling.rows} × {tiling.columns} tiles" if tiling.tiles > 1 else "1 tile"
        return token_count(llama4.picture_pieces(tiling, settings), reader.tokens_of), shape
    grid = qwen3_5.picture_grid(height, width, settings)
    rows, columns = grid.rows * settings.patch_size, grid.columns * settings.patch_size
    return token_count(qwen3_5.picture_pieces(grid, settings), reader.tokens_of), f"read as {columns:,} × {rows:,}"


def _video_cost(height: int, width: int, frames: int, fps: float, reader: Reader) -> tuple[int | None, str]:
    from shoestring.media import qwen3_5
    from shoestring.media.pieces import token_count
    from shoestring.media.settings import LlamaSettings

    settings = reader.settings
    if isinstance(settings, LlamaSettings):
        return None, "reads no video: give frames as pictures"
    plan = qwen3_5.plan_video(height, width, frames, fps, settings)
    shape = f"{len(plan.indices):,} frames, read as {plan.width:,} × {plan.height:,}"
    return token_count(qwen3_5.video_pieces(plan, settings), reader.tokens_of), shape


def _catalogue_family(name: str) -> str | None:
    """The family of a model of the catalogue that reads pictures, by id or alias."""
    from shoestring.catalogue.load import builtin_catalogue

    for row in builtin_catalogue().models.values():
        if name.casefold() in {row.id.casefold(), *(alias.casefold() for alias in row.aliases)}:
            if "image" not in row.modalities:
                raise RequestError(f"{row.name} reads no pictures")
            return row.family
    return None
