"""`shoestring tokens`: what a text, a picture or a video costs in tokens of both families, and a text at hosts."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shoestring.cli import options
from shoestring.cli.advise import media_tokens
from shoestring.cli.advise.vocabularies import FAMILIES, open_tokenizer
from shoestring.cli.find import find
from shoestring.cli.shared import option, spread
from shoestring.errors import CheckpointError, RequestError
from shoestring.files import named_path, read_input_text

if TYPE_CHECKING:
    from shoestring.media.settings import Wishes

#: Bytes of a text
LARGEST_TEXT = 16 << 20

HELP = """Count the tokens of a text, of pictures and videos in Qwen 3.5 and Llama 4, and what a text costs at hosts.

MODEL is a .gguf file, a Hugging Face folder (tokenizer.json and config.json suffice) or a downloaded model. Without
MODEL, the first checkpoint of each family that `shoestring list` finds counts the text. Pictures and videos need no
checkpoint: MODEL may be any model that `shoestring plan` knows, and without MODEL both families count them."""


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


@dataclass(frozen=True)
class Media:
    """Pictures and videos, and how many tokens and frames they may take."""

    image: list[str] | None = option("FILE", "A picture whose tokens are counted; may be repeated.", "--image")
    video: list[str] | None = option("FILE", "A video whose tokens are counted; may be repeated.", "--video")
    max_image_tokens: options.MaxImageTokens = None
    video_fps: options.VideoFps = None
    max_frames: options.MaxFrames = None

    def wishes(self) -> Wishes:
        """The options, checked. Raises RequestError."""
        from shoestring.media.settings import checked_wishes

        return checked_wishes(self.max_image_tokens, self.video_fps, self.max_frames)


@spread
def tokens(
    models: Annotated[list[str] | None, typer.Argument(metavar="MODEL", help="Models whose tokens count.")] = None,
    compare: Annotated[
        str | None, typer.Option("--compare", metavar="TEXT", help='The text, a UTF-8 file, or "-" for stdin.')
    ] = None,
    media: Media = Media(),
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    files = [*(media.image or []), *(media.video or [])]
    if not compare and (compare is not None or not files):
        raise RequestError('tokens needs a text: --compare "the text", --compare FILE, or --compare - for stdin')
    costs = _media(models or [], media) if files else []
    if not compare:
        _print([], json, {"media": [asdict(cost) for cost in costs]}, media_tokens.lines(costs))
        return
    text = _text(compare)
    if not text:
        raise RequestError(f"{compare} is empty: give a text to count")
    counted = [_count(name, path, text) for name, path in _chosen(models or [])]
    missing = [name for family, (name, _) in FAMILIES.items() if family not in {c.family for c in counted}]
    found = {"characters": len(text), "models": [asdict(c) for c in counted], "missing": missing}
    if files:
        found["media"] = [asdict(cost) for cost in costs]
    _print(_lines(counted, text, missing), json, found, media_tokens.lines(costs) if costs else [])


def _print(text_lines: list[str], json: bool, found: dict[str, object], media_lines: list[str]) -> None:
    if json:
        typer.echo(json_module.dumps(found))
        return
    for line in (*text_lines, *media_lines):
        typer.echo(line)


def _media(models: list[str], media: Media) -> list[media_tokens.MediaCost]:
    readers = [media_tokens.reader_of(name) for name in dict.fromkeys(models)] or media_tokens.published_readers()
    images, videos = ([named_path(name) for name in names or []] for names in (media.image, media.video))
    return media_tokens.media_costs(images, videos, readers, media.wishes())


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


def _count(name: str, path: Path, text: str) -> Counted:
    from shoestring.catalogue.load import builtin_catalogue
    from shoestring.planning.advice.tokens import COPIES
    from shoestring.planning.cost import Money, cheapest_price

    tokenizer, family = open_tokenizer(name, path)
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
