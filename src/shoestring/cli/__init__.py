"""The command line: `shoestring`, and `python -m shoestring`. One file a command; app.py puts them together."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line of this process and exit with its code."""
    try:
        from shoestring.cli.app import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # while the commands were still being imported
        print("error: interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)
