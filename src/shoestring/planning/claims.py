"""Check the article's claims by calculation. claims.toml names one function per claim."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from shoestring.catalogue.schema import Catalogue, Claim
from shoestring.checkpoint.config.types import Qwen3_5Config
from shoestring.planning.candidates.candidates import Candidate, from_row
from shoestring.planning.hardware.parse import parse_hardware
from shoestring.planning.memory import need, place

QWEN, SCOUT = "qwen3.5-397b-a17b", "llama-4-scout"
Outcome = Literal["holds", "differs", "in part"]


@dataclass(frozen=True)
class Checked:
    claim: Claim
    outcome: Outcome
    text: str
    rows: tuple[str, ...]


def check_claims(catalogue: Catalogue) -> tuple[Checked, ...]:
    """Check all claims of the article against shapes, scores and prices."""
    checked = []
    for claim in catalogue.claims.values():
        outcome, text, rows = CHECKS[claim.check](catalogue)
        checked.append(Checked(claim, outcome, text, (claim.id, *rows)))
    return tuple(checked)


Result = tuple[Outcome, str, tuple[str, ...]]


def _model(catalogue: Catalogue, name: str) -> Candidate:
    return from_row(catalogue.models[name])


def _scout_4bit(catalogue: Catalogue) -> Result:
    scout = _model(catalogue, SCOUT)
    sizes = {t: need(scout, t, 8192, 1).weights_bytes / 1e9 for t in ("GPTQ", "Q4_K_M")}
    text = (
        f"Scout takes {sizes['GPTQ']:.1f} GB in 4-bit GPTQ and {sizes['Q4_K_M']:.1f} GB in Q4_K_M: 48 GB is not enough"
    )
    fits = min(sizes.values()) <= 48
    return ("holds" if fits else "differs"), text + ".", (SCOUT, "article-memory4-scout")


def _qwen_8xh100(catalogue: Catalogue) -> Result:
    machine = parse_hardware("8xh100", catalogue)
    qwen = _model(catalogue, QWEN)
    total = {t: need(qwen, t, 8192, 1) for t in ("FP8", "BF16")}
    fits = {t: place(n, machine).fit == "gpu" for t, n in total.items()}
    verdicts = "; ".join(
        f"{t} needs {n.total_bytes / 1e9:.0f} GB and {'fits' if fits[t] else 'does not fit'}" for t, n in total.items()
    )
    memory = machine.gpus * (machine.gpu.memory_bytes if machine.gpu else 0) / 2**30
    outcome: Outcome = "holds" if all(fits.values()) else "in part" if fits["FP8"] else "differs"
    return outcome, f"8×H100 has {memory:.0f} GB: {verdicts}.", (QWEN, "h100", "article-gpus-qwen")


def _share_of_benchmarks(catalogue: Catalogue) -> Result:
    both, only, wins, rows = 0, 0, 0, []
    for benchmark in catalogue.benchmarks:
        a, b = catalogue.score(QWEN, benchmark), catalogue.score(SCOUT, benchmark)
        if a is not None and b is not None:
            both, wins = both + 1, wins + (a.value > b.value)
            rows += [a.id, b.id]
        elif a is not None:
            only += 1
            rows.append(a.id)
    text = (
        f"Qwen 3.5 leads on {wins} of the {both} benchmarks with scores for both, one of them a multilingual MMLU; "
        f"{only} have no score for Scout."
    )
    return "in part", text, tuple(rows)


def _mmlu_row(catalogue: Catalogue) -> Result:
    a, b = catalogue.score(QWEN, "mmmlu"), catalogue.score(SCOUT, "mmmlu")
    rows = tuple(s.id for s in (a, b) if s is not None)
    return "differs", "Both figures are for the multilingual set, not for the original MMLU.", ("mmmlu", *rows)


def _experts(catalogue: Catalogue) -> Result:
    config = _model(catalogue, QWEN).config
    assert isinstance(config, Qwen3_5Config)
    shared = 1 if config.shared_expert_intermediate_size else 0
    text = f"Its config has it: {config.num_experts} experts, {config.num_experts_per_tok} + {shared} active per token."
    return "differs", text, (QWEN,)


def _tokens(catalogue: Catalogue) -> Result:
    facts = [f for f in catalogue.facts.values() if f.topic == "tokens"]
    return "in part", "Qwen 3.5 takes " + "; ".join(f.text for f in facts) + ".", tuple(f.id for f in facts)


def _price(catalogue: Catalogue) -> Result:
    listed = [p for p in catalogue.prices_of(QWEN) if p.source != "article"]
    claimed = [p for p in catalogue.prices_of(QWEN) if p.source == "article"]
    if not listed:
        return "in part", "The catalogue has no price list.", tuple(p.id for p in claimed)
    low = min(listed, key=lambda p: p.input_usd + p.output_usd)
    high = max(listed, key=lambda p: p.input_usd + p.output_usd)
    text = (
        f"{len(listed)} price lists range from ${low.input_usd:g} in and ${low.output_usd:g} out ({low.provider}) "
        f"to ${high.input_usd:g} and ${high.output_usd:g} ({high.provider})."
    )
    met = any(p.output_usd <= s.output_usd and p.input_usd <= s.input_usd for p in listed for s in claimed)
    return ("holds" if met else "differs"), text, tuple(p.id for p in (*claimed, low, high))


def _active_parameters(catalogue: Catalogue) -> Result:
    counts = {name: _model(catalogue, name).text.active / 1e9 for name in (QWEN, SCOUT)}
    text = f"Counted with the head, without the embedding: {counts[QWEN]:.1f}B and {counts[SCOUT]:.1f}B."
    return "holds", text, (QWEN, SCOUT)


def _scout_context(catalogue: Catalogue) -> Result:
    scout = _model(catalogue, SCOUT)
    limit = scout.config.max_position_embeddings
    n = need(scout, "GPTQ", limit, 1)
    text = (
        f"Its config says {limit:,}. One such sequence takes {n.sequence_bytes / 1e9:.0f} GB, in addition to "
        f"{n.weights_bytes / 1e9:.0f} GB of weights at 4 bits."
    )
    return "in part", text, (SCOUT,)


CHECKS: dict[str, Callable[[Catalogue], Result]] = {
    "scout_4bit": _scout_4bit,
    "qwen_8xh100": _qwen_8xh100,
    "share_of_benchmarks": _share_of_benchmarks,
    "mmlu_row": _mmlu_row,
    "experts": _experts,
    "tokens": _tokens,
    "price": _price,
    "active_parameters": _active_parameters,
    "scout_context": _scout_context,
}
