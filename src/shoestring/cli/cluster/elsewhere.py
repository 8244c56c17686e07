"""Choose what answers, by --on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from shoestring.cli.cluster.on_auto import chosen, nodes_of, settled
from shoestring.cli.cluster.on_ray import run_on_ray
from shoestring.cli.cluster.on_url import check_url, run_on_url
from shoestring.cli.cluster.on_vllm import run_on_vllm
from shoestring.cli.say import say

if TYPE_CHECKING:
    from shoestring.server.http.settings import Settings


def run_elsewhere(settings: Settings, here: Callable[[Settings], None], dry_run: Path | None = None) -> None:
    """Serve with what `settings.on` names, or write what would run into a folder. Raises ShoestringError.

    here: serves with this process, which --on auto may choose.
    """
    if settings.on == "auto":
        settings = _auto(settings)
    if dry_run is not None:
        from shoestring.cli.cluster.dry_run import write_files

        return write_files(settings, dry_run)
    if settings.on == "local":
        return here(settings)
    if settings.on == "vllm":
        return run_on_vllm(settings)
    if settings.on == "ray":
        return run_on_ray(settings)
    check_url(settings.on)
    run_on_url(settings)


def _auto(settings: Settings) -> Settings:
    """What plan finds, said on one line."""
    choice = chosen(settings, nodes_of(settings))
    say(f"--on auto serves {choice.on}, because of this row of plan: {choice.row}", err=True)
    return settled(settings, choice)
