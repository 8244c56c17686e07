"""Where Ray listens: on the loopback address in a cluster of our own, and in replicas on the address of their node.

Ray has no options for either, so both change what its own functions are given.
"""

from __future__ import annotations

from typing import Any

from shoestring.errors import RequestError

LOOPBACK = "127.0.0.1"
#: How gRPC spells all addresses of a machine.
_ALL = ("[::]:", "0.0.0.0:")


def keep_loopback() -> None:
    """Ray replaces a loopback address by one that other machines reach, and then listens on all: keep it."""
    from ray._private import services

    services.resolve_ip_for_localhost = lambda host: host


def check_loopback() -> None:
    """Raise RequestError, and end the cluster, if its nodes have another address."""
    import ray

    if any(node["NodeManagerAddress"] != LOOPBACK for node in ray.nodes()):
        ray.shutdown()
        raise RequestError(
            "--on ray: this version of Ray does not keep to the loopback address: start a cluster with `ray start`, "
            "and name it with --ray-address"
        )


def listen_only_on(address: str) -> None:
    """gRPC servers that this process starts from now on listen on this address where they would on all.

    Serve opens a port of gRPC in each replica, after the replica was made. Others reach it at the node's address.
    """
    from grpc.aio import _server

    server: Any = _server.Server
    for name in ("add_insecure_port", "add_secure_port"):
        setattr(server, name, _on(address, getattr(server, name)))


def _on(address: str, add_port: Any) -> Any:
    host = f"[{address}]" if ":" in address else address

    def add(self: Any, place: str, *rest: Any) -> Any:
        everywhere = place.startswith(_ALL)
        return add_port(self, f"{host}:{place.rpartition(':')[2]}" if everywhere else place, *rest)

    return add
