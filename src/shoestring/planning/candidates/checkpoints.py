"""Candidates outside the catalogue: a local file or folder, or a Hub repository. Reads only headers.

From a Hub repository it downloads config.json and, if there are safetensors, their headers by range requests.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from shoestring import bounded_json
from shoestring.checkpoint.config.parse import parse_config
from shoestring.checkpoint.config.types import Config
from shoestring.checkpoint.names.bind import Binding, bind
from shoestring.checkpoint.names.parts import Part
from shoestring.checkpoint.open import open_checkpoint
from shoestring.checkpoint.summary import summarize
from shoestring.errors import CheckpointError, RequestError
from shoestring.models.shapes import wanted_shapes
from shoestring.models.sizes import parameters
from shoestring.models.weights import loaded_bytes
from shoestring.planning.candidates.candidates import Candidate, OnDisk, config_of
from shoestring.planning.candidates.formats import NOT_LOADED
from shoestring.planning.candidates.shapes import all_shapes, text_shapes
from shoestring.streaming.embedding import packed_bytes, recent_bytes, stored_source
from shoestring.streaming.sources import expert_sources

TIMEOUT_SECONDS = 10
LARGEST_CONFIG = 16 * 2**20


def from_path(path: Path) -> Candidate:
    """A local checkpoint with its stored bytes. Raises CheckpointError if it cannot be opened."""
    checkpoint = open_checkpoint(path)
    config = parse_config(checkpoint)
    binding = bind(config, checkpoint, wanted_shapes(config))
    stored: Counter[str] = Counter()
    for (part, _), size in summarize(config, checkpoint, binding).source_bytes.items():
        stored[part] += size
    loaded = loaded_bytes(config, binding)
    multimodal = checkpoint.format == "safetensors"
    shapes = all_shapes(config, checkpoint.metadata) if multimodal else text_shapes(config)
    return Candidate(
        path.name, path.name, config, shapes, parameters(config), None, str(path), local=True,
        stored=tuple(stored.items()), loaded=tuple(loaded.items()), on_disk=_on_disk(config, binding),
    )  # fmt: skip


def _on_disk(config: Config, binding: Binding) -> OnDisk | None:
    """None for a dense model, and for experts that are converted when they are loaded."""
    try:
        layers = tuple(layer.nbytes for layer in expert_sources(config, binding))
    except CheckpointError:
        return None
    if not layers:
        return None
    source = stored_source(config, binding)
    return OnDisk(layers) if source is None else OnDisk(layers, packed_bytes(source), recent_bytes(source))


def from_hub(name: str) -> Candidate:
    """A Hub repository, from its config and tensor headers only.

    Raises RequestError without a network, or if the repository or its config does not exist.
    """
    metadata = _hub_config(name)
    config = config_of(metadata, name)
    stored, loaded = _hub_bytes(name)
    shapes = all_shapes(config, metadata)
    return Candidate(
        name, name.split("/")[-1], config, shapes, parameters(config), None, name, stored=stored, loaded=loaded
    )


def _hub_config(name: str) -> dict[str, Any]:
    """Download config.json with one request: the Hub client would retry for minutes if the Hub is unreachable."""
    import urllib.error
    import urllib.request

    from huggingface_hub import constants, get_token

    request = urllib.request.Request(f"{constants.ENDPOINT}/{name}/resolve/main/config.json")
    if token := get_token():
        request.add_header("Authorization", f"Bearer {token}")
    if constants.HF_HUB_OFFLINE:
        raise RequestError(f"{name} is not in the catalogue and HF_HUB_OFFLINE is set: give a file or a catalogue name")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            data = bounded_json.loads(answer.read(LARGEST_CONFIG))
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            raise RequestError(
                f"{name}: the Hub denies access: check the name, accept the model's terms, then run `hf auth login`"
            ) from error
        raise RequestError(f"{name}: the Hub returned {error.code} for its config.json: check the name") from error
    except (OSError, ValueError) as error:
        raise RequestError(
            f"{name} is not in the catalogue and {constants.ENDPOINT} cannot be reached: give a file or a known name"
        ) from error
    if not isinstance(data, dict):
        raise RequestError(f"{name}: config.json is not a JSON object")
    return data


def _hub_bytes(name: str) -> tuple[tuple[tuple[str, int], ...], tuple[tuple[str, int], ...]]:
    """Bytes by part from the safetensors headers, in the files and loaded; () if they are not available."""
    from huggingface_hub import get_safetensors_metadata

    try:
        files = get_safetensors_metadata(name).files_metadata.values()
    except Exception:
        return (), ()
    stored: Counter[str] = Counter()
    loaded: Counter[str] = Counter()
    for file in files:
        for tensor, info in file.tensors.items():
            part = hub_part(tensor)
            begin, end = info.data_offsets
            stored[part] += end - begin
            if part not in NOT_LOADED:  # FP8 is widened to float32
                loaded[part] += (4 if str(info.dtype) == "F8_E4M3" else 1) * (end - begin)
    return tuple(stored.items()), tuple(loaded.items())


def hub_part(tensor: str) -> Part:
    """The part of a tensor by its Hugging Face name."""
    rules: tuple[tuple[str, Part], ...] = (
        ("mtp.", "mtp"), ("visual.", "vision"), ("vision_", "vision"), ("multi_modal_projector", "vision"),
        ("embed_tokens", "embeddings"), ("lm_head", "embeddings"), ("linear_attn", "delta_net"),
        ("self_attn", "attention"), ("shared_expert", "shared_experts"), (".experts.", "routed_experts"),
        (".router", "router"), ("mlp.gate.", "router"), ("norm", "norms"),
    )  # fmt: skip
    return next((part for piece, part in rules if piece in tensor), "feed_forward")
