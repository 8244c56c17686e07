"""Operands of attention, delta rule and convolution, and calls of them on copies: for here and for other processes."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from shoestring import _kernels, ops
from shoestring.kv_types import KVType
from shoestring.models.state import PAGE_TOKENS, AttentionPages, AttentionState
from shoestring.reference.functions import as_stored

Array = npt.NDArray[Any]
NO_SNAPSHOTS = np.zeros((0, 2), np.int32)


def numbers(seed: int, *shape: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@dataclass(frozen=True)
class AttentionCase:
    """Spans of (first index, rows, chunk size or 0); the past of each is stored beforehand."""

    spans: tuple[tuple[int, int, int], ...]
    heads: int
    kv_heads: int
    head_dim: int
    kv_type: KVType
    seed: int = 0
    shuffled: bool = True
    #: number that pages hold before anything is stored
    garbage: float = float("nan")


def run_attention(case: AttentionCase, threads: int = 1, pieces: tuple[int, ...] = ()) -> Array:
    """Rows of all spans, [rows, heads, D]. With `pieces`, spans are stepped in pieces of those lengths, in turn."""
    _kernels.set_num_threads(threads)
    lows = [first - first % chunk if chunk else max(0, first - 4096) for first, _, chunk in case.spans]
    first_page = np.array([low // PAGE_TOKENS for low in lows], np.int64)
    ends = [first + rows for first, rows, _ in case.spans]
    entries = max(-(-end // PAGE_TOKENS) - page for end, page in zip(ends, first_page, strict=True))
    count = len(case.spans) * entries
    order = np.random.default_rng(case.seed + 1).permutation(count + 3) if case.shuffled else np.arange(count + 3)
    pages = order[:count].astype(np.int32).reshape(len(case.spans), entries)
    keys, values = pools(case, count + 3)
    ws = ops.Workspace()
    out = []
    for s, (first, rows, chunk) in enumerate(case.spans):
        low = lows[s]
        q, k, v = operands(case, s, rows, first + rows - low)
        table = (pages[s : s + 1], first_page[s : s + 1])
        if first > low:
            past = np.arange(low, first, dtype=np.int64)
            starts = np.array([0, len(past)], np.int32)
            before = ops.Past(keys, values, *table, starts, past, np.full(len(past), low, np.int64))
            ops.store_keys_values(before, k[: len(past)], v[: len(past)])
        done, turn = 0, 0
        while done < rows:
            step = min(rows - done, pieces[turn % len(pieces)] if pieces else rows)
            turn += 1
            index = np.arange(first + done, first + done + step, dtype=np.int64)
            visible = index - index % chunk if chunk else np.full(step, low, np.int64)
            starts = np.array([0, step], np.int32)
            new = slice(int(index[0]) - low, int(index[-1]) + 1 - low)
            seen = ops.Past(keys, values, *table, starts, index, visible)
            ops.store_keys_values(seen, k[new], v[new])
            with ws:
                out.append(ops.attention(ws, q[done : done + step], seen, case.head_dim**-0.5).copy())
            done += step
    return np.concatenate(out)


def pools(case: AttentionCase, count: int) -> tuple[Array, Array]:
    """`count` pages of keys and of values, with garbage in each number, and in each scale of q8_0."""
    pages = AttentionPages.empty(count, AttentionState(case.kv_heads, case.head_dim), case.kv_type)
    for pool in (pages.keys, pages.values):
        with np.errstate(over="ignore"):
            pool.reshape(-1).view(np.float16 if case.kv_type == "q8_0" else pool.dtype)[:] = case.garbage
    return pages.keys, pages.values


def operands(case: AttentionCase, span: int, rows: int, total: int) -> tuple[Array, Array, Array]:
    q = numbers(case.seed + 10 * span, rows, case.heads, case.head_dim) * np.float32(2)
    k = numbers(case.seed + 10 * span + 1, total, case.kv_heads, case.head_dim)
    v = numbers(case.seed + 10 * span + 2, total, case.kv_heads, case.head_dim)
    return q, k, v


def attention_float64(case: AttentionCase) -> Array:
    """The definition, on keys and values as stored."""
    out = []
    for s, (first, rows, chunk) in enumerate(case.spans):
        low = first - first % chunk if chunk else max(0, first - 4096)
        q, k, v = operands(case, s, rows, first + rows - low)
        stored_k, stored_v = as_stored(k, case.kv_type), as_stored(v, case.kv_type)
        group = case.heads // case.kv_heads
        for r in range(rows):
            index = first + r
            seen = slice((index - index % chunk if chunk else low) - low, index + 1 - low)
            scores = np.einsum("khd,phkd->hkp", *split_heads(q[r], stored_k[seen], group)) * case.head_dim**-0.5
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            weights /= weights.sum(-1, keepdims=True)
            mixed = np.einsum("hkp,phd->hkd", weights, stored_v[seen])
            out.append(mixed.reshape(case.heads, case.head_dim))
    return np.array(out)


def split_heads(q: Array, k: Array, group: int) -> tuple[Array, Array]:
    """q [heads, D] as [group, kv_heads, D]; k [positions, kv_heads, D] once for each of the group."""
    grouped = q.astype(np.float64).reshape(-1, group, q.shape[-1]).swapaxes(0, 1)
    return grouped, np.repeat(k[:, :, None], group, axis=2)


@dataclass(frozen=True)
class DeltaCase:
    """Spans of so many rows, each from a stored state or (every third) from zeros."""

    rows: tuple[int, ...]
    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int
    channels: int = 5
    width: int = 4
    seed: int = 0
    #: (row, slot), rows counted over all spans
    snapshots: tuple[tuple[int, int], ...] = ()

    @property
    def slots(self) -> int:
        return 2 * len(self.rows) + len(self.snapshots)


def delta_operands(case: DeltaCase) -> dict[str, Array]:
    rows = sum(case.rows)
    spans = np.arange(len(case.rows), dtype=np.int32)
    return {
        "qkv": numbers(case.seed, rows, 2 * case.key_heads * case.key_dim + case.value_heads * case.value_dim),
        "a": numbers(case.seed + 1, rows, case.value_heads),
        "b": numbers(case.seed + 2, rows, case.value_heads),
        "decay": -np.exp(numbers(case.seed + 3, case.value_heads)),
        "dt_bias": numbers(case.seed + 4, case.value_heads),
        "key_head_index": np.arange(case.value_heads, dtype=np.int32) % case.key_heads,
        "memory": numbers(case.seed + 5, case.slots, case.value_heads, case.key_dim, case.value_dim),
        "x": numbers(case.seed + 6, rows, case.channels),
        "weight": numbers(case.seed + 7, case.channels, case.width),
        "past": numbers(case.seed + 8, case.slots, case.width - 1, case.channels),
        "span_starts": np.cumsum([0, *case.rows], dtype=np.int32),
        "read_slots": np.where(spans % 3 == 2, -1, spans).astype(np.int32),
        "write_slots": (len(case.rows) + spans).astype(np.int32),
        "snapshots": np.array(case.snapshots, np.int32).reshape(-1, 2),
    }


def run_delta(case: DeltaCase, threads: int = 1) -> tuple[Array, Array, Array, Array]:
    """Outputs and slots of the delta rule, outputs and slots of the convolution."""
    _kernels.set_num_threads(threads)
    c = delta_operands(case)
    spans = (c["span_starts"], c["read_slots"], c["write_slots"], c["snapshots"])
    memory, past = c["memory"].copy(), c["past"].copy()
    ws = ops.Workspace()
    gates = (c["a"], c["b"], c["decay"], c["dt_bias"])
    out = ops.delta_rule(ws, c["qkv"], *gates, c["key_head_index"], case.key_heads, memory, *spans)
    convolved = ops.causal_convolution(ws, c["x"], c["weight"], past, *spans)
    return out.copy(), memory, convolved.copy(), past


def run_delta_in_pieces(case: DeltaCase, pieces: tuple[int, ...]) -> tuple[Array, Array, Array, Array]:
    """The same for a case of one span without snapshots, stepped in pieces, each reading what the last one wrote."""
    _kernels.set_num_threads(1)
    c = delta_operands(case)
    memory, past = c["memory"].copy(), c["past"].copy()
    ws = ops.Workspace()
    outs, convolved = [], []
    done, turn, read = 0, 0, c["read_slots"]
    while done < case.rows[0]:
        step = min(case.rows[0] - done, pieces[turn % len(pieces)])
        rows = slice(done, done + step)
        spans = (np.array([0, step], np.int32), read, c["write_slots"], NO_SNAPSHOTS)
        gates = (c["a"][rows], c["b"][rows], c["decay"], c["dt_bias"])
        part = ops.delta_rule(ws, c["qkv"][rows], *gates, c["key_head_index"], case.key_heads, memory, *spans)
        outs.append(part.copy())
        convolved.append(ops.causal_convolution(ws, c["x"][rows], c["weight"], past, *spans).copy())
        done, turn, read = done + step, turn + 1, c["write_slots"]
    return np.concatenate(outs), memory, np.concatenate(convolved), past


def with_garbage(case: AttentionCase, garbage: float) -> AttentionCase:
    return replace(case, garbage=garbage)
