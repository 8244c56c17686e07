"""Check a licence's terms for this user. Information, not legal advice."""

from __future__ import annotations

from dataclasses import dataclass

from shoestring.catalogue.schema import Licence

NOT_ADVICE = "This is information, not legal advice."


@dataclass(frozen=True)
class Terms:
    """`usable`: whether this user may use the public licence; if not, the first of `findings` says why."""

    licence: Licence
    usable: bool
    multimodal: bool
    findings: tuple[str, ...]


def judge(licence: Licence, company_mau: int | None, eu: bool) -> Terms:
    """The terms for a company with `company_mau` monthly active users; eu: domiciled in the European Union."""
    findings: list[str] = []
    over = bool(licence.limit_mau and company_mau is not None and company_mau > licence.limit_mau)
    if over:
        findings.append(
            f"{company_mau:,} monthly active users exceed {licence.limit_mau:,}: you need a licence from the vendor"
        )
    elif licence.limit_mau:
        findings.append(f"above {licence.limit_mau:,} monthly active users you need a licence from the vendor")
    multimodal = licence.eu_multimodal or not eu
    if not multimodal:
        findings.append("multimodal rights are not granted to users domiciled in the European Union")
    elif not licence.eu_multimodal:
        findings.append("multimodal rights exclude the European Union: pass --eu if you are domiciled there")
    findings += licence.obligations
    findings += [f"granted: {permission}" for permission in licence.permissions]
    return Terms(licence, not over, multimodal, tuple(findings))
