"""Ray's router for our replicas: prefers the one that holds a request's prefix."""

from __future__ import annotations

from typing import Any

from ray.serve.request_router import PendingRequest, RequestRouter, RunningReplica

from shoestring.server.backends.replicas.routing import ranked


class PrefixRouter(RequestRouter):  # type: ignore[misc]
    """Each replica is a rank of its own: Ray asks the next one where one is full, and knows those that are gone."""

    #: How long a replica may take to say how much it has to do. Its engine keeps the node busy, and with Ray's 0.1 s
    #: its conversations would go to others, which do not hold their prefixes.
    queue_len_response_deadline_s = 1.0

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        arguments: list[Any] = [] if pending_request is None else list(pending_request.args)
        prefix = arguments[0] if arguments and isinstance(arguments[0], str) else ""
        named = [(replica.replica_id.unique_id, replica) for replica in candidate_replicas]
        return [[replica] for replica in ranked(prefix, named)]
