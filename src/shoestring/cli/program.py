"""How this program is called here: by its name where the shell finds it, else by the path that was typed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys

NAME = "shoestring"


def program() -> str:
    """`shoestring`, or a path to it such as `.venv/bin/shoestring`, ready for a shell."""
    typed = sys.argv[0] if sys.argv else ""
    if os.path.basename(typed) != NAME or not os.path.exists(typed):
        return NAME  # a module or another program runs it
    on_path = shutil.which(NAME)
    if on_path is not None and os.path.samefile(on_path, typed):
        return NAME
    return shlex.quote(typed)


def as_typed(text: str) -> str:
    """The text with each of our commands as it can be typed here: those in backticks or at the start of a line."""
    return re.sub(rf"(`|^ *){NAME} (?=[a-z-])", lambda match: f"{match[1]}{program()} ", text, flags=re.M)
