"""Choose what answers, by --on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoestring.cli.cluster.on_url import run_on_url
from shoestring.cli.cluster.on_vllm import run_on_vllm
from shoestring.errors import RequestError
from shoestring.printable import quoted

if TYPE_CHECKING:
    from shoestring.server.http.settings import Settings


def run_elsewhere(settings: Settings) -> None:
    """Serve with what `settings.on` names, other than this process. Raises ShoestringError."""
    if settings.on.startswith(("http://", "https://")):
        return run_on_url(settings)
    if settings.on == "vllm":
        return run_on_vllm(settings)
    raise RequestError(
        f"--on is {quoted(settings.on)}: choose local, vllm, ray, auto, or the URL of a server, http://HOST:PORT"
    )
