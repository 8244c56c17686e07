"""What Ray's files import: the replicas of a model as an application, `application:build`."""

from __future__ import annotations

from typing import Any

from shoestring.server.backends.replicas.deployment import Deployment
from shoestring.server.backends.replicas.options import read_count
from shoestring.server.backends.replicas.replica import Source
from shoestring.server.limits import Limits


def build(arguments: dict[str, Any]) -> Any:
    """The application. arguments: the fields of Source, and `replicas` as the option has it."""
    fields = dict(arguments)
    count = read_count(str(fields.pop("replicas", "1")))
    fields["aliases"] = tuple(fields.get("aliases", ()))
    return Deployment(Source(**fields), count, Limits()).bound()
