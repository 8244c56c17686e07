"""`shoestring version`."""

from __future__ import annotations

import json as json_module

from shoestring import __version__
from shoestring.cli.options import Debug, Json
from shoestring.cli.say import say

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
        say(json_module.dumps(facts))
        return
    say(f"shoestring {__version__} (numerics version {facts['numerics_version']})")
    supported = ", ".join(ops.variants())
    say(f"instruction set: {facts['isa']} (this CPU supports {supported}; SHOESTRING_ISA chooses one)")
