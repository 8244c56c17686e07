"""Compare two models by their names: `shoestring.compare`."""

from __future__ import annotations

import inspect
from typing import Any

from shoestring.errors import RequestError
from shoestring.files import named_path
from shoestring.planning.candidates.candidates import resolve_row
from shoestring.planning.compare import Comparison
from shoestring.planning.compare import compare as compare_planned
from shoestring.planning.plan import Plan, plan


def compare(first: str, second: str, **wishes: Any) -> Comparison:
    """Compare two models for a use case, on a machine: scores, prices, licences, and when to choose which.

    wishes: the keywords of `shoestring.plan`. Raises RequestError or CheckpointError with one sentence, TypeError for
    other keywords.
    """
    unknown = [name for name in wishes if name not in inspect.signature(plan).parameters or name == "models"]
    if unknown:
        raise TypeError(f"compare has no option {unknown[0]!r}: it takes the keywords of shoestring.plan")
    return of_plan(plan(first, second, **wishes), first, second)


def of_plan(planned: Plan, first: str, second: str) -> Comparison:
    """The comparison of a plan's two models by the user's names. Raises RequestError if both mean the same model."""
    ids = [id_of(name, planned) for name in (first, second)]
    if ids[0] == ids[1]:
        same = planned.assessments[0].candidate.name
        raise RequestError(f"compare needs two different models: {first} and {second} both mean {same}")
    return compare_planned(planned, *ids)


def id_of(name: str, planned: Plan) -> str:
    """The id of the assessment for a user's name."""
    row = resolve_row(name, planned.catalogue)
    if row is not None:
        return row.id
    path = named_path(name)
    return path.name if path.exists() else name
