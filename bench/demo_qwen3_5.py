"""Evaluate the finished demo-qwen3.5: compare its answers with its teacher's, and its perplexity in other engines.

    python bench/demo_qwen3_5.py questions [--markdown FILE]      the forty questions, greedy, both demo models
    python bench/demo_qwen3_5.py engines --file TEXT              perplexity in our engine, transformers and llama.cpp
    python bench/demo_qwen3_5.py size                             package data, first use, the cached file

demo-llama4 computes exactly the same as the teacher, SmolLM2-135M-Instruct, so it serves as the teacher. `--model FILE`
measures a joined file that is not installed yet. `python -m train_demo --evaluate` measures what needs the model's
internals. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

import shoestring
from shoestring.checkpoint.formats.gguf import open_gguf
from shoestring.checkpoint.text.tokenizer import Tokenizer
from shoestring.errors import ShoestringError
from shoestring.samples import demo_qwen3_5, smollm_as_llama4
from shoestring.samples.demo_qwen3_5 import hugging_face
from shoestring.samples.demo_qwen3_5.join import join

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "peers"), str(ROOT / "tools")]

from train_demo.questions import QUESTIONS, Question  # noqa: E402

MOST_TOKENS = 160
WINDOW = 256
Ids = np.ndarray[tuple[int], np.dtype[np.int32]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("questions", "engines", "size"))
    parser.add_argument("--model", type=Path, help="a joined GGUF file instead of the installed demo-qwen3.5")
    parser.add_argument("--file", type=Path, help="engines: a text of at least --tokens tokens, UTF-8")
    parser.add_argument("--tokens", type=int, default=2048, help="engines: how much of the text")
    parser.add_argument("--markdown", type=Path, help="questions: write the answers side by side")
    arguments = parser.parse_args()
    if arguments.what == "size":
        print(json.dumps(size()))
        return
    path = arguments.model or demo_qwen3_5.ensure_demo()
    if arguments.what == "questions":
        results = questions(path, arguments.markdown)
    else:
        if arguments.file is None:
            parser.error("engines needs --file TEXT")
        results = engines(path, arguments.file.read_text(encoding="utf-8"), arguments.tokens)
    print(json.dumps(results))


# --- answers ---------------------------------------------------------------------------------------------------


def questions(path: Path, markdown: Path | None) -> dict[str, object]:
    """Greedy answers of both models; how many of the teacher's right answers the student gets right, and loops."""
    answers = [answered(smollm_as_llama4.ensure_demo()), answered(path)]
    rows = list(zip(QUESTIONS, *answers, strict=True))
    known = [(mine, q) for q, theirs, mine in rows if q.accepted and right(q, theirs)]
    also_right = sum(right(q, mine) for mine, q in known)
    calm = sum(not loops(mine) for _, _, mine in rows)
    for q, theirs, mine in rows:
        marks = "".join("+" if right(q, a) else "-" for a in (theirs, mine)) if q.accepted else "  "
        print(f"{marks} {'loops ' if loops(mine) else ''}{q.text}\n   {theirs!r}\n   {mine!r}")
    if markdown is not None:
        markdown.write_text(as_markdown(rows), encoding="utf-8")
    return {"teacher_right": len(known), "of_these_right": also_right, "without_loops": calm, "questions": len(rows)}


def answered(path: Path) -> list[str]:
    model = shoestring.load(path, context=1024)
    return [
        "".join(
            piece.text
            for piece in model.generate(
                messages=[{"role": "user", "content": q.text}], temperature=0, max_tokens=MOST_TOKENS
            )
        ).strip()
        for q in QUESTIONS
    ]


def right(question: Question, answer: str) -> bool:
    """Whether the answer contains one of the accepted words."""
    return any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", answer.lower()) for word in question.accepted)


