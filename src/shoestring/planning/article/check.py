"""Check the article's claims by calculation. claims.toml names one function and its argument per claim."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shoestring.catalogue.schema import Catalogue, Claim
from shoestring.planning.advice.sentences import Finding, Sentence
from shoestring.planning.article import hosting, scores, specification
from shoestring.planning.article.result import Outcome, Result

CHECKS: dict[str, Callable[[Catalogue, str], Result]] = {
    function.__name__: function
    for function in (
        scores.benchmark, scores.share, scores.not_close, scores.verification, scores.meta_multilingual,
        specification.released, specification.newer, specification.active, specification.total, specification.experts,
        specification.delta_net, specification.vocabulary, specification.context_qwen, specification.context_scout,
        specification.more_context, specification.modalities, specification.languages, specification.training,
        specification.tokens, specification.video, specification.licence, specification.restricted,
        specification.ceiling, specification.no_strings,
        hosting.price, hosting.cheaper_output, hosting.easier, hosting.options, hosting.limited_hardware,
        hosting.minimum, hosting.fits, hosting.scout_gpus, hosting.memory, hosting.scout_4bit, hosting.speed,
        hosting.cloud_speed, hosting.quantized, hosting.four_bit_engines, hosting.every_cloud,
    )
}  # fmt: skip


@dataclass(frozen=True)
class Checked:
    claim: Claim
    outcome: Outcome
    text: str
    sentence: Sentence


def check_claims(catalogue: Catalogue) -> tuple[Checked, ...]:
    """Check all claims of the article, in its order."""
    checked = []
    for claim in catalogue.claims.values():
        found = CHECKS[claim.check](catalogue, claim.argument)
        words = f"“{claim.quote}”: {found.outcome}. {found.text}"
        finding = Finding("", f"article: {claim.id}", found.outcome)
        checked.append(Checked(claim, found.outcome, found.text, Sentence(words, (finding,), (claim.id, *found.rows))))
    return tuple(checked)
