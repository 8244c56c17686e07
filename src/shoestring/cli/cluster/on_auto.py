"""`serve MODEL --on auto`: what `plan` finds for --users and --min-speed. It says which row decided, and never moves
to another machine that was not named."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from shoestring.errors import RequestError
from shoestring.sizes import human

if TYPE_CHECKING:
    from shoestring.planning.assess import Assessment
    from shoestring.planning.plan import Plan
    from shoestring.server.http.settings import Settings

#: plan's own default of --min-speed
USUAL_SPEED = 3.0


@dataclass(frozen=True)
class Choice:
    """Where to serve, the row of the plan that decided, and for Ray how many replicas."""

    on: Literal["local", "vllm", "ray"]
    row: str
    replicas: int | None = None


def chosen(settings: Settings, nodes: int = 0) -> Choice:
    """Follow plan for this machine, and for a share of the users on each node of the cluster that was named.

    nodes: of that cluster; 0: none was named. Raises RequestError with plan's reason if nothing suits.
    """
    from shoestring.planning.plan import plan

    if settings.model is None:
        raise RequestError("--on auto needs a MODEL")
    speed = USUAL_SPEED if settings.min_speed is None else settings.min_speed

    def planned(users: int) -> Plan:
        return plan(str(settings.model), users=users, min_speed=speed, context=settings.context, memory=settings.memory)

    here = planned(settings.users).assessments[0]
    if here.suits:
        return Choice(_engine(here), _row(here, settings.users))
    if nodes > 1:
        share = -(-settings.users // nodes)
        there = planned(share).assessments[0]
        if there.suits and there.command.engine == "shoestring":
            return Choice("ray", f"{_row(there, share)}, on each of {nodes} nodes", nodes)
    why = " ".join(here.problems)
    more = "" if nodes else ", or name a cluster with --ray-address"
    raise RequestError(
        f"--on auto finds nothing for {settings.users} users at {speed:g} tokens/s: {why} Choose fewer users, "
        f"a lower --min-speed{more}"
    )


def nodes_of(settings: Settings) -> int:
    """The nodes of the cluster that --ray-address names; 0 if it names none. Raises RequestError."""
    if settings.ray_address is None:
        return 0
    from shoestring.server.backends.replicas import deployment as ray_serve

    ray_serve.need_ray()
    ray_serve.connect(settings.ray_address)
    try:
        return ray_serve.node_count()
    finally:
        ray_serve.leave()


def _engine(row: Assessment) -> Literal["local", "vllm"]:
    """Where a row of the plan runs. Raises RequestError for the engines that this program does not start."""
    engine = row.command.engine
    if engine == "vllm":
        return "vllm"
    if engine == "shoestring":
        return "local"
    command = row.command.lines[-1]
    raise RequestError(f"--on auto: plan names {engine}, which this program does not start: run `{command}`")


def _row(row: Assessment, users: int) -> str:
    """The row of the plan, on one line."""
    speed = "an unknown speed" if row.speed.decode is None else f"{row.speed.decode:.3g} tokens/s"
    whose = "" if users == 1 else f" for each of {users} users"
    kind = f" ({row.speed.label})" if row.speed.label else ""
    memory = human(sum(row.placement.gpu.values()) + sum(row.placement.ram.values()))
    model = f"{row.candidate.name} in {row.need.sizes.type}"
    return f"{model}: {speed}{whose}{kind}, {memory} of memory, {row.command.reason}"


def settled(settings: Settings, choice: Choice) -> Settings:
    """The settings of what was chosen."""
    replicas = None if choice.replicas is None else str(choice.replicas)
    parallel = settings.parallel
    if choice.on != "ray" and parallel is None and settings.users > 1:
        parallel = settings.users
    return dataclasses.replace(
        settings, on=choice.on, users=1, min_speed=None, replicas=settings.replicas or replicas, parallel=parallel
    )