def loops(answer: str) -> bool:
    """Whether a line or sentence of four or more words occurs three times, or any five words in a row four times."""
    pieces = [tuple(piece.split()) for piece in re.split(r"[.!?\n]+", answer.lower())]
    words = answer.lower().split()
    runs = Counter(tuple(words[i : i + 5]) for i in range(len(words) - 4))
    return max(Counter(p for p in pieces if len(p) >= 4).values(), default=0) >= 3 or max(runs.values(), default=0) >= 4


def as_markdown(rows: list[tuple[Question, str, str]]) -> str:
    lines = ["| question | SmolLM2-135M (demo-llama4) | demo-qwen3.5 |", "|---|---|---|"]
    for question, theirs, mine in rows:
        cells = (text.replace("|", "\\|").replace("\n", "<br>") for text in (question.text, theirs, mine))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


# --- engines ---------------------------------------------------------------------------------------------------


def engines(path: Path, text: str, count: int) -> dict[str, object]:
    """Perplexity of the same windows: the file in ours and llama.cpp, the exported folder in ours and transformers."""
    tokens = np.asarray(Tokenizer.from_checkpoint(open_gguf(path)).encode(text)[:count], np.int32)
    if len(tokens) < count:
        raise SystemExit(f"the text has {len(tokens)} tokens, {count} are needed: give a longer one or --tokens")
    windows = [tokens[i : i + WINDOW] for i in range(0, count - WINDOW + 1, WINDOW)]
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / "demo"
        hugging_face.export(open_gguf(path), exported)
        ours, ours_exported = here(path, windows), here(exported, windows)
        theirs, same_top = in_transformers(exported, windows)
    peer = in_llama_cpp(path, windows)
    return {
        "tokens": count,
        "gguf": ours,
        "llama.cpp": peer,
        "gguf ÷ llama.cpp": ours / peer,
        "folder": ours_exported,
        "transformers": theirs,
        "folder ÷ transformers": ours_exported / theirs,
        "same top-1": same_top,
    }


def perplexity(logits: list[np.ndarray], windows: list[Ids]) -> float:
    total, count = 0.0, 0
    for rows, ids in zip(logits, windows, strict=True):
        wide = rows[:-1].astype(np.float64)
        peak = wide.max(axis=1)
        total += float(
            (peak + np.log(np.exp(wide - peak[:, None]).sum(axis=1)) - wide[np.arange(len(wide)), ids[1:]]).sum()
        )
        count += len(wide)
    return math.exp(total / count)


def here(path: Path, windows: list[Ids]) -> float:
    model = shoestring.load(path, context=WINDOW)
    return perplexity([model.logits(ids.tolist()) for ids in windows], windows)


def in_transformers(folder: Path, windows: list[Ids]) -> tuple[float, float]:
    """Perplexity of transformers in float32, and the share of positions with the same most likely token."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        theirs = [model(torch.tensor(ids.astype(np.int64))[None]).logits[0].numpy() for ids in windows]
    own = shoestring.load(folder, context=WINDOW)
    same = [
        rows.argmax(axis=1) == own.logits(ids.tolist()).argmax(axis=1)
        for rows, ids in zip(theirs, windows, strict=True)
    ]
    return perplexity(theirs, windows), float(np.concatenate(same).mean())


def in_llama_cpp(path: Path, windows: list[Ids]) -> float:
    import llama_cpp

    return perplexity([llama_cpp.logits(path, ids) for ids in windows], windows)


# --- size ------------------------------------------------------------------------------------------------------


def size() -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "joined.gguf"
        started = time.perf_counter()
        join(open_gguf(smollm_as_llama4.source_path()), open_gguf(demo_qwen3_5.trained_path()), path)
        seconds = time.perf_counter() - started
        return {
            "package_data_bytes": demo_qwen3_5.trained_path().stat().st_size,
            "first_use_seconds": round(seconds, 1),
            "cached_bytes": path.stat().st_size,
        }


if __name__ == "__main__":
    try:
        main()
    except ShoestringError as error:
        raise SystemExit(f"error: {error}") from None
