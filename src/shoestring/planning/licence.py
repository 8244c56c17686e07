"""Check a licence's terms for this user, with the clause that decides. Information, not legal advice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shoestring.catalogue.schema import Catalogue, Clause, Licence

NOT_ADVICE = "This is information, not legal advice."


@dataclass(frozen=True)
class User:
    """Who asks, as far as licences care. None: not given.

    company_mau: monthly active users of the licensee and its affiliates together, in the month that the licence counts.
    eu: domiciled in the European Union, or a company with its principal place of business there.
    end_user: uses another's product that contains the model. derived: publishes models made with it or its outputs.
    """

    company_mau: int | None = None
    eu: bool = False
    end_user: bool = False
    derived: bool = False


@dataclass(frozen=True)
class Terms:
    """`usable`: whether the public licence grants this user its rights; if not, `reason` quotes the clause."""

    licence: Licence
    usable: bool
    reason: str
    #: what the user has to know, in the order of importance
    findings: tuple[str, ...]
    #: the licence and the clauses quoted
    rows: tuple[str, ...]


def judge(licence: Licence, modalities: Sequence[str], user: User, catalogue: Catalogue) -> Terms:
    """The terms of a model that reads `modalities`, for a user."""
    clauses = {c.topic: c for c in catalogue.clauses.values() if c.licence == licence.id}
    limit, month = licence.limit_mau, licence.limit_month
    over = bool(limit and user.company_mau is not None and user.company_mau > limit)
    excluded = not licence.eu_multimodal and user.eu and any(m != "text" for m in modalities)
    reasons: list[str] = []
    notes: list[str] = []
    cited: list[Clause] = []

    def quoted(topic: str) -> str:
        cited.append(clauses[topic])
        return f'"{clauses[topic].text}" ({clauses[topic].section})'

    if excluded and user.end_user:
        notes.append(f"as an end user of another's product you are exempt: {quoted('eu-end-users')}")
    elif excluded:
        reasons.append(f"the {licence.name} does not grant you its rights: {quoted('eu')}")
        cited.append(clauses["policy"])
    elif not licence.eu_multimodal and not user.eu:
        notes.append(f"--eu if you are domiciled in the European Union: {quoted('eu')}")
    if over and user.end_user:
        notes.append(f"as an end user of another's product the limit does not concern you: {quoted('end-users')}")
    elif over:
        reasons.append(
            f"{user.company_mau:,} monthly active users of you and your affiliates in {month} are more than {limit:,}: "
            f"{quoted('users')}"
        )
    elif limit and user.company_mau is None:
        notes.append(
            f"--company-mau if you and your affiliates together had more than {limit:,} monthly active users in "
            f"{month}; users won later do not count: {quoted('users')}"
        )
    elif limit:
        notes.append(
            f"you and your affiliates had {user.company_mau:,} monthly active users in {month}, which is within "
            f"{limit:,}; users won later do not count: {quoted('users')}"
        )
    if "names" in clauses and user.derived:
        notes.insert(0, f"your models made with it or its outputs carry its name: {quoted('names')}")
    notes += [*licence.obligations, *(f"granted: {permission}" for permission in licence.permissions)]
    rows = (licence.id, *dict.fromkeys(c.id for c in cited))
    return Terms(licence, not reasons, "; ".join(reasons), (*reasons, *notes), rows)
