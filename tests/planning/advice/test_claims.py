"""Over many machines, uses and prices: every printed sentence has its record, and no two records contradict."""

from __future__ import annotations

import io
import random
import re
from functools import cache
from html import unescape

import pytest
from rich.console import Console

from shoestring.planning.advice.printed import comparison_sentences, plan_sentences
from shoestring.planning.advice.sentences import Sentence
from shoestring.planning.compare import Comparison, compare
from shoestring.planning.cost import Money
from shoestring.planning.plan import Plan, plan
from shoestring.planning.report.html import comparison_html, plan_html
from shoestring.planning.report.json import comparison_json, plan_json
from shoestring.planning.report.short import short_comparison, short_plan
from shoestring.planning.report.text import render_comparison, render_plan

MACHINES = ["cpu:{c}c-{h}ch-ddr5+{g}g", "cpu:{c}c-{h}ch-ddr5+{g}g+nvme7", "rtx-{card}+{g}g", "{n}xh100", "{n}xa100-80g",
            "mac-m{m}-max-{mac}g", "2xrtx-{card}+{g}g", "epyc-9654, {g}gb", "strix halo", "gpu:24g@936+{g}g",
            "mac studio 128"]  # fmt: skip
USES = [None, "agents", "code", "multilingual", "multimodal", "long-context", "budget", "api"]
MODELS = ["qwen3.5", "scout", "maverick", "qwen3.5:122b-a10b", "qwen3.5:35b-a3b", "qwen3.5:27b", "qwen3.5:9b",
          "qwen3.5:0.8b", "qwen3.6:27b", "qwen3.6:35b-a3b"]  # fmt: skip


@cache
def output(seed: int) -> Plan | Comparison:
    """A random question; every third is about all models."""
    r = random.Random(seed)
    hardware = r.choice(MACHINES).format(
        c=r.choice([4, 16, 64]), h=r.choice([2, 8, 12]), g=r.choice([8, 32, 64, 128, 256, 768]), m=r.choice([3, 5]),
        card=r.choice(["3090", "4090", "5090"]), n=r.choice([1, 2, 4, 8]), mac=r.choice([36, 64, 128]),
    )  # fmt: skip
    paid = r.choice([{}, {"owned": True}, {"rent_usd_hour": r.choice([0.0, 0.5, 40.0])}, {"purchase_usd": 9000.0},
                     {"region": "eu"}, {"provider": "deepinfra"}, {"budget_usd_month": 900.0}])  # fmt: skip
    money = Money(utilisation=r.choice([0.05, 0.3, 1.0]), input_share=r.random(), **paid)  # type: ignore[arg-type]
    pair = r.sample(MODELS, 2)
    p = plan(
        *([] if seed % 3 == 0 else pair), use=r.choice(USES), hardware=hardware, money=money,
        context=r.choice([2048, 8192, 131072]), users=r.choice([1, 1, 4, 32]),
        quant=r.choice([None, None, "Q8_0", "IQ2_XXS"]),
        company_mau=r.choice([None, 10**6, 10**9]), eu=r.random() < 0.3, end_user=r.random() < 0.2,
        min_speed=r.choice([0.0, 3.0, 50.0]),
    )  # fmt: skip
    if seed % 3 == 0:
        return p
    first, second = (next(m.id for m in p.catalogue.models.values() if name in m.aliases) for name in pair)
    return compare(p, first, second)


def sentences(shown: Plan | Comparison) -> list[Sentence]:
    return plan_sentences(shown) if isinstance(shown, Plan) else comparison_sentences(shown)


@pytest.mark.parametrize("block", range(8))
def test_no_two_claims_differ(block: int) -> None:
    """200 outputs: one verdict and one figure per model and subject, and each figure stands in its sentence."""
    for seed in range(25 * block, 25 * block + 25):
        known: dict[tuple[str, str], tuple[str, str, str]] = {}
        for s in sentences(output(seed)):
            assert s.findings, s.text
            for f in s.findings:
                before = known.setdefault((f.model, f.subject), (f.verdict, f.figure, s.text))
                assert before[:2] == (f.verdict, f.figure), (seed, f, before, s.text)
                assert f.figure in s.text, (seed, f, s.text)


def without_records(line: str, texts: list[str]) -> str:
    """What is left of a line when the texts of all records are taken out, the longest first."""
    for text in texts:
        line = line.replace(text, "")
    return line


def is_sentence(text: str) -> bool:
    return re.search(r"[a-z]{3,} [a-z]{2,}.*[a-z]\.(\s|$)", text) is not None


@pytest.mark.parametrize("seed", range(0, 200, 10))
def test_every_printed_sentence_has_a_record(seed: int) -> None:
    shown = output(seed)
    texts = sorted({s.text for s in sentences(shown)}, key=len, reverse=True)
    out = io.StringIO()
    console = Console(file=out, width=100_000, no_color=True)
    if isinstance(shown, Plan):
        render_plan(shown, console)
        short_plan(shown, console)
    else:
        render_comparison(shown, console)
        short_comparison(shown, console)
    for line in out.getvalue().splitlines():
        assert not is_sentence(without_records(line, texts)), line


@pytest.mark.parametrize("seed", range(0, 200, 40))
def test_every_sentence_of_a_page_and_of_json_has_a_record(seed: int) -> None:
    shown = output(seed)
    texts = sorted({s.text for s in sentences(shown)}, key=len, reverse=True)
    page = plan_html(shown) if isinstance(shown, Plan) else comparison_html(shown)
    body = re.sub(r"<sup>.*?</sup>|<svg.*?</svg>|<style.*?</style>|<table>.*?</table>", "", page, flags=re.DOTALL)
    for _, piece in re.findall(r"<(p|li)(?: [^>]*)?>(.*?)</\1>", body, re.DOTALL):
        left = without_records(unescape(re.sub(r"<[^>]+>", "", piece)), texts)
        left = re.sub(r"^Written by shoestring on [\d-]+\.|^(estimated|measured here|assumed).*", "", left.strip())
        assert not is_sentence(left), left
    data = plan_json(shown) if isinstance(shown, Plan) else comparison_json(shown)
    recorded = {claim["text"] for claim in data["claims"]}
    assert recorded == set(texts)
    assert all(claim["findings"] for claim in data["claims"])
    said = [v["line"] for v in data["verdicts"]]
    said += [r["text"] for v in data["verdicts"] for ranked in v["ranking"] for r in ranked["reasons"]]
    said += [s["text"] for side in data.get("choose", []) for s in side]
    assert set(said) <= recorded
