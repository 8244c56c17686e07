"""The command line: `shoestring`, and `python -m shoestring`. There is one file per command; app.py combines them."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line of this process and exit with its code."""
    try:
        from shoestring.cli.app import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # during the import of the commands
        print("error: interrupted", file=sys.stderr)
        code = 130
    if code == 130:
        # Python itself would exit by the signal if Ctrl-C arrived in code that a library built with exec().
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)
    sys.exit(code)
