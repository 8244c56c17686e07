"""The command line: `shoestring`, and `python -m shoestring`. One file a command; app.py puts them together."""

from __future__ import annotations


def main() -> None:
    """Run the command line of this process and exit with its code."""
    import sys

    from shoestring.cli.app import run

    sys.exit(run(sys.argv[1:]))
