"""Check whether the packages of the extra [server] are installed."""

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
    """Packages of the extra that are not installed."""
    return [package for name, package in PACKAGES.items() if importlib.util.find_spec(name) is None]


def need_server_packages(command: str) -> None:
    """Raise RequestError with the pip command if packages are missing."""
    missing = missing_packages()
    if missing:
        raise RequestError(f"{command} needs packages that are not installed ({', '.join(missing)}): {INSTALL}")
