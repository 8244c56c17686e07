"""`shoestring pull` and `shoestring list`."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shoestring.cli import options
from shoestring.cli.program import as_typed
from shoestring.cli.say import say
from shoestring.printable import printable
from shoestring.runtime.scripted import DEMO_SCRIPTED
from shoestring.sizes import human

if TYPE_CHECKING:
    from shoestring import stores
    from shoestring.hub import Selection

PULL_HELP = """Download a checkpoint from the Hugging Face Hub into its standard cache. Files already there are skipped.

NAME is REPO, or REPO:QUANT for one quantization of a GGUF repository, e.g. org/model-GGUF:Q4_K_M. A catalogue name,
e.g. qwen3.5:35b-a3b, downloads the usual quantization. The vision tower of a GGUF model, its mmproj file, comes with
it. pull prints the size first, and resumes where it was interrupted."""

LIST_HELP = """List Qwen 3.5 and Llama 4 checkpoints in the caches of Hugging Face, llama.cpp, LM Studio and Ollama, and
the embedded test models."""


def pull(
    name: Annotated[str, typer.Argument(metavar="NAME", help="REPO, REPO:QUANT or a catalogue name.")],
    revision: Annotated[
        str | None,
        typer.Option("--revision", metavar="REV", help="Branch, tag or commit. [default: main]"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the files with their sizes; download nothing.")
    ] = False,
    no_mmproj: Annotated[
        bool, typer.Option("--no-mmproj", help="Leave the vision tower of a GGUF model out: it then reads text alone.")
    ] = False,
    debug: options.Debug = False,
) -> None:
    from shoestring import hub
    from shoestring.planning.candidates.candidates import hub_names

    short = hub_names(name)
    selection = hub.select(short[0] if short else name, revision=revision, sees=not no_mmproj)
    if dry_run:
        for file in selection.files:
            say(f"{human(file.size):>11}  {printable(file.path)}")
    say(_sizes(selection), err=not dry_run)
    if not dry_run:
        say(printable(str(hub.download(selection))))


def _sizes(selection: Selection) -> str:
    """What a download takes, in one line."""
    count, missing = len(selection.files), selection.missing_bytes
    rest = "all of it is here" if not missing else f"{human(missing)} to download"
    files = f"{count} file{'s' * (count != 1)}"
    if selection.tower is not None:
        files += f" (with {printable(selection.tower.path)}, its vision tower)"
    return f"{printable(selection.repo)} at {selection.commit[:12]}: {human(selection.size_bytes)} in {files}, {rest}"


def list_checkpoints(json: options.Json = False, debug: options.Debug = False) -> None:
    from shoestring import stores

    checkpoints = [*stores.find_checkpoints(), *embedded()]
    if json:
        say(
            json_module.dumps(
                [
                    {"name": f.name, "family": f.family, "bytes": f.size_bytes, "store": f.store, "path": str(f.path)}
                    for f in checkpoints
                ]
            )
        )
        return
    if all(checkpoint.store == "embedded" for checkpoint in checkpoints):
        say(as_typed("no Qwen 3.5 or Llama 4 checkpoint found: `shoestring pull` downloads one"), err=True)
    names = [printable(f.name) for f in checkpoints]
    width = max(map(len, names), default=0)
    for name, f in zip(names, checkpoints, strict=True):
        path = printable(str(f.path))
        size = human(f.size_bytes) if f.size_bytes else "–"
        say(f"{name:{width}}  {f.family:8}  {size:>11}  {f.store:12}  {path}")


def embedded() -> list[stores.Found]:
    """The embedded models, as entries of the list. One that is not written yet, at its first use, has no size."""
    from shoestring import stores
    from shoestring.samples.embedded import FILES

    found = []
    for name, (family, place) in FILES.items():
        path = place()
        found.append(stores.Found(name, "embedded", family, path, path.stat().st_size if path.is_file() else 0))
    return [*found, stores.Found(DEMO_SCRIPTED, "embedded", "qwen3_5", Path("a script without weights"), 0)]
