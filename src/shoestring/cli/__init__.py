"""The command line: `shoestring`, and `python -m shoestring`. One file a command; app.py puts them together."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line of this process and exit with its code."""
    try:
        from shoestring.cli.app import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # while the commands were still being imported
        print("error: interrupted", file=sys.stderr)
        code = 130
    if code == 130:
        # Python itself would end by the signal where Ctrl-C fell into code that a library built with exec().
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)
    sys.exit(code)
