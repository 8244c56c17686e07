"""The parts of a model, and which part a weight belongs to by our name for it."""

from __future__ import annotations

from typing import Literal, get_args

Part = Literal[
    "embeddings", "attention", "delta_net", "feed_forward", "shared_experts", "routed_experts", "router", "norms",
    "vision", "mtp",
]  # fmt: skip
PARTS: tuple[Part, ...] = get_args(Part)


def part_of(name: str) -> Part:
    """The part of a weight of the text model. The head counts as embeddings, a mixer's norms as the mixer."""
    pieces = name.split(".")
    if pieces[0] in ("embedding", "head"):
        return "embeddings"
    if "delta" in pieces:
        return "delta_net"
    if "attention" in pieces:
        return "attention"
    if "mlp" in pieces:
        return "feed_forward"
    if "shared" in pieces:
        return "shared_experts"
    if "experts" in pieces:
        return "routed_experts"
    if pieces[-1] in ("router", "shared_gate"):
        return "router"
    assert pieces[-1].endswith("norm"), name
    return "norms"
