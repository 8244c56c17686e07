"""Candidates that the catalogue does not know: a local file or folder, a Hub repository. Headers only.

A Hub repository is asked for its config.json and, where it has safetensors, for their headers by range requests.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from shoestring.checkpoint.config import parse_config
from shoestring.checkpoint.names import bind
from shoestring.checkpoint.open import open_checkpoint
from shoestring.checkpoint.summary import summarize
from shoestring.errors import RequestError
from shoestring.models.sizes import parameters
from shoestring.planning.models import Candidate, config_of
from shoestring.planning.shapes import all_shapes, text_shapes

#: part of a bound checkpoint → part of a plan
PARTS = {
    "embedding": "embeddings", "embeddings": "embeddings", "head": "embeddings", "attention": "attention",
    "delta_net": "delta_net", "router": "router", "shared_experts": "shared_experts", "shared_expert": "shared_experts",
    "routed_experts": "routed_experts", "dense": "feed_forward", "feed_forward": "feed_forward", "mlp": "feed_forward",
    "norm": "norms", "norms": "norms",
}  # fmt: skip


def from_path(path: Path) -> Candidate:
    """A checkpoint on this machine, with its bytes as stored. Raises CheckpointError as opening it does."""
    checkpoint = open_checkpoint(path)
    config = parse_config(checkpoint)
    summary = summarize(config, checkpoint, bind(config, checkpoint))
    by_part: dict[str, int] = {}
    for (part, _), size in summary.source_bytes.items():
        name = PARTS.get(part, "feed_forward")
        by_part[name] = by_part.get(name, 0) + size
    multimodal = checkpoint.format == "safetensors"
    shapes = all_shapes(config, checkpoint.metadata) if multimodal else text_shapes(config)
    return Candidate(path.name, path.name, config, shapes, parameters(config), None, str(path), tuple(by_part.items()))


def from_hub(name: str) -> Candidate:
    """A repository of the Hub by its config and tensor headers; nothing else is fetched.

    Raises RequestError without a network, for an unknown repository and for one without a config.
    """
    metadata = _hub_config(name)
    config = config_of(metadata, name)
    stored = _hub_bytes(name)
    return Candidate(name, name.split("/")[-1], config, all_shapes(config, metadata), parameters(config), None, name, stored)


def _hub_config(name: str) -> dict[str, Any]:
    from huggingface_hub import hf_hub_download

    try:
        path = hf_hub_download(name, "config.json")
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError) as error:
        raise _unreachable(name, error) from error
    except Exception as error:  # the HTTP library's own classes
        raise _unreachable(name, error) from error
    if not isinstance(data, dict):
        raise RequestError(f"{name}: config.json is no object")
    return data


def _hub_bytes(name: str) -> tuple[tuple[str, int], ...]:
    """Bytes by part from the safetensors headers; () where a repository has none or they cannot be had."""
    from huggingface_hub import get_safetensors_metadata

    try:
        files = get_safetensors_metadata(name).files_metadata.values()
    except Exception:
        return ()
    by_part: dict[str, int] = {}
    for file in files:
        for tensor, info in file.tensors.items():
            part = hub_part(tensor)
            begin, end = info.data_offsets
            by_part[part] = by_part.get(part, 0) + end - begin
    return tuple(by_part.items())


def hub_part(tensor: str) -> str:
    """The part of a tensor by its Hugging Face name."""
    rules = (
        ("mtp.", "mtp"), ("visual.", "vision"), ("vision_", "vision"), ("multi_modal_projector", "vision"),
        ("embed_tokens", "embeddings"), ("lm_head", "embeddings"), ("linear_attn", "delta_net"),
        ("self_attn", "attention"), ("shared_expert", "shared_experts"), (".experts.", "routed_experts"),
        (".router", "router"), ("mlp.gate.", "router"), ("norm", "norms"),
    )  # fmt: skip
    return next((part for piece, part in rules if piece in tensor), "feed_forward")


def _unreachable(name: str, error: Exception) -> RequestError:
    kind = type(error).__name__
    if "NotFound" in kind:
        return RequestError(f"{name}: the Hub has no such repository, or it has no config.json")
    if "Gated" in kind or "401" in str(error) or "403" in str(error):
        return RequestError(f"{name}: the Hub asks for an account that accepted its licence: log in with `hf auth login`")
    return RequestError(
        f"{name} is not in the catalogue and the Hub cannot be reached ({kind}): give a local file, or a catalogue name"
    )
