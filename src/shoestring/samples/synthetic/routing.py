"""Decide which experts a synthetic model's tokens choose, and write sequences of tokens that choose as real text does.

A router multiplies the residual stream by random rows. Mixers and feed-forwards of these models add little to the stream
(`GAINS`), so a token's embedding decides its experts in every layer. Its row consists of four runs of columns: one is
common to all tokens, one to its topic, one to its cluster, the last is its own. Two tokens that share a share s of
their columns have router scores with correlation s, in every layer with other experts. With all columns their own
(`UNIFORM`), every token chooses experts anew.

The order of tokens does the rest (`token_chain`). Real text repeats some experts at once, others hardly ever, so the
chain has two moods: in one it stays in a cluster and repeats a few of its tokens (lists, code, tables), in the other it
moves between clusters with each token. LRU needs both: one mood alone that repeats 45 % of a token's experts in the
next token and 80 % within 8 has fewer distinct experts in 8 tokens than an eighth of all (8 · Σ (1 - share that
repeats within j), j < 8), so that LRU with an eighth would hit 80 %, not the 67 % that others publish.
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
class Mood:
    """How a sequence goes on: chances of the next token, and how many tokens of a cluster are in use."""

    same_topic: float
    same_cluster: float
    words: int
    #: chance to change to the other mood
    changes: float


@dataclass(frozen=True)
class Routing:
    """Shares of an embedding's columns that are common to tokens, and the sequences that go with them."""

    name: str
    common: float = 0.0
    topic: float = 0.0
    cluster: float = 0.0
    topics: int = 1
    clusters: int = 1
    moods: tuple[Mood, ...] = ()


UNIFORM = Routing("uniform")
REALISTIC = Routing(
    "realistic", common=0.3, topic=0.05, cluster=0.3, topics=32, clusters=16,
    moods=(Mood(0.998, 0.995, 2, 0.01), Mood(0.5, 0.0, 64, 0.01)),
)  # fmt: skip


def words(routing: Routing, vocabulary: int) -> int:
    """Tokens of a cluster. Token t is word t % words of cluster t // words, and that of topic t // words // clusters."""
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
    if not routing.moods:
        return draw.integers(0, vocabulary, count).astype(np.int32)
    each = words(routing, vocabulary)
    tokens = np.empty(count, np.int32)
    mood, topic, cluster = 0, 0, 0
    for i in range(count):
        now = routing.moods[mood]
        if draw.random() < now.changes:
            mood = (mood + 1) % len(routing.moods)
            now = routing.moods[mood]
            topic, cluster = draw.integers(routing.topics), draw.integers(routing.clusters)
        if draw.random() > now.same_topic:
            topic, cluster = draw.integers(routing.topics), draw.integers(routing.clusters)
        elif draw.random() > now.same_cluster:
            cluster = draw.integers(routing.clusters)
        word = draw.integers(min(now.words, each))
        tokens[i] = (topic * routing.clusters + cluster) * each + word
    return tokens
