"""Compare the perplexity of the converted demo model with that of its original in llama.cpp, on the same text.

    python bench/perplexity.py --file TEXT [--context 512] [--bin LLAMA_BUILD/bin] [--tokens 8192]

The two files contain the same numbers, so the figures differ only by each engine's rounding: within 0.5 %.
llama.cpp is `llama-perplexity` of a build (--bin), or else the xllamacpp wheel, scored by the same definition:
windows of --context tokens, the second half of each scored.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import shoestring
from shoestring.checkpoint.open import open_checkpoint
from shoestring.checkpoint.text.tokenizer import Tokenizer
from shoestring.samples import smollm_as_llama4

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "peers"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, required=True, help="a text of at least --tokens tokens, UTF-8")
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=8192, help="how much of the text is scored")
    parser.add_argument("--bin", type=Path, help="folder with llama-perplexity of a llama.cpp build")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()

    path = smollm_as_llama4.ensure_demo()
    text, tokens = beginning(arguments.file.read_text(encoding="utf-8"), arguments.tokens, arguments.context)
    ours = shoestring.load(path, threads=arguments.threads).perplexity(text, context=arguments.context).perplexity
    if arguments.bin:
        theirs = by_program(arguments.bin, text, arguments.context)
    else:
        theirs = by_wheel(np.asarray(tokens, np.int32), arguments.context)
    print(json.dumps({"tokens": len(tokens), "ours": ours, "llama.cpp": theirs, "ratio": ours / theirs}))
    if abs(ours / theirs - 1) > 0.005:
        raise SystemExit("the perplexities differ by more than 0.5 %")


def beginning(text: str, tokens: int, context: int) -> tuple[str, list[int]]:
    """Whole windows from the start of the text, about `tokens` tokens, as text and ids."""
    tokenizer = Tokenizer.from_checkpoint(open_checkpoint(smollm_as_llama4.source_path()))
    ids = tokenizer.encode(text)
    if len(ids) < tokens:
        raise SystemExit(f"the text has {len(ids)} tokens, {tokens} are needed: give a longer one or --tokens")
    # If the text is cut in the middle of a word, its last tokens may change, so add a few more; the rest is not scored.
    part = tokenizer.decode(ids[: -(-tokens // context) * context + 4])
    return part, tokenizer.encode(part)


def by_program(folder: Path, text: str, context: int) -> float:
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        command = [str(folder / "llama-perplexity"), "-m", str(smollm_as_llama4.source_path()), "-f", file.name,
                   "-c", str(context)]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"Final estimate: PPL = ([0-9.]+)", done.stdout + done.stderr)
    if not found:
        raise SystemExit(f"{' '.join(command)} printed no estimate: {done.stderr.strip()[-500:]}")
    return float(found[1])


def by_wheel(tokens: np.ndarray[tuple[int], np.dtype[np.int32]], context: int) -> float:
    import llama_cpp

    losses = []
    for start in range(0, len(tokens) - context + 1, context):
        window = tokens[start : start + context]
        logits = llama_cpp.logits(smollm_as_llama4.source_path(), window)[context // 2 : context - 1].astype(np.float64)
        peak = logits.max(axis=1)
        chosen = logits[np.arange(len(logits)), window[context // 2 + 1 :]]
        losses.append(peak + np.log(np.exp(logits - peak[:, None]).sum(axis=1)) - chosen)
    return float(np.exp(np.concatenate(losses).mean()))


if __name__ == "__main__":
    main()
