"""How old a row is, and whether the catalogue knows a newer one about the same subject."""

from __future__ import annotations

import datetime

from shoestring.catalogue.schema import Catalogue, Row

#: the fields that say what a row of each table is about
SUBJECTS: dict[str, tuple[str, ...]] = {
    "scores": ("model", "benchmark"),
    "prices": ("model", "provider"),
    "rentals": ("device", "provider"),
    "purchases": ("device", "memory_bytes"),
}


def age_days(date: str, today: datetime.date | None = None) -> int:
    """Days since a row's date."""
    return ((today or datetime.date.today()) - datetime.date.fromisoformat(date)).days


def outdated(row: Row, catalogue: Catalogue) -> bool:
    """Whether the catalogue has a newer row about the same subject, e.g. a later price of the same provider."""
    for table, names in SUBJECTS.items():
        rows: dict[str, Row] = getattr(catalogue, table)
        if rows.get(row.id) is row:
            subject = [getattr(row, name) for name in names]
            return any(
                other.date > row.date and [getattr(other, name) for name in names] == subject for other in rows.values()
            )
    return False
