"""Which devices are common: what people own, and what several public tables of measurements and rents have."""

from __future__ import annotations

from collections import Counter

from shoestring.catalogue.schema import Catalogue

#: tables of measurements or rents that must name a device
TABLES = 2


def common_devices(catalogue: Catalogue) -> tuple[str, ...]:
    """Ids of the common devices, those that most tables name first.

    A device is common if a table of owners names it, or at least TABLES others do.
    """
    tables = catalogue.collections.values()
    count = Counter(device for table in tables for device in table.devices)
    owned = {device for table in tables if table.owners for device in table.devices}
    return tuple(device for device, named in count.most_common() if device in owned or named >= TABLES)
