"""How Shoestring splits a mixture between memory and disk, and how often a token's experts are in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shoestring.admission import Streaming
from shoestring.checkpoint.config.types import Config
from shoestring.errors import RequestError
from shoestring.models.families import expert_layers
from shoestring.spelling import option
from shoestring.streaming.predict import HitCurve, published_curve, recorded_curve
from shoestring.streaming.routes import Routes, read_routes
from shoestring.streaming.slots import ExpertBytes


@dataclass(frozen=True)
class Streamed:
    """A budget as `admission.plan_streaming` splits it. Bytes in memory but for those of `layers`."""

    streaming: Streaming
    layers: tuple[ExpertBytes, ...]
    #: weights without experts and without rows of an embedding that stay on disk
    resident_bytes: int
    state_bytes: int
    workspace_bytes: int
    #: the least budget that works, and the one that this is the split of
    least_bytes: int
    budget_bytes: int

    @property
    def experts_per_token(self) -> int:
        return self.streaming.slots.experts_per_token

    @property
    def slots(self) -> int:
        return self.streaming.slots.slots

    @property
    def share(self) -> float:
        """Share of all experts that are in memory."""
        return self.streaming.slots.share

    @property
    def stored_bytes(self) -> int:
        """Bytes of all experts in the file."""
        return sum(layer.num_experts * layer.stored_bytes for layer in self.layers)


@dataclass(frozen=True)
class Recorded:
    """The hit rates of a recorded route, and the shape of the model that it was recorded of."""

    curve: HitCurve
    layers: tuple[tuple[int, int], ...]
    experts_per_token: int

    def applies(self, config: Config) -> bool:
        """Whether a model has as many experts in the same layers, and chooses as many."""
        shape = tuple((layer.layer, layer.num_experts) for layer in expert_layers(config))
        return bool(shape) and shape == self.layers and config.num_experts_per_tok == self.experts_per_token


def read_recorded(path: Path) -> Recorded:
    """The route in a file of `--record-routes`. Raises RequestError for another file, or one without routes."""
    return recorded(read_routes(path), path)


def recorded(routes: Routes, path: Path) -> Recorded:
    """A route with its hit rates."""
    curve = recorded_curve(routes)
    if not curve.points:
        raise RequestError(f"{option('routes')} {path} has no routes: record some tokens")
    shape = tuple((layer.layer, layer.num_experts) for layer in routes.layers)
    return Recorded(curve, shape, routes.experts_per_token)


def hit_curve(config: Config, route: Recorded | None) -> HitCurve:
    """The recorded curve of a model if there is one, else the published one of its shape."""
    if route is not None and route.applies(config):
        return route.curve
    experts = max(layer.num_experts for layer in expert_layers(config))
    return published_curve(experts, config.num_experts_per_tok)
