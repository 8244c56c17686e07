"""The parts of a model, and which part a weight belongs to by our name for it."""

from __future__ import annotations

from typing import Literal, get_args

Part = Literal[
    "embeddings", "attention", "delta_net", "feed_forward", "shared_experts", "routed_experts", "router", "norms",
    "vision", "mtp",
]  # fmt: skip
PARTS: tuple[Part, ...] = get_args(Part)

#: Pieces of our names that decide the part
_PARTS_BY_PIECE: dict[str, Part] = {
    "embedding": "embeddings", "head": "embeddings", "delta": "delta_net", "attention": "attention",
    "mlp": "feed_forward", "shared": "shared_experts", "experts": "routed_experts", "router": "router",
    "shared_gate": "router",
}  # fmt: skip


def part_of(name: str) -> Part:
    """The part of a weight of the text model. The head counts as embeddings, a mixer's norms as the mixer."""
    for piece in name.split("."):
        if piece in _PARTS_BY_PIECE:
            return _PARTS_BY_PIECE[piece]
    assert name.endswith("norm"), name
    return "norms"
