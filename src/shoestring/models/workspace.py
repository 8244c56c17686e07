"""Memory of a process beside weights and state: interpreter, tokenizer, and the arrays of a step.

One bound for admission, `inspect` and the planner. Each term is what the code of lower layers allocates;
tests/runtime/test_resident.py compares the sum with measured peaks.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

from shoestring.checkpoint.config.types import Config
from shoestring.models.families import expert_layers
from shoestring.models.shapes import wanted_shapes

#: Default of the most rows of prompts in one step; no bit depends on it.
CHUNK = 512
#: Most rows of logits that exist at once.
HEAD_ROWS = 128
#: Rows of answers, forced tokens included, beside a prompt's.
_ANSWER_ROWS = 32
#: Interpreter, libraries and an idle server: measured 65 MiB for a command, 90 MiB for `serve`.
PROCESS_BYTES = 96 << 20
#: Bytes of a vocabulary entry and its merge, in metadata and tokenizer: measured 650 with 248,320 entries.
_TOKEN_BYTES = 800
#: Query rows that attention computes together, and segments of a long row with partial sums at one time.
_ATTENTION_VECTORS, _ATTENTION_SEGMENTS = 64, 65


@lru_cache(256)
def workspace_bytes(config: Config, threads: int) -> int:
    """Bytes of a process beside weights and state, with `threads` threads (0: another engine's kernels)."""
    outputs: Counter[str] = Counter()
    widest = 0
    for name, shape in wanted_shapes(config).items():
        if shape.is_matrix and name.startswith("layers.") and ".experts." not in name:
            outputs[name.split(".")[1]] += shape.rows
            widest = max(widest, shape.columns)
    step_rows, hidden = CHUNK + _ANSWER_ROWS, config.hidden_size
    # A layer's products, each with the result of a norm, rotation or gate, and the residual stream.
    activations = 4 * step_rows * (2 * max(outputs.values()) + 4 * hidden)
    logits = 4 * HEAD_ROWS * config.vocab_size
    # The kernels' shared scratch: quantized rows, or gate · up and down of every expert of every row.
    scratch = 4 * step_rows * widest
    for layer in expert_layers(config):
        chosen = config.num_experts_per_tok * (2 * layer.intermediate_size + hidden)
        scratch = max(scratch, 4 * step_rows * (chosen + 2 * hidden))
    # Of each thread: 16 unpacked rows, a unit of attention, and two units' partial sums if threads share long rows.
    vectors = 4 * _ATTENTION_VECTORS * config.head_dim
    thread = 32 * widest + 4 * vectors + 2 * _ATTENTION_SEGMENTS * vectors
    return PROCESS_BYTES + _TOKEN_BYTES * config.vocab_size + activations + logits + scratch + threads * thread
