"""The deployment on Ray Serve: connect, check the cluster, start the replicas, restart them one after the other.

A cluster that is started here listens on the loopback address. Who reaches Ray's ports can run code there, so other
clusters belong into a private network.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from shoestring.errors import CapacityError, RequestError
from shoestring.runtime.model import Model
from shoestring.server.backends.replicas.addresses import LOOPBACK, check_loopback, keep_loopback
from shoestring.server.backends.replicas.names import APP
from shoestring.server.backends.replicas.options import Count, options_of
from shoestring.server.backends.replicas.replica import Replica, Source, Vocabulary, versions
from shoestring.server.facts import ServedModel
from shoestring.server.limits import Limits

log = logging.getLogger("shoestring.server")

_CONNECT_SECONDS = 5.0


def need_ray() -> None:
    """Raise RequestError if Ray is not installed."""
    found = importlib.util.find_spec("ray")
    if found is None or found.origin is None:  # without an origin it is a folder of that name, as Ray writes into /tmp
        from shoestring.packages import install_command

        command = install_command(["ray[serve]"])
        raise RequestError(f"--on ray needs a package that is not installed (ray[serve]): run `{command}`")


def connect(address: str | None) -> None:
    """Connect to a cluster, or start one on this machine, on its loopback address. Raises RequestError."""
    import ray

    options: dict[str, Any] = {"include_dashboard": False, "logging_level": logging.WARNING, "log_to_driver": True}
    if address is not None:
        check_reachable(address)
        options = {"address": address, "logging_level": logging.WARNING}
    else:
        options |= {"address": "local", "_node_ip_address": LOOPBACK}
        keep_loopback()
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    try:
        with _own_sigterm():
            ray.init(namespace=APP, **options)
    except Exception as error:  # a node that does not start in time is a bare Exception
        what = " ".join(str(error).split())
        if "ersion mismatch" in what:
            raise RequestError(f"--ray-address {address}: mixed versions: {what[:300]}") from None
        does = "cannot start a cluster on this machine" if address is None else f"cannot use the cluster at {address}"
        raise RequestError(f"--on ray {does}: {what[:300]}") from None
    if address is None:
        check_loopback()


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep what SIGTERM does here: Ray would print a stack and abort the process while it ends."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)


def check_reachable(address: str) -> None:
    """Raise RequestError if nothing listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except ValueError:
        raise RequestError(f"--ray-address is {address!r}: write HOST:PORT, as `ray start --head` shows it") from None
    except OSError as error:
        why = error.strerror or str(error)
        raise RequestError(f"--ray-address {address}: no answer ({why}): start a head there with `ray start`") from None


def check_size(count: Count) -> None:
    """Raise CapacityError if the cluster has fewer nodes than replicas, which have a node each."""
    nodes = node_count()
    if nodes < count.least:
        have = f"{nodes} node{'s' * (nodes != 1)}"
        raise CapacityError(
            f"the cluster has {have} with a processor and --replicas is {count.least}, one a node: "
            "add nodes with `ray start`, or ask for fewer"
        )


def node_count() -> int:
    """Nodes that a replica may run on."""
    import ray

    return sum(node["Alive"] and node["Resources"].get("CPU", 0) >= 1 for node in ray.nodes())


@dataclass
class Deployment:
    """The replicas of one model. load: makes the model from a node's cores; default: what the source says."""

    source: Source
    count: Count
    limits: Limits
    load: Callable[[int], Model] | None = None
    generation: int = 0

    def bound(self) -> Any:
        """The application, as Ray Serve starts it."""
        from ray import serve
        from ray.serve.config import RequestRouterConfig

        options = options_of(self.count, self.source.parallel)
        options["request_router_config"] = RequestRouterConfig(**options["request_router_config"])
        made = serve.deployment(Replica, name="Replica").options(**options)
        load = self.load or partial(_load, self.source)
        source = self.source
        web = source.allow_remote_media
        return made.bind(load, source.id, source.aliases, self.limits, versions(), self.generation, web)

    def start(self) -> Any:
        """Start the replicas, or replace those that run one after the other. Returns Ray's handle.

        Raises RequestError with the reason if no replica starts.
        """
        from ray import serve

        bound = self.bound()
        serve.start(proxy_location="Disabled")
        try:
            return serve.run(bound, name=APP, route_prefix=None)
        except RuntimeError as error:
            raise RequestError(f"no replica starts: {_reason(f'{error}{_status_text()}')}") from None

    def restart(self) -> None:
        """Replace all replicas, one after the other: each finishes its answers first. Blocks until it is done."""
        self.generation += 1
        log.info("rolling restart %d of the replicas begins", self.generation)
        self.start()
        log.info("rolling restart %d of the replicas is done", self.generation)


def _load(source: Source, cores: int) -> Model:
    return source.load(cores)


def describe(handle: Any) -> tuple[ServedModel, Vocabulary]:
    """What a replica says about its model."""
    info, vocabulary = handle.describe.remote().result(timeout_s=60)
    return info, vocabulary


def _status_text() -> str:
    """What Ray knows of the deployment that failed: the traceback of a replica."""
    from ray import serve

    with contextlib.suppress(Exception):
        deployments = serve.status().applications[APP].deployments.values()
        return "".join(f"\n{deployment.message}" for deployment in deployments)
    return ""


def _reason(text: str) -> str:
    """The last line of a replica's traceback that is an error of ours, else what Ray says, on one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    ours = [line for line in lines if "Error: " in line]
    return (ours[-1].partition("Error: ")[2] if ours else " ".join(lines))[:300]


def stop() -> None:
    """End the replicas and leave the cluster; a cluster of our own ends, too."""
    import ray
    from ray import serve
    from ray.exceptions import RayError
    from ray.serve.exceptions import RayServeException

    with contextlib.suppress(RayServeException, RayError):  # it never started, or the cluster is gone
        serve.delete(APP)
    ray.shutdown()


def leave() -> None:
    """Leave the cluster; what runs there goes on."""
    import ray

    ray.shutdown()
