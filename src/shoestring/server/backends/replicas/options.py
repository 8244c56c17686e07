"""How many replicas, and the options of their deployment: the same in Ray's API and in its files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shoestring.errors import RequestError
from shoestring.server.backends.replicas.names import ROUTER

#: How often Ray asks a replica whether it is alive, and how long that may take.
HEALTH_PERIOD_SECONDS, HEALTH_TIMEOUT_SECONDS = 2.0, 10.0
#: How long more or fewer replicas are needed before one starts or stops, with --replicas MIN:MAX.
UPSCALE_SECONDS, DOWNSCALE_SECONDS = 5.0, 120.0
#: How long a replica that stops may finish its answers.
DRAIN_SECONDS = 600.0
#: Requests at once in a replica, if --parallel does not say.
_USUAL_PARALLEL = 8


@dataclass(frozen=True)
class Count:
    """How many replicas: from least to most."""

    least: int
    most: int

    @property
    def fixed(self) -> bool:
        return self.least == self.most


def read_count(text: str) -> Count:
    """--replicas N or MIN:MAX. Raises RequestError."""
    least, _, most = text.partition(":")
    try:
        count = Count(int(least), int(most or least))
    except ValueError:
        count = Count(0, 0)
    if not 1 <= count.least <= count.most <= 10_000:
        raise RequestError(f"--replicas is {text!r}: give a number from 1, or MIN:MAX")
    return count


def options_of(count: Count, parallel: int | None) -> dict[str, Any]:
    """The options of the deployment, as Ray's files have them, too."""
    at_once = parallel or _USUAL_PARALLEL
    options: dict[str, Any] = {
        "max_ongoing_requests": at_once,
        "max_replicas_per_node": 1,
        "graceful_shutdown_wait_loop_s": 0.5,
        "graceful_shutdown_timeout_s": DRAIN_SECONDS,
        "health_check_period_s": HEALTH_PERIOD_SECONDS,
        "health_check_timeout_s": HEALTH_TIMEOUT_SECONDS,
        "ray_actor_options": {"num_cpus": 1},
        # The front door logs requests.
        "logging_config": {"log_level": "WARNING", "enable_access_log": False},
        "request_router_config": {"request_router_class": ROUTER},
    }
    if count.fixed:
        return {**options, "num_replicas": count.least}
    scaling = {
        "min_replicas": count.least,
        "max_replicas": count.most,
        "target_ongoing_requests": max(1, at_once // 2),
        "upscale_delay_s": UPSCALE_SECONDS,
        "downscale_delay_s": DOWNSCALE_SECONDS,
    }
    return {**options, "autoscaling_config": scaling}
