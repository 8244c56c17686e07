"""Words, sizes and table cells that text, HTML and charts share."""

from __future__ import annotations

from shoestring.planning.assess import Assessment
from shoestring.planning.streamed.speed import tokens_per_second

WHERE = {"gpu": "GPU", "ram": "RAM", "gpu+ram": "GPU + RAM", "disk": "RAM + disk", "no": "does not fit"}
PARTS = {
    "embeddings": "embeddings", "attention": "attention", "delta_net": "delta-net", "feed_forward": "feed-forward",
    "shared_experts": "shared experts", "routed_experts": "routed experts", "router": "router", "norms": "norms",
    "vision": "vision", "mtp": "multi-token prediction", "sequences": "context and state", "workspace": "workspace",
}  # fmt: skip


def size(count: float) -> str:
    """A size in decimal gigabytes, as disks and model cards use them."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"


def overview(a: Assessment) -> dict[str, str]:
    """A model's line in the table of models, by column."""
    offer = a.cost.cheapest
    return {
        "type": a.need.sizes.type,
        "needs": size(a.need.total_bytes),
        "placed in": WHERE[a.placement.fit],
        "decode": tokens_per_second(a.speed.decode).replace("tokens", "t") if a.speed.decode else "–",
        "prefill": f"{a.speed.prefill:,.0f} t/s" if a.speed.prefill else "–",
        "context": f"{a.longest_context:,}" if a.longest_context else "–",
        "users": f"{a.most_users:,}" if a.most_users else "–",
        "own $/M": f"{a.cost.usd_per_million:,.2f}" if a.cost.usd_per_million else "–",
        "hosted $/M": f"{offer.usd_per_million:,.2f}" if offer else "–",
        "difficulty": a.difficulty,
    }


def places(a: Assessment) -> dict[str, dict[str, int]]:
    """Bytes in memory by place and part. A model that does not run has one place, ""."""
    by_place = {"GPU": a.placement.gpu, "RAM": a.placement.ram, "disk": a.placement.disk}
    if a.placement.fit == "no":
        needed = {str(part): count for part, count in a.need.sizes.by_part}
        by_place = {"": needed | {"sequences": a.need.sequences_bytes}}
    return {place: {part: count for part, count in sizes.items() if part != "mtp"} for place, sizes in by_place.items()}
