"""How much of a long list the default tests try. `make deep` tries all: its properties draw new examples."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from hypothesis import settings

T = TypeVar("T")

#: Whether this run is part of `make deep`: bench/deep.sh chooses the profile.
THOROUGH = settings.get_current_profile_name() == "new"


def some(items: Iterable[T], every: int) -> list[T]:
    """One item of `every`, from the first on; in a thorough run all."""
    chosen = list(items)
    return chosen if THOROUGH else chosen[::every]
