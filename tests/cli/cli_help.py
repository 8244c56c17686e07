"""Writes cli_help.txt: every command, argument, option and help text. Run it after changing them on purpose."""

from __future__ import annotations

from pathlib import Path

import typer.main

from shoestring.cli.app import app

FROZEN = Path(__file__).with_name("cli_help.txt")


def help_text() -> str:
    """All help texts, independent of the terminal's width and typer's layout."""
    group = typer.main.get_command(app)
    lines = [f"shoestring: {group.help}", f"  {group.epilog}"]
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        lines += ["", f"shoestring {name}: {command.get_short_help_str(100)}"]
        lines += [f"  {line}" for line in (command.help or "").splitlines() if line]
        for parameter in command.params:
            names = ", ".join([*parameter.opts, *parameter.secondary_opts])
            if parameter.param_type_name == "argument":
                names = parameter.metavar or parameter.name
            assert parameter.help, f"{name} {names} has no help"
            lines.append(f"  {names}: {parameter.help}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    FROZEN.write_text(help_text(), encoding="utf-8")
