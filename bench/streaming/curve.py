"""How local the routes of a synthetic model are: what repeats, and what an LRU cache would hit.

    PYTHONPATH=bench python -m streaming.curve FILE [--routing realistic] [--tokens 2000]

The routes come from the router alone: each token's embedding, normed, times the router's rows. Mixers and feed-forwards
of these models change little (samples/synthetic/routing.py).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shoestring import ops
from shoestring.checkpoint.tensors import TENSOR_TYPES, Tensor
from shoestring.models.families import expert_layers
from shoestring.runtime.opening import open_model
from shoestring.samples.synthetic.routing import REALISTIC, UNIFORM, token_chain

Int32 = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]
SHARES = (0.08, 0.125, 0.25, 0.37, 0.5)
#: Tokens before counting begins.
WARM = 100


@dataclass(frozen=True)
class Curve:
    """Shares of a token's experts that repeat in the next token and within 8; hits of an LRU cache in each layer."""

    next: float
    within_8: float
    hits: dict[float, float]

    def __str__(self) -> str:
        hits = ", ".join(f"{share:.1%} → {hit:.1%}" for share, hit in self.hits.items())
        return f"{self.next:.1%} repeat in the next token, {self.within_8:.1%} within 8; LRU hits, by size: {hits}"


def curve(routes: Int32, experts: int) -> Curve:
    """The curve of one layer's routes, [tokens, k]."""
    last = np.full(experts, -(10**9))
    order: list[int] = []  # the most recently used last
    gaps: list[int] = []
    distances: list[int] = []
    for t, row in enumerate(routes.tolist()):
        for e in row:
            distance = experts
            if last[e] >= 0:
                place = order.index(e)
                distance = len(order) - place - 1
                del order[place]
            order.append(e)
            if t >= WARM:
                gaps.append(int(t - last[e]))
                distances.append(distance)
            last[e] = t
    gap, depth = np.array(gaps), np.array(distances)
    hits = {share: float((depth < int(share * experts)).mean()) for share in SHARES}
    return Curve(float((gap == 1).mean()), float((gap <= 8).mean()), hits)


def mean(curves: list[Curve]) -> Curve:
    """The mean of the layers' curves."""
    hits = {share: float(np.mean([c.hits[share] for c in curves])) for share in SHARES}
    return Curve(float(np.mean([c.next for c in curves])), float(np.mean([c.within_8 for c in curves])), hits)


def router_routes(path: Path, tokens: Int32) -> list[Int32]:
    """What each layer's router chooses for the embeddings alone, a layer [tokens, k]."""
    opened = open_model(path)
    tensors, k = opened.checkpoint.tensors, opened.config.num_experts_per_tok
    stream = _rows(tensors["token_embd.weight"], tokens)
    stream /= np.sqrt((stream**2).mean(axis=1, keepdims=True))
    routes = []
    for layer in expert_layers(opened.config):
        name = f"blk.{layer.layer}"
        norms = [
            tensors[key] for key in (f"{name}.post_attention_norm.weight", f"{name}.ffn_norm.weight") if key in tensors
        ]
        norm = _rows(norms[0], np.zeros(1, np.int32))
        router = _rows(tensors[f"{name}.ffn_gate_inp.weight"], np.arange(layer.num_experts, dtype=np.int32))
        scores = (stream * norm) @ router.T
        routes.append(np.argpartition(-scores, k - 1, axis=1)[:, :k].astype(np.int32))
    return routes


def _rows(tensor: Tensor, rows: Int32) -> Float32:
    """Rows of a matrix as numbers, [rows, columns]."""
    kind, columns = TENSOR_TYPES[tensor.type], tensor.shape[-1]
    width = columns // kind.block_size * kind.block_bytes
    data = np.ascontiguousarray(tensor.data.reshape(-1, width)[rows]).reshape(-1)
    column = kind.block_bytes if kind.block_size == 1 else 0
    return ops.to_float32(data, tensor.type, len(rows), columns, offset=0, row_stride=width, column_stride=column)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--routing", choices=["uniform", "realistic"], default="realistic")
    parser.add_argument("--tokens", type=int, default=2000)
    arguments = parser.parse_args()
    routing = REALISTIC if arguments.routing == "realistic" else UNIFORM
    config = open_model(arguments.file).config
    tokens = token_chain(routing, config.vocab_size, arguments.tokens)
    experts = expert_layers(config)[0].num_experts
    print(f"{routing.name}: {mean([curve(routes, experts) for routes in router_routes(arguments.file, tokens)])}")


if __name__ == "__main__":
    main()
