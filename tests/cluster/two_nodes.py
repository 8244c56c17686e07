"""A Ray cluster of two nodes on this machine, and the front door before replicas of our engine on both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ray.cluster_utils import Cluster

from shoestring.runtime.model import Model
from shoestring.server.backends.replicas import deployment as ray_serve
from shoestring.server.backends.replicas.deployment import Deployment
from shoestring.server.backends.replicas.options import Count
from shoestring.server.backends.replicas.replica import Source
from shoestring.server.backends.replicas.replicas import Replicas
from shoestring.server.limits import Limits

_STORE_BYTES = 100 << 20


@dataclass
class Two:
    """The cluster and its nodes. The head has a replica, too: it cannot be killed without an outside store."""

    cluster: Cluster
    worker: Any

    def add_worker(self) -> None:
        self.worker = self.cluster.add_node(num_cpus=1, object_store_memory=_STORE_BYTES)


@contextmanager
def two_nodes() -> Iterator[Two]:
    """A head and a worker of one processor each, connected."""
    head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": _STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        two = Two(cluster, None)
        two.add_worker()
        ray_serve.connect(cluster.address)
        yield two
        ray_serve.stop()
    finally:
        cluster.shutdown()


def deployed(source: Source, load: Callable[[int], Model] | None = None, replicas: int = 2) -> Deployment:
    return Deployment(source, Count(replicas, replicas), Limits(), load)


def backend(deployment: Deployment, **options: Any) -> Replicas:
    """Start the replicas; the backend before them."""
    handle = deployment.start()
    info, spellings = ray_serve.describe(handle)
    return Replicas(handle, info, spellings, **options)
