"""/metrics for Prometheus: counters and timings of requests, and the engine's current state."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from shoestring.engine.request import Counts
from shoestring.models.layout import Demand
from shoestring.server.backends.backend import Backend
from shoestring.server.http import dependencies
from shoestring.server.http.keys import NO_KEY, OTHER_KEYS
from shoestring.server.http.record import Record

# They double the series, and the format's newer version writes them otherwise.
disable_created_metrics()  # type: ignore[no-untyped-call]

router = APIRouter(tags=["server"])

_FIRST_TOKEN = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_GAPS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5)
_WHOLE = (0.1, 0.5, 1, 5, 15, 60, 300, 1800)

#: Keys that have series of their own: the first ones that send requests.
_MOST_KEYS = 200

#: What the engine counts.
_POOLS = {
    "global_pages": "Pages of keys and values of layers that attend to the whole past.",
    "chunk_pages": "Pages of chunk-local layers.",
    "slots": "Slots of recurrent state.",
}


class Metrics:
    """Counters and histograms of one server; an observer of records."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._requests = Counter("shoestring_requests", "Requests.", ["endpoint", "status"], registry=registry)
        self._prompt = Counter("shoestring_prompt_tokens", "Prompt tokens, including cached ones.", registry=registry)
        self._cached = Counter("shoestring_cached_tokens", "Prompt tokens served from the cache.", registry=registry)
        self._generated = Counter("shoestring_generated_tokens", "Tokens generated.", registry=registry)

        #: labels of keys that have series
        self._keys: set[str] = set()

        def by_key(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"shoestring_key_{name}", f"{text} by API key.", ["key", *labels], registry=registry)

        self._key_requests = by_key("requests", "Requests", "status")
        self._key_prompt = by_key("prompt_tokens", "Prompt tokens, including cached ones,")
        self._key_cached = by_key("cached_tokens", "Prompt tokens served from the cache")
        self._key_generated = by_key("generated_tokens", "Tokens generated")

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"shoestring_{name}_seconds", text, buckets=buckets, registry=registry)

        self._first = histogram(
            "time_to_first_token", "Time from a request's arrival to its first token.", _FIRST_TOKEN
        )
        self._gaps = histogram("inter_token", "Time between two tokens of an answer.", _GAPS)
        self._whole = histogram("request", "Time from a generating request's arrival to its end.", _WHOLE)

    def __call__(self, entry: Record) -> None:
        status, key = str(entry.status or 499), self._key(entry)
        self._requests.labels(entry.endpoint, status).inc()
        self._key_requests.labels(key, status).inc()
        if not entry.generates:
            return
        prompt = entry.prompt_tokens if entry.admitted else 0
        self._prompt.inc(prompt)
        self._cached.inc(entry.cached_tokens)
        self._generated.inc(entry.output_tokens)
        self._key_prompt.labels(key).inc(prompt)
        self._key_cached.labels(key).inc(entry.cached_tokens)
        self._key_generated.labels(key).inc(entry.output_tokens)
        self._whole.observe(entry.total_seconds)
        if entry.first_token_seconds is not None:
            self._first.observe(entry.first_token_seconds)
        for gap in entry.gaps:
            self._gaps.observe(gap)

    def _key(self, entry: Record) -> str:
        """The label of the request's key; one for all keys beyond the most that have series."""
        if not entry.key:
            return NO_KEY
        if len(self._keys) < _MOST_KEYS:
            self._keys.add(entry.key)
        return entry.key if entry.key in self._keys else OTHER_KEYS


#: What replicas on a cluster count, each under its name.
_BY_REPLICA = {
    "running": "Requests that the replica's engine is processing.",
    "waiting": "Requests that wait for the replica's engine.",
    "cached_bytes": "Size of the replica's prefix cache in bytes.",
    "cached_tokens": "Prompt tokens that the replica served from its cache.",
    "computed_tokens": "Tokens that the replica computed, of prompts and answers.",
}


def _gauges(service: Backend, counts: Counts | None, replicas: Mapping[str, Counts]) -> CollectorRegistry:
    """Gauges of the current moment, and the model's counts of experts: zero if all are in memory."""
    registry = CollectorRegistry()

    def gauge(name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"shoestring_{name}", text, labels, registry=registry)

    if replicas:
        for name, text in _BY_REPLICA.items():
            by_replica = gauge(f"replica_{name}", text, "replica")
            for replica, its in replicas.items():
                by_replica.labels(replica).set(getattr(its, name))
    gauge("requests_running", "Requests that the engine is processing.").set(service.running)
    gauge("requests_waiting", "Requests that wait to be admitted.").set(service.waiting)
    gauge("queue_limit", "Maximum waiting requests; more get 429.").set(service.queue)
    experts = service.experts
    done = experts.totals
    for name, text, value in (
        ("asked", "Experts that steps needed.", done.asked),
        ("hits", "Of these, experts that were in memory.", done.hits),
        ("read_bytes", "Bytes of experts read from disk.", done.read_bytes),
        ("disk_seconds", "Time with at least one read in flight.", done.disk_seconds),
    ):
        Counter(f"shoestring_experts_{name}", text, registry=registry).inc(value)
    gauge("experts_resident_share", "Share of the experts that fit into memory.").set(experts.share)
    if counts is None:
        return registry
    gauge("slowest_layer_seconds", "Longest pause of the answers for a layer of a prompt.").set(
        counts.slowest_layer_seconds
    )
    states: dict[str, Demand] = {"used": counts.used, "cached": counts.cached, "free": counts.free}
    for kind, text in _POOLS.items():
        pool = gauge(kind, text, "state")
        for state, demand in states.items():
            pool.labels(state).set(getattr(demand, kind))
    gauge("cache_bytes", "Size of the prefix cache in bytes.").set(counts.cached_bytes)
    return registry


@router.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Counters, histograms and gauges in Prometheus' text format."""
    service = dependencies.service(request)
    counters: Metrics = request.app.state.metrics
    gauges = _gauges(service, await service.counts(), await service.replicas())
    # Thousands of series take 30 ms.
    text = await service.beside(generate_latest, counters.registry) + generate_latest(gauges)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
