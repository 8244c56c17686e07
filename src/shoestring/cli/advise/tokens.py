"""`shoestring tokens`: count a text's tokens with the tokenizers of both families, and what they cost at hosts."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shoestring.cli import options
from shoestring.cli.find import find
from shoestring.errors import CheckpointError, RequestError
from shoestring.files import read_input_text

if TYPE_CHECKING:
    from shoestring.checkpoint.text.tokenizer import Tokenizer

#: Bytes of a text
LARGEST_TEXT = 16 << 20

HELP = """Count the tokens of a text with the tokenizers of Qwen 3.5 and Llama 4, and compare what they cost at hosts.

MODEL is a .gguf file, a Hugging Face folder (tokenizer.json and config.json suffice) or a downloaded model. Without
MODEL, the first checkpoint of each family that `shoestring list` finds is used."""

#: family → its name, and the catalogue's model whose price counts
FAMILIES = {"qwen3_5": ("Qwen 3.5", "qwen3.5-397b-a17b"), "llama4": ("Llama 4", "llama-4-scout")}


@dataclass(frozen=True)
class Counted:
    """Tokens of the text in one model's vocabulary. usd_copies: dollars for COPIES copies; None: no host is known."""

    model: str
    family: str
    tokens: int
    characters_per_token: float
    usd_copies: float | None
    provider: str
    row: str


def tokens(
    models: Annotated[list[str] | None, typer.Argument(metavar="MODEL", help="Models whose tokenizers count.")] = None,
    compare: Annotated[
        str | None, typer.Option("--compare", metavar="TEXT", help='The text, a UTF-8 file, or "-" for stdin.')
    ] = None,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    if not compare:
        raise RequestError('tokens needs a text: --compare "the text", --compare FILE, or --compare - for stdin')
    text = _text(compare)
    if not text:
        raise RequestError(f"{compare} is empty: give a text to count")
    counted = [_count(name, path, text) for name, path in _chosen(models or [])]
    missing = [name for family, (name, _) in FAMILIES.items() if family not in {c.family for c in counted}]
    if json:
        found = {"characters": len(text), "models": [asdict(c) for c in counted], "missing": missing}
        typer.echo(json_module.dumps(found))
        return
    for line in _lines(counted, text, missing):
        typer.echo(line)


def _text(given: str) -> str:
    """The text itself, of the file that it names, or of stdin. Raises RequestError."""
    try:
        named = given == "-" or Path(given).expanduser().exists()
    except (OSError, ValueError):  # longer than a name may be, or with a zero byte
        named = False
    return read_input_text(Path(given).expanduser(), LARGEST_TEXT) if named else given


def _chosen(models: list[str]) -> list[tuple[str, Path]]:
    """The models named, or the first of each family in the stores of this machine. Raises CheckpointError."""
    if models:
        return [(name, find(name)) for name in models]
    from shoestring.stores import find_checkpoints

    first: dict[str, tuple[str, Path]] = {}
    for found in find_checkpoints():
        first.setdefault(found.family, (found.name, found.path))
    if not first:
        raise CheckpointError(
            "no tokenizer of either family is on this machine: name folders with their tokenizer.json, or run "
            "`shoestring pull Qwen/Qwen3.5-0.8B`"
        )
    return [first[family] for family in FAMILIES if family in first]


def _opened(name: str, path: Path) -> tuple[Tokenizer, str]:
    """A tokenizer and its family. Reads no weights. Raises CheckpointError."""
    from shoestring.checkpoint.formats.json_file import read_json
    from shoestring.checkpoint.open import open_checkpoint
    from shoestring.checkpoint.text.tokenizer import Tokenizer
    from shoestring.stores import FAMILIES as BY_TYPE

    if (path / "tokenizer.json").is_file():
        kind = str(read_json(path / "config.json", CheckpointError).get("model_type"))
        tokenizer = Tokenizer.from_folder(path)
    else:
        checkpoint = open_checkpoint(path)
        tokenizer = Tokenizer.from_checkpoint(checkpoint)
        kind = str(checkpoint.metadata.get("general.architecture") or checkpoint.metadata.get("model_type"))
    if kind not in BY_TYPE:
        raise CheckpointError(f"{name} is of architecture {kind}: tokens compares Qwen 3.5 and Llama 4")
    return tokenizer, BY_TYPE[kind]


def _count(name: str, path: Path, text: str) -> Counted:
    from shoestring.catalogue.load import builtin_catalogue
    from shoestring.planning.advice.tokens import COPIES
    from shoestring.planning.cost import Money, cheapest_price

    tokenizer, family = _opened(name, path)
    count = len(tokenizer.encode(text))
    found = cheapest_price(FAMILIES[family][1], Money(), builtin_catalogue())
    usd = COPIES * count / 1e6 * found[0] if found is not None else None
    provider, row = (found[1].provider, found[1].id) if found is not None else ("", "")
    return Counted(name, family, count, len(text) / count, usd, provider, row)


def _lines(counted: list[Counted], text: str, missing: list[str]) -> list[str]:
    from shoestring.planning.advice.findings import dollars
    from shoestring.planning.advice.tokens import COPIES, more

    labels = [f"{FAMILIES[c.family][0]} ({c.model})" for c in counted]
    width = max(map(len, labels))
    lines = [f"{len(text):,} characters"]
    for label, c in zip(labels, counted, strict=True):
        line = f"{label:{width}}  {c.tokens:>9,} tokens  {c.characters_per_token:5.2f} characters a token"
        if c.usd_copies is not None:
            line += f"  {dollars(c.usd_copies)} for {COPIES:,} copies at {c.provider}"
        lines.append(line)
    by_family = {c.family: c for c in reversed(counted)}
    if len(by_family) == 2:
        qwen, llama = by_family["qwen3_5"], by_family["llama4"]
        percent = 100 * (qwen.tokens / llama.tokens - 1)
        said = "as many tokens as" if qwen.tokens == llama.tokens else f"{more(percent)} tokens than"
        lines.append(f"Qwen 3.5 takes {said} Llama 4.")
    if any(c.usd_copies is not None for c in counted):
        lines.append(
            "Prices: Qwen3.5-397B-A17B and Llama 4 Scout at their cheapest hosts, three tokens in for one out."
        )
    for name in missing:
        lines.append(
            f"No tokenizer of {name} is on this machine: name a folder with its tokenizer.json and config.json."
        )
    return lines
