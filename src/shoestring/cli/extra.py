"""Refuse a command that needs packages which are not installed."""

from __future__ import annotations

from shoestring.errors import RequestError
from shoestring.packages import install_command, missing_server_packages


def need_server_packages(command: str) -> None:
    """Raise RequestError with the pip command if packages are missing."""
    missing = missing_server_packages()
    if missing:
        raise RequestError(
            f"{command} needs packages that are not installed ({', '.join(missing)}): run `{install_command(missing)}`"
        )
