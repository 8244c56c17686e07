"""What a step of a model reads and computes, whatever its family: all that an estimate needs to know of the model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from shoestring.checkpoint.config.types import Config
from shoestring.models.families import expert_layers
from shoestring.models.sizes import flops_per_token
from shoestring.models.state import AttentionState
from shoestring.planning.memory import UNUSED, Need, Placement


@dataclass(frozen=True)
class Work:
    """A model in one type, for `users` sequences of `context` tokens."""

    type: str
    users: int
    context: int
    layers: int
    #: width of the exchanged numbers, and query heads
    hidden: int
    heads: int
    #: routed experts of a layer, and those that a token chooses; 0: dense
    experts: int
    chosen: int
    #: bytes of the weights that every token uses, without an embedding that is only looked up; of all routed experts
    always_bytes: float
    routed_bytes: float
    #: bytes of keys, values and state that a token of one sequence reads and writes
    sequence_bytes: float
    #: operations for a token at the end of the context, and in the middle of a prompt of half the context
    decode_flops: float
    prompt_flops: float
    #: of `always_bytes`, those of shared experts
    shared_bytes: float = 0.0

    def touched(self, tokens: int) -> float:
        """Expected bytes of the routed experts that `tokens` tokens use together."""
        if not self.experts:
            return 0.0
        return self.routed_bytes * (1 - (1 - self.chosen / self.experts) ** tokens)


def work_of(n: Need) -> Work:
    """The work of a model's step; computed once for a Need."""
    if "work" not in n.__dict__:
        n.__dict__["work"] = _work_of(n)
    work: Work = n.__dict__["work"]
    return work


def _work_of(n: Need) -> Work:
    config = n.candidate.config
    experts = expert_layers(config)
    attended = sum(
        min(n.context, s.chunk_size or n.context) * s.bytes_per_token(n.kv_type)
        for s in n.layout.layers
        if isinstance(s, AttentionState)
    )
    return Work(
        type=n.sizes.type,
        users=n.users,
        context=n.context,
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        heads=config.num_attention_heads,
        experts=experts[0].num_experts if experts else 0,
        chosen=config.num_experts_per_tok if experts else 0,
        always_bytes=n.always_bytes - n.sizes.of("vision") - n.looked_up_bytes,
        routed_bytes=n.routed_bytes,
        shared_bytes=n.sizes.of("shared_experts"),
        sequence_bytes=attended + 2 * n.state_bytes_per_sequence,
        decode_flops=_flops(config, n.context),
        prompt_flops=_flops(config, n.context // 4),
    )


@cache
def _flops(config: Config, context: int) -> float:
    return flops_per_token(config, context)


@dataclass(frozen=True)
class Split:
    """Shares of a model's work in each place: of what every token uses, and of the routed experts."""

    gpu: tuple[float, float] = (0.0, 0.0)
    ram: tuple[float, float] = (0.0, 0.0)
    disk: tuple[float, float] = (0.0, 0.0)
    #: layers on the GPU, and of them those whose routed experts are in RAM
    gpu_layers: int = 0
    expert_layers_in_ram: int = 0


def split_of(n: Need, placed: Placement) -> Split:
    parts = {str(part) for part, _ in n.sizes.by_part if part not in UNUSED and part != "routed_experts"}

    def shares(sizes: dict[str, int], resident: bool = True) -> tuple[float, float]:
        always = sum(size for part, size in sizes.items() if part in parts) if resident else 0
        routed = sizes.get("routed_experts", 0) / n.routed_bytes if n.routed_bytes else 0.0
        return always / max(1, n.always_bytes), routed

    return Split(
        shares(placed.gpu), shares(placed.ram), shares(placed.disk, False), placed.gpu_layers,
        placed.expert_layers_in_ram,
    )  # fmt: skip
