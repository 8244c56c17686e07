"""How vLLM splits a model over GPUs: tensor, pipeline and expert parallel sizes, from heads, experts and bytes."""

from __future__ import annotations

from dataclasses import dataclass

from shoestring.checkpoint.config.types import Config
from shoestring.errors import CapacityError
from shoestring.sizes import human

#: Columns of an expert that a GPU computes together; FP8 checkpoints have one scale for as many.
TILE = 128


@dataclass(frozen=True)
class Shards:
    """tensor: GPUs that share each layer. pipeline: groups of layers. experts: each GPU has whole experts."""

    tensor: int = 1
    pipeline: int = 1
    experts: bool = False

    @property
    def gpus(self) -> int:
        return self.tensor * self.pipeline

    def words(self) -> list[str]:
        """The arguments of `vllm serve`."""
        words = ["--tensor-parallel-size", str(self.tensor)]
        if self.pipeline > 1:
            words += ["--pipeline-parallel-size", str(self.pipeline)]
        return [*words, "--enable-expert-parallel"] if self.experts else words


def shards(
    config: Config, gpus: int, *, weight_bytes: int = 0, state_bytes: int = 0, gpu_bytes: int | None = None
) -> Shards:
    """The split over all `gpus` that shares the most of each layer and fits.

    weight_bytes: of the model. state_bytes: of the keys, values and recurrent states of all sequences. gpu_bytes: what
    an engine may use of one GPU; None: do not check. Raises CapacityError if no split fits.
    """
    if gpus < 1:
        return Shards()
    splits = [Shards(ways, gpus // ways, _whole_experts(config, ways)) for ways in _ways(config, gpus)]
    for split in splits:
        if gpu_bytes is None or a_gpu_needs(config, split, weight_bytes, state_bytes) <= gpu_bytes:
            return split
    least = min(a_gpu_needs(config, split, weight_bytes, state_bytes) for split in splits)
    raise CapacityError(
        f"each of {gpus} GPUs would need {human(least)} and has {human(gpu_bytes or 0)}: "
        "use more of them, fewer users, a shorter context or a smaller type"
    )


def a_gpu_needs(config: Config, split: Shards, weight_bytes: int, state_bytes: int) -> int:
    """Bytes of the fullest GPU. Beyond the number of KV heads, GPUs keep copies of keys and values."""
    stages = -(-config.num_hidden_layers // split.pipeline) / config.num_hidden_layers
    kept = min(split.tensor, config.num_key_value_heads)
    return int(weight_bytes * stages / split.tensor + state_bytes * stages / kept)


def _ways(config: Config, gpus: int) -> list[int]:
    """The numbers of GPUs that can share a layer, most first: they divide the heads of every kind."""
    heads = [config.num_attention_heads]
    if config.family == "qwen3_5":
        heads += [config.linear_num_key_heads, config.linear_num_value_heads]
    kv = config.num_key_value_heads
    ways = [n for n in range(gpus, 0, -1) if gpus % n == 0 and gpus // n <= config.num_hidden_layers]
    return [n for n in ways if all(count % n == 0 for count in heads) and (kv % n == 0 or n % kv == 0)] or [1]


def _whole_experts(config: Config, ways: int) -> bool:
    """Whether a part of an expert would be too narrow, and the experts can be dealt out whole."""
    if config.family == "qwen3_5":
        experts, width = config.num_experts, config.moe_intermediate_size
    else:
        experts, width = config.num_local_experts, config.intermediate_size
    if ways == 1 or experts == 0 or experts % ways:
        return False
    return width % (ways * TILE) != 0
