"""Llama 4's licence in the European Union: a line that `run`, `chat` and `serve` print, once for each user.

The time zone tells where this machine is: nothing is asked over the network.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

#: IANA's zones of the member states
ZONES = frozenset(
    (
        *("Africa/Ceuta", "Asia/Famagusta", "Asia/Nicosia", "Atlantic/Azores", "Atlantic/Canary", "Atlantic/Madeira"),
        *("Eire", "Poland", "Portugal"),
        *(
            f"Europe/{city}"
            for city in (
                *("Amsterdam", "Athens", "Berlin", "Bratislava", "Brussels", "Bucharest", "Budapest", "Busingen"),
                *("Copenhagen", "Dublin", "Helsinki", "Lisbon", "Ljubljana", "Luxembourg", "Madrid", "Malta"),
                *("Mariehamn", "Nicosia", "Paris", "Prague", "Riga", "Rome", "Sofia", "Stockholm", "Tallinn"),
                *("Vienna", "Vilnius", "Warsaw", "Zagreb"),
            )
        ),
    )
)
_ZONE_FILES = "zoneinfo/"


def licence_line(family: str, name: str | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """The line for a model of this family; None outside the Union, for other models, and once it has been printed.

    name: what the user called the model; None: the embedded one.
    """
    from shoestring.samples.embedded import EMBEDDED

    zone = time_zone(environment)
    if family != "llama4" or name is None or name in EMBEDDED or zone not in ZONES or _printed():
        return None
    from shoestring.catalogue.load import builtin_catalogue

    catalogue = builtin_catalogue()
    clauses, licence = catalogue.clauses, catalogue.licences["llama4-community"]
    return (
        f'This machine\'s time zone is {zone}. {licence.name}: "{clauses["llama4-eu"].text}" '
        f'"{clauses["llama4-eu-end-users"].text}" ({licence.url}; this is information, not legal advice, and said once)'
    )


def time_zone(environment: Mapping[str, str] = os.environ, etc: Path = Path("/etc")) -> str:
    """The IANA name of this machine's time zone; "" if it is not known."""
    named = environment.get("TZ", "").removeprefix(":")
    if named:
        return named.partition(_ZONE_FILES)[2] or named
    with suppress(OSError):
        target = os.readlink(etc / "localtime")
        if _ZONE_FILES in target:
            return target.partition(_ZONE_FILES)[2]
    with suppress(OSError, UnicodeDecodeError):
        return (etc / "timezone").read_text(encoding="utf-8").strip()
    return ""


def _printed() -> bool:
    """Whether an earlier command has printed the line; notes that this one does. False where nothing can be noted."""
    import platformdirs

    folder = Path(platformdirs.user_data_dir("shoestring", appauthor=False))
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        (folder / "llama4-licence-shown").touch(exist_ok=False)
    except FileExistsError:
        return True
    except OSError:
        return False
    return False
