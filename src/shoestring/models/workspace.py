"""Memory of a process beside weights and state: interpreter, tokenizer, and the arrays of its steps.

One bound for admission, `inspect`, the planner and a budget. Each term is what the code of lower layers allocates;
tests/runtime/test_resident.py compares the sum with measured peaks. A model that streams its experts has a second
workspace, for passes of many rows (engine/passes.py); `step_bytes` counts both.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

from shoestring.checkpoint.config.types import Config
from shoestring.models.families import expert_layers
from shoestring.models.shapes import wanted_shapes
from shoestring.models.slices import CHUNK_ROWS

#: Most rows of logits that exist at once, and their bytes.
_HEAD_ROWS, _LOGITS_BYTES = 128, 32 << 20
#: Interpreter, libraries and an idle server: measured 65 MiB for a command, 90 MiB for `serve`.
PROCESS_BYTES = 96 << 20
#: Bytes of a vocabulary entry and its merge, in metadata and tokenizer: measured 650 with 248,320 entries.
_TOKEN_BYTES = 800
#: Query rows that attention computes together, and segments of a long row with partial sums at one time.
_ATTENTION_VECTORS, _ATTENTION_SEGMENTS = 64, 65
#: A batch of pairs of a row and an expert, whose results are added in place: its least bytes, its least pairs.
_BATCH_BYTES, _BATCH_PAIRS = 4 << 20, 256


@lru_cache(256)
def workspace_bytes(config: Config, threads: int, rows: int = CHUNK_ROWS, kept_rows: int = CHUNK_ROWS) -> int:
    """Bytes of a process beside weights and state, with `threads` threads (0: another engine's kernels).

    rows: the most rows of a step. kept_rows: the most rows whose experts keep a result for each row and expert until
    the sum (`ops.experts`, not `ops.add_experts`). The defaults are those of a model in memory.
    """
    process = PROCESS_BYTES + _TOKEN_BYTES * config.vocab_size
    return process + step_bytes(config, rows) + _kernel_bytes(config, threads, min(rows, CHUNK_ROWS), kept_rows)


@lru_cache(256)
def step_bytes(config: Config, rows: int) -> int:
    """Bytes of the arrays of a step of `rows` rows: those of a chunk, and of every row what outlives a chunk."""
    outputs: Counter[str] = Counter()
    for layer, shape_rows, _ in _layer_matrices(config):
        outputs[layer] += shape_rows
    # A layer's products, each with the result of a norm, rotation or gate.
    activations = 4 * min(rows, CHUNK_ROWS) * 2 * max(outputs.values())
    return activations + rows * row_bytes(config) + 4 * min(rows, head_rows(config.vocab_size)) * config.vocab_size


def head_rows(vocab_size: int) -> int:
    """The most rows of logits that exist at once."""
    return max(8, min(_HEAD_ROWS, _LOGITS_BYTES // (4 * vocab_size)))


def row_bytes(config: Config) -> int:
    """Bytes that a row takes while its step goes through a layer.

    The residual stream, its norm, the sums of the routed and of the shared experts; rotations and positions; the chosen
    experts, by row and sorted by expert.
    """
    return 4 * (4 * config.hidden_size + config.rotary.dims + 16) + 32 * config.num_experts_per_tok


def _kernel_bytes(config: Config, threads: int, chunk_rows: int, kept_rows: int) -> int:
    """The kernels' scratch. Experts that add their results in place do so in batches of a few megabytes."""
    hidden, widest = config.hidden_size, max(columns for _, _, columns in _layer_matrices(config))
    # Shared: quantized rows, or gate · up and down of every expert of every row.
    scratch = 4 * chunk_rows * widest
    for layer in expert_layers(config):
        chosen = config.num_experts_per_tok * (2 * layer.intermediate_size + hidden)
        batch = max(_BATCH_BYTES, 8 * _BATCH_PAIRS * (layer.intermediate_size + hidden))
        scratch = max(scratch, 4 * kept_rows * (chosen + 2 * hidden), batch)
    # Of each thread: a panel of weights with the tokens beside it (up to 1.2 MB with AMX and 1.8 MB with i8mm, for
    # which the sums leave room), a unit of attention, and two units' partial sums if threads share long rows.
    vectors = 4 * _ATTENTION_VECTORS * config.head_dim
    return scratch + threads * (32 * widest + 4 * vectors + 2 * _ATTENTION_SEGMENTS * vectors)


@lru_cache(64)
def _layer_matrices(config: Config) -> tuple[tuple[str, int, int], ...]:
    """Layer, rows and columns of each layer's matrices but its routed experts'."""
    return tuple(
        (name.split(".")[1], shape.rows, shape.columns)
        for name, shape in wanted_shapes(config).items()
        if shape.is_matrix and name.startswith("layers.") and ".experts." not in name
    )
