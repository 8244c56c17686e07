"""What a process holds beside weights and state: itself, its tokenizer, and what a step computes with.

One bound for admission, `inspect` and the planner. Each term is what the code below it allocates; the sum is held to
measured peaks by tests/runtime/test_resident.py.
"""

from __future__ import annotations

from collections import Counter

from shoestring.checkpoint.config.types import Config
from shoestring.models.families import expert_layers
from shoestring.models.shapes import wanted_shapes

#: Rows of prompts in one step, unless the caller asks for others; no bits depend on it.
CHUNK = 512
#: Most rows of logits that exist at once.
HEAD_ROWS = 128
#: Rows of answers, and of what is forced upon them, beside a prompt's.
_ANSWER_ROWS = 32
#: Interpreter, libraries and a server without requests: 65 MiB from the command line, 90 MiB of `serve`.
PROCESS_BYTES = 96 << 20
#: A token of the vocabulary with its merge, in the checkpoint's metadata and in the tokenizer: 650 of 248,320 such.
_TOKEN_BYTES = 800
#: Query rows that attention takes together, and segments of a long row whose partial sums wait at once.
_ATTENTION_VECTORS, _ATTENTION_SEGMENTS = 64, 65


def workspace_bytes(config: Config, threads: int) -> int:
    """Bytes that a process needs beside weights and state, computing with `threads` threads (0: not by our kernels)."""
    outputs: Counter[str] = Counter()
    widest = 0
    for name, shape in wanted_shapes(config).items():
        if shape.is_matrix and name.startswith("layers.") and ".experts." not in name:
            outputs[name.split(".")[1]] += shape.rows
            widest = max(widest, shape.columns)
    step_rows, hidden = CHUNK + _ANSWER_ROWS, config.hidden_size
    # A layer's products, each with what a norm, rotation or gate makes of it, and the residual stream.
    activations = 4 * step_rows * (2 * max(outputs.values()) + 4 * hidden)
    logits = 4 * HEAD_ROWS * config.vocab_size
    # The kernels' shared scratch: quantized rows, or gate · up and down of every expert of every row.
    scratch = 4 * step_rows * widest
    for layer in expert_layers(config):
        chosen = config.num_experts_per_tok * (2 * layer.intermediate_size + hidden)
        scratch = max(scratch, 4 * step_rows * (chosen + 2 * hidden))
    # Each thread's: 16 unpacked rows, a unit of attention, and two units' partial sums where threads share long rows.
    vectors = 4 * _ATTENTION_VECTORS * config.head_dim
    own = 32 * widest + 4 * vectors + 2 * _ATTENTION_SEGMENTS * vectors
    return PROCESS_BYTES + _TOKEN_BYTES * config.vocab_size + activations + logits + scratch + threads * own
