"""docs/plan.md matches the program's results."""

from __future__ import annotations

import io
from pathlib import Path

import speed_points
import tokens
from rich.console import Console

from shoestring.catalogue.load import builtin_catalogue
from shoestring.planning.advice.tokens import study
from shoestring.planning.assess import Question
from shoestring.planning.candidates.candidates import from_row
from shoestring.planning.compare import compare
from shoestring.planning.hardware.machine import Hardware
from shoestring.planning.plan import make_plan
from shoestring.planning.report.short import short_comparison

ROOT = Path(__file__).parents[2]


def test_the_tables_of_published_speeds_match_the_script() -> None:
    text = (ROOT / "docs" / "plan.md").read_text(encoding="utf-8")
    assert speed_points.summary() in text
    assert speed_points.farthest() in text
    assert speed_points.shares() in text


def test_pictures_exist() -> None:
    for name in ("light", "dark", "phone-light", "phone-dark", "charts"):
        name = f"compare-{name}.png"
        assert (ROOT / "docs" / "images" / name).read_bytes().startswith(b"\x89PNG")
        assert f"images/{name}" in (ROOT / "docs" / "plan.md").read_text(encoding="utf-8")


def test_token_counts_match_the_catalogue() -> None:
    """The table, its two lines of medians, and the sentence of the article's claim."""
    text = (ROOT / "docs" / "plan.md").read_text(encoding="utf-8")
    counts = [(t.name, t.qwen3_5, t.llama4, t.qwen2_5) for t in builtin_catalogue().tokens.values()]
    assert tokens.table(counts) in text
    large = [t.name for t in builtin_catalogue().tokens.values() if t.large]
    assert large == list(tokens.LARGE.values())
    for against in ("llama4", "qwen2_5"):
        found = study(against, builtin_catalogue())  # type: ignore[arg-type]
        assert f"median {tokens.percent(found.median)}" in tokens.table(counts)
        assert f"fewer tokens in {found.fewer}." in tokens.table(counts)


def test_the_readme_matches_the_output_of_compare() -> None:
    """Uses the machine's figures at the time of the block; … marks omitted lines."""
    name = "this machine (Intel(R) Xeon(R) Processor, 2 cores, 25 GB)"
    machine = Hardware(
        name, ram_bytes=25_276_514_304, ram_bandwidth=48.4e9, cores=2, cpu_flops=147.2e9, disk_bytes=75 * 10**9,
    )  # fmt: skip
    catalogue = builtin_catalogue()
    pair = ("qwen3.5-397b-a17b", "llama-4-scout")
    candidates = [from_row(catalogue.models[id]) for id in pair]
    out = io.StringIO()
    planned = make_plan(candidates, machine, Question(min_speed=3.0), catalogue)
    short_comparison(compare(planned, *pair), Console(file=out, width=100, no_color=True, highlight=False))
    printed = [line.rstrip(" ─") for line in out.getvalue().splitlines()]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = readme.split("$ .venv/bin/shoestring compare qwen3.5 scout\n", 1)[1].split("```", 1)[0]
    at = 0
    for line in block.rstrip("\n").splitlines():
        if line.strip() != "…":
            assert line in printed[at:], line
            at = printed.index(line, at) + 1
