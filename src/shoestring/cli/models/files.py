"""`shoestring pull` and `shoestring list`."""

from __future__ import annotations

import json as json_module
from typing import Annotated

import typer

from shoestring.cli import options
from shoestring.cli.progress import human
from shoestring.cli.say import say
from shoestring.printable import printable

PULL_HELP = """Download a checkpoint from the Hugging Face Hub into its standard cache. Files already there are skipped.

NAME is REPO, or REPO:QUANT for one quantization of a GGUF repository, e.g. org/model-GGUF:Q4_K_M. A catalogue name,
e.g. qwen3.5:35b-a3b, downloads the usual quantization."""

LIST_HELP = """List Qwen 3.5 and Llama 4 checkpoints in the caches of Hugging Face, llama.cpp, LM Studio and Ollama."""


def pull(
    name: Annotated[str, typer.Argument(metavar="NAME", help="REPO, REPO:QUANT or a catalogue name.")],
    debug: options.Debug = False,
) -> None:
    from shoestring import hub
    from shoestring.planning.candidates.candidates import hub_names

    short = hub_names(name)
    say(printable(str(hub.pull(short[0] if short else name))))


def list_checkpoints(json: options.Json = False, debug: options.Debug = False) -> None:
    from shoestring import stores

    checkpoints = stores.find_checkpoints()
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
    if not checkpoints:
        say("no Qwen 3.5 or Llama 4 checkpoint found: `shoestring pull` downloads one", err=True)
    names = [printable(f.name) for f in checkpoints]
    width = max(map(len, names), default=0)
    for name, f in zip(names, checkpoints, strict=True):
        path = printable(str(f.path))
        say(f"{name:{width}}  {f.family:8}  {human(f.size_bytes):>11}  {f.store:12}  {path}")
