"""`shoestring version`."""

from __future__ import annotations

import json as json_module

import typer

from shoestring import __version__
from shoestring.cli.options import Debug, Json

HELP = "Print the version, the instruction set in use and those this CPU supports."


def version(json: Json = False, debug: Debug = False) -> None:
    from shoestring import ops

    facts = {
        "version": __version__,
        "numerics_version": ops.NUMERICS_VERSION,
        "isa": ops.isa(),
        "variants": ops.variants(),
    }
    if json:
        typer.echo(json_module.dumps(facts))
        return
    typer.echo(f"shoestring {__version__} (numerics version {facts['numerics_version']})")
    supported = ", ".join(ops.variants())
    typer.echo(f"instruction set: {facts['isa']} (this CPU supports {supported}; SHOESTRING_ISA chooses one)")
