"""What the extra [server] installs, and the one line for those who have not got it."""

from __future__ import annotations

import importlib.util

from shoestring.errors import RequestError

#: Import name → package.
PACKAGES = {
    "fastapi": "fastapi",
    "uvicorn": "uvicorn",
    "pydantic": "pydantic",
    "llguidance": "llguidance",
    "prometheus_client": "prometheus-client",
}
INSTALL = "pip install 'shoestring[server]'"


def missing_packages() -> list[str]:
    """What of the extra is not installed."""
    return [package for name, package in PACKAGES.items() if importlib.util.find_spec(name) is None]


def need_server_packages(command: str) -> None:
    """Raises RequestError with the pip command where the extra is not installed."""
    missing = missing_packages()
    if missing:
        raise RequestError(f"{command} needs packages that are not installed ({', '.join(missing)}): {INSTALL}")
