"""Print to the terminal. Names, files and models' answers come from others: control characters show, without effect."""

from __future__ import annotations

import typer

from shoestring.printable import printable


def say(text: str = "", *, nl: bool = True, err: bool = False) -> None:
    """Print a text of one or more lines. nl: end the last line. err: to standard error."""
    typer.echo(printable(text, lines=True), nl=nl, err=err)
