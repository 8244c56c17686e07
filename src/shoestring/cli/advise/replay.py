"""`shoestring bench --replay FILE`: hit rates that recorded routes would have in caches of other sizes."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import typer

from shoestring.sizes import human
from shoestring.streaming.replay import hit_rates
from shoestring.streaming.routes import read_routes


def print_hit_rates(path: Path, as_json: bool) -> None:
    """A line for each size of the cache. Raises RequestError for a file that is missing or no recording."""
    routes = read_routes(path)
    rows = hit_rates(routes)
    tokens = sum(len(ids) for layer, ids in routes.records if layer == routes.layers[0].layer)
    experts = sum(layer.num_experts for layer in routes.layers)
    if as_json:
        facts = {"model": routes.model, "tokens": tokens, "experts": experts}
        typer.echo(json.dumps({**facts, "sizes": [asdict(row) for row in rows]}))
        return
    layers = f"{len(routes.layers)} layers, {routes.experts_per_token} experts a token"
    typer.echo(f"{routes.model}: {tokens} tokens, {layers}")
    typer.echo("in memory   experts       bytes   ours    LRU   optimum")
    for row in rows:
        rates = "".join(f"{100 * rate:7.1f}" for rate in (row.frequency, row.lru, row.optimum))
        typer.echo(f"{100 * row.share:8.1f} %{row.slots:10}{human(row.arena_bytes):>12}{rates}")
    typer.echo("Hits in % after a quarter of the recording. The optimum knows the future (Belady).")
