"""Decide which experts the tokens of a synthetic model choose, and write token sequences as local as real text.

A router multiplies the residual stream by random rows. Mixers and feed-forwards of these models add little to the
stream (`GAINS`), so a token's embedding decides its experts in every layer. Its row consists of four runs of columns:
one is common to all tokens, one to its topic, one to its cluster, the last is its own. Two tokens that share a part s
of their columns have router scores with correlation s, in every layer with other experts. With all columns their own
(`UNIFORM`), every token chooses experts anew.

The order of tokens does the rest (`token_chain`): stretches of a sequence repeat a few tokens of one cluster (as lists,
code and tables do), others take every token from another cluster. Targets, from published measurements of models with
256 experts of which a token chooses 8: 45 % of a token's experts repeat in the next token, 80 % within 8; LRU caches
with 12.5 % and 25 % of the experts hit 67 % and 80 %. No sequence meets them all exactly: what repeats within 8 tokens
is among the last 64 distinct experts, which are 25 %, so that LRU then hits at least as much, and what repeats later
comes on top. `REALISTIC` stays within 5 points of each; `python -m streaming.curve` in bench/ prints its curve.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shoestring.checkpoint.tensors import TENSOR_TYPES
from shoestring.samples.synthetic.fill import Bytes, random_bits, random_blocks
from shoestring.samples.synthetic.layout import Slot

#: Factors that keep what a layer adds small beside the embedding, by the last part of the tensor's name.
GAINS = dict.fromkeys(("attn_output", "ssm_out", "ffn_down", "ffn_down_shexp", "ffn_down_exps"), 0.05)
#: Rows of the embedding that are generated at once.
_ROWS = 4096


@dataclass(frozen=True)
class Routing:
    """Shares of an embedding's columns that are common to tokens, and the sequences that go with them.

    repeating: tokens of a stretch that repeats `repeated` tokens of one cluster; 0: there are none. wandering: tokens
    of a stretch that takes each token from another cluster; the stretches alternate.
    """

    name: str
    common: float = 0.0
    topic: float = 0.0
    cluster: float = 0.0
    topics: int = 1
    clusters: int = 1
    repeating: int = 0
    repeated: int = 1
    wandering: int = 1


UNIFORM = Routing("uniform")
REALISTIC = Routing(
    "realistic", common=2 / 8, topic=1 / 8, cluster=3 / 8, topics=32, clusters=16, repeating=60, repeated=2,
    wandering=44,
)  # fmt: skip


def words(routing: Routing, vocabulary: int) -> int:
    """Tokens of a cluster. Token t is a word of cluster t // words, which is one of topic t // words // clusters."""
    return max(1, vocabulary // (routing.topics * routing.clusters))


def embedding(routing: Routing, slot: Slot, kind: str, deviation: float, seed: int) -> Iterator[Bytes]:
    """The rows of the embedding, [rows, blocks of a row, block_bytes] at a time."""
    vocabulary, columns = slot.shape
    blocks = columns // TENSOR_TYPES[kind].block_size
    counts = [round(blocks * share) for share in (routing.common, routing.topic, routing.cluster)]
    own = blocks - sum(counts)

    def codes(name: str, count: int, width: int) -> Bytes:
        data = random_blocks(kind, deviation, count * width, random_bits(f"{slot.name} {name}", seed), spread=0.0)
        return data.reshape(count, width, data.shape[1])

    clusters = routing.topics * routing.clusters
    shared = [codes("common", 1, counts[0]), codes("topic", routing.topics, counts[1]),
              codes("cluster", clusters, counts[2])]  # fmt: skip
    for first in range(0, vocabulary, _ROWS):
        tokens = np.arange(first, min(first + _ROWS, vocabulary))
        cluster = np.minimum(tokens // words(routing, vocabulary), clusters - 1)
        numbers = (np.zeros_like(tokens), cluster // routing.clusters, cluster)
        parts = [data[number] for data, number in zip(shared, numbers, strict=True)]
        yield np.concatenate([*parts, codes(f"own {first}", len(tokens), own)], axis=1)


def token_chain(routing: Routing, vocabulary: int, count: int, seed: int = 0) -> npt.NDArray[np.int32]:
    """A sequence of `count` tokens for a model of this routing and vocabulary."""
    draw = np.random.default_rng([seed, 21])
    tokens = draw.integers(0, vocabulary, count)
    if not routing.repeating:
        return tokens.astype(np.int32)
    each, clusters = words(routing, vocabulary), routing.topics * routing.clusters
    tokens %= each * clusters  # the last few tokens of a vocabulary belong to no whole cluster
    for first in range(0, count, routing.repeating + routing.wandering):
        stretch = slice(first, min(first + routing.repeating, count))
        cluster = draw.integers(clusters)
        tokens[stretch] = cluster * each + draw.integers(0, min(routing.repeated, each), stretch.stop - first)
    return tokens.astype(np.int32)
