"""The article, line by line: what it says, and what the rows say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shoestring.catalogue.load import builtin_catalogue
from shoestring.planning.article.check import CHECKS, Checked, check_claims
from shoestring.planning.plan import find_row

CATALOGUE = builtin_catalogue()
FOUND = {k.claim.id: k for k in check_claims(CATALOGUE)}

#: claim → (outcome, a figure or words of the answer)
EXPECTED = {
    "tldr-gpqa": ("holds", "57.2"),
    "tldr-livecodebench": ("in part", "October 2024"),
    "tldr-active": ("holds", "16.3B"),
    "tldr-pool-qwen": ("in part", "403.4B"),
    "tldr-pool-scout": ("holds", "108.6B"),
    "tldr-open": ("holds", "Apache 2.0"),
    "tldr-restricted": ("holds", "700 million"),
    "tldr-easier": ("holds", "GB"),
    "tldr-10m": ("in part", "10,485,760"),
    "tldr-options": ("holds", "hosts"),
    "80-percent": ("in part", "4 of the 4"),
    "tldr-hardware": ("out of date", "Qwen3.5-35B-A3B leads"),
    "tldr-context": ("holds", "10,485,760"),
    "not-close": ("holds", "average"),
    "activate": ("holds", "16.1B"),
    "release-qwen": ("holds", "2026-02-16"),
    "release-scout": ("holds", "2025-04-05"),
    "total-qwen": ("in part", "6.60B of multi-token"),
    "total-scout": ("holds", "vision"),
    "experts-unknown": ("differs", "512 experts, 10 + 1 active"),
    "experts-scout": ("holds", "16 experts, 1 + 1"),
    "context-qwen": ("in part", "262,144"),
    "context-scout": ("in part", "10,485,760"),
    "licence-qwen": ("holds", "Apache"),
    "licence-scout": ("holds", "Llama 4"),
    "input-qwen": ("holds", "video"),
    "input-scout": ("holds", "text, image"),
    "languages-qwen": ("holds", "201"),
    "languages-scout": ("differs", "supports 12"),
    "training-qwen": ("in part", "FP8"),
    "training-scout": ("holds", "BF16"),
    "age-gap": ("holds", "10.4 months"),
    "delta-net": ("holds", "45 of its 60"),
    "vocabulary": ("holds", "248,320"),
    "tokens": ("in part", "24.0 % fewer"),
    "row-gpqa": ("holds", "88.4"),
    "row-mmlu-pro": ("holds", "74.3"),
    "mmlu-row": ("differs", "Behemoth"),
    "row-aime": ("holds", "91.3"),
    "row-livecodebench": ("in part", "not of v6"),
    "row-swe-bench": ("holds", "has none"),
    "row-mmmu": ("holds", "69.4"),
    "row-mathvista": ("holds", "70.7"),
    "row-video-mme": ("holds", "87.5"),
    "row-bfcl": ("holds", "72.9"),
    "row-browsecomp": ("in part", "69.0 and 78.6"),
    "row-terminal-bench": ("holds", "52.5"),
    "row-ifbench": ("holds", "76.5"),
    "verification": ("out of date", "89.3 to 58.7"),
    "video": ("in part", "2 frames a second"),
    "price": ("differs", "price lists"),
    "price-scout": ("holds", "price lists"),
    "cheaper-output": ("differs", "$0.4 in and $2.4 out"),
    "qwen-8xh100": ("in part", "FP8 needs 401 GB and fits"),
    "qwen-minimum": ("differs", "4-bit GPTQ"),
    "scout-gpus": ("in part", "1×H100"),
    "memory-qwen": ("in part", "401 GB"),
    "memory-scout": ("in part", "114 GB"),
    "scout-48gb": ("differs", "60.8 GB"),
    "speed-qwen": ("in part", "tokens/s"),
    "speed-scout": ("in part", "no source"),
    "quantized": ("out of date", "GPTQ"),
    "four-bit-engines": ("holds", "vLLM"),
    "every-cloud": ("holds", "bedrock"),
    "no-strings": ("in part", "licence text"),
    "ceiling": ("differs", "counts the licensee and its affiliates once"),
}


def test_every_claim_is_listed() -> None:
    assert len(FOUND) >= 50
    assert set(FOUND) == set(EXPECTED)
    assert {claim.check for claim in CATALOGUE.claims.values()} == set(CHECKS)


@pytest.mark.parametrize("claim", EXPECTED)
def test_a_claim(claim: str) -> None:
    found: Checked = FOUND[claim]
    outcome, words = EXPECTED[claim]
    assert found.outcome == outcome
    assert words in found.text
    assert f"“{found.claim.quote}”: {outcome}." in found.sentence.text
    rows = found.sentence.rows
    assert rows[0] == claim
    assert len(rows) > 1
    assert all(find_row(CATALOGUE, row) is not None for row in rows)


def test_claims_keep_the_articles_order_and_headings() -> None:
    sections = [claim.section for claim in CATALOGUE.claims.values()]
    assert list(dict.fromkeys(sections)) == [
        "TL;DR", "Model Overview", "Performance Comparison", "Prices", "Self-hosting", "Licence",
    ]  # fmt: skip
    assert sections == sorted(sections, key=list(dict.fromkeys(sections)).index)


def test_claims_follow_the_rows() -> None:
    score = CATALOGUE.scores["qwen3.5-397b-a17b-gpqa"]
    lost = replace(CATALOGUE, scores=CATALOGUE.scores | {score.id: replace(score, value=10.0)})
    found = {k.claim.id: k for k in check_claims(lost)}
    assert "3 of the 4" in found["80-percent"].text
    assert found["row-gpqa"].outcome == "differs"
