"""Reports: text that fits narrow terminals, JSON with a schema, one self-contained HTML file."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from shoestring.planning.compare import compare
from shoestring.planning.plan import Plan, plan
from shoestring.planning.report.html import comparison_html, plan_html
from shoestring.planning.report.json import SCHEMA_VERSION, comparison_json, plan_json
from shoestring.planning.report.text import render_comparison, render_plan

QWEN, SCOUT = "qwen3.5-397b-a17b", "llama-4-scout"
PLANS = {
    "gpus": plan(hardware="8xh100"),
    "split": plan(hardware="rtx-5090+64g", use="code"),
    "processor": plan("scout", hardware="cpu:8c-2ch-ddr5+32g+nvme4"),
    "nothing": plan("qwen3.5", hardware="cpu:1c+4g"),
}
PAIR = compare(plan("qwen3.5", "scout", hardware="8xh100", company_mau=10**9, eu=True), QWEN, SCOUT)


def text_of(p: Plan, width: int, explain: bool = False) -> str:
    out = io.StringIO()
    render_plan(p, Console(file=out, width=width, no_color=True), explain)
    return out.getvalue()


# --- text ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("width", [40, 60, 80, 100, 140])
def test_no_line_is_wider_than_the_terminal(name: str, width: int) -> None:
    text = text_of(PLANS[name], width)
    commands = {line for a in PLANS[name].assessments for line in a.command.lines}
    for line in text.splitlines():
        assert len(line) <= width or line.strip() in commands, line


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_no_line_of_a_comparison_is_wider_than_the_terminal(width: int) -> None:
    out = io.StringIO()
    render_comparison(PAIR, Console(file=out, width=width, no_color=True))
    commands = {line for a in (PAIR.left, PAIR.right) for line in a.command.lines}
    for line in out.getvalue().splitlines():
        assert len(line) <= width or line.strip() in commands, line


def test_piped_text_is_plain() -> None:
    out = io.StringIO()
    render_comparison(PAIR, Console(file=out, width=100, no_color=True))
    assert "\x1b" not in out.getvalue()
    for said in ("403.4B", "108.6B", "Choose Llama 4 Scout", "60.8 GB", "15 global, 45 delta-net", "$0.18 / $0.18"):
        assert said in out.getvalue()


def test_explain_shows_the_formulas() -> None:
    assert "GB/s =" in text_of(PLANS["gpus"], 120, explain=True)
    assert "GB/s =" not in text_of(PLANS["gpus"], 120)


def test_rows_with_a_newer_source_are_marked() -> None:
    p = PLANS["gpus"]
    assert p.old_rows == ()
    score = p.catalogue.scores["qwen3.5-397b-a17b-mmmu"]
    newer = replace(score, id="newer", date="2026-11-01")
    grown = replace(p.catalogue, scores=p.catalogue.scores | {"newer": newer})
    assert replace(p, catalogue=grown).old_rows == (score.id,)
    assert "a newer source for 1 of the rows" in " ".join(text_of(replace(p, catalogue=grown), 120).split())


def test_figures_that_do_not_compare_are_marked_everywhere() -> None:
    out = io.StringIO()
    render_comparison(PAIR, Console(file=out, width=60, no_color=True))
    why = "of the problems of October 2024 to February 2025, not of v6"
    text = " ".join(out.getvalue().split())
    assert "32.8 †" in text
    assert why in text
    page = comparison_html(PAIR)
    assert "32.8 †" in page
    assert page.count(why) >= 2  # the table and the article
    assert "vendor-claimed †</text>" in page  # the chart
    lines = [line for s in comparison_json(PAIR)["sections"] for line in s["lines"]]
    (line,) = [line for line in lines if line["label"] == "LiveCodeBench v6"]
    assert line["reasons"] == (f"† 32.8: {why}",)
    assert line["gap"] == ""


def test_text_and_page_say_the_same_of_speeds() -> None:
    said = "Speeds are estimates of a roofline model unless marked"
    assert said in " ".join(text_of(PLANS["gpus"], 100).split())
    assert said in plan_html(PLANS["gpus"])


def test_all_seven_verdicts_or_one() -> None:
    assert len(PLANS["gpus"].verdicts) == 7
    assert len(PLANS["split"].verdicts) == 1
    assert "decided by: livecodebench, swe-bench, terminal-bench" in text_of(PLANS["split"], 120)


# --- JSON ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PLANS)
def test_json_of_a_plan(name: str) -> None:
    data = json.loads(json.dumps(plan_json(PLANS[name]), allow_nan=False))
    assert (data["schema"], data["version"]) == ("shoestring.plan", SCHEMA_VERSION)
    for model in data["models"]:
        assert model["parameters_total"] >= model["parameters_active"] > 0
        assert sum(model["weights_bytes"].values()) == model["weights_bytes_total"]
        assert model["kv_bytes_per_token"] > 0
        assert model["state_bytes_per_sequence"] >= 0
        placed = sum(sum(held.values()) for held in model["placement"].values())
        assert (placed > 0) == (model["fit"] != "no")
    for verdict in data["verdicts"]:
        for ranked in verdict["ranking"]:
            for reason in ranked["reasons"]:
                assert all(row in data["rows"] for row in reason["rows"])
    for row in data["rows"].values():
        assert row["date"]
        assert row["kind"]
        assert row["source"]["title"]
        assert row["old"] is False


def test_json_of_a_comparison() -> None:
    data = json.loads(json.dumps(comparison_json(PAIR), allow_nan=False))
    assert data["schema"] == "shoestring.compare"
    assert [model["id"] for model in data["models"]] == [QWEN, SCOUT]
    assert data["models"][0]["parameters_total"] == 403_397_928_944
    for side in data["choose"]:
        for sentence in side:
            assert sentence["rows"]
            assert all(row in data["rows"] for row in sentence["rows"] if row not in data["models"])
    assert {claim["outcome"] for claim in data["article"]} == {"holds", "differs", "in part", "out of date"}


# --- HTML ------------------------------------------------------------------------------------------------------


class Reader(HTMLParser):
    """Collects the links and ids of a page; fails on tags that do not nest."""

    VOID = frozenset(("meta", "link", "br", "rect", "line", "path"))

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name in ("href", "src", "srcset", "data", "action", "poster", "xlink:href"):
                self.links.append((tag, value or ""))
            if name == "id":
                self.ids.append(value or "")
            assert not name.startswith("on"), (tag, name)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


PAGES = {name: plan_html(p) for name, p in PLANS.items()} | {"pair": comparison_html(PAIR)}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_self_contained(name: str) -> None:
    page = PAGES[name]
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    assert not reader.tags & {"script", "img", "iframe", "object", "embed", "base", "form"}
    for tag, link in reader.links:
        assert (
            link.startswith(("#row-", "#part-"))
            or (tag == "a" and link.startswith("data:text/csv;charset=utf-8,"))
            or (tag == "a" and link.startswith("https://"))
            or (tag, link) == ("link", "data:,")
        )
    assert "@import" not in page
    assert "url(" not in page
    assert len(reader.ids) == len(set(reader.ids))
    anchors = {link[1:] for _, link in reader.links if link.startswith("#")}
    assert anchors <= set(reader.ids)
    assert "prefers-color-scheme:dark" in page
    assert 'name="viewport"' in page


@pytest.mark.parametrize("name", PAGES)
def test_charts_are_well_formed_and_stay_inside(name: str) -> None:
    charts = re.findall(r"<svg.*?</svg>", PAGES[name], re.S)
    assert charts
    for chart in charts:
        root = ElementTree.fromstring(chart)
        width, height = map(float, root.attrib["viewBox"].split()[2:])
        assert root.attrib["aria-label"]
        for rect in root.iter("rect"):
            assert float(rect.attrib["width"]) >= 0
            assert float(rect.attrib["x"]) >= 0
            assert float(rect.attrib["x"]) + float(rect.attrib["width"]) <= width + 0.5
            assert float(rect.attrib["y"]) + float(rect.attrib["height"]) <= height + 0.5
        for path in root.iter("path"):
            numbers = [float(n) for n in re.findall(r"-?\d+\.\d", path.attrib["d"])]
            assert all(-0.5 <= n <= max(width, height) + 0.5 for n in numbers)


def test_a_comparison_has_the_four_charts() -> None:
    for title in ("Scores", "Memory by part and place", "Speed against context", "Cost against volume"):
        assert f'aria-label="{title}"' in PAGES["pair"]


def test_names_from_outside_are_escaped() -> None:
    p = PLANS["gpus"]
    mean = replace(p, machine=replace(p.machine, name="<script>alert(1)</script>"))
    assert "<script" not in plan_html(mean)
    assert "&lt;script&gt;" in plan_html(mean)


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize(("width", "height"), [(1100, 900), (390, 900)])
def test_a_browser_renders_it_without_errors(tmp_path: Path, width: int, height: int) -> None:
    page, picture = tmp_path / "page.html", tmp_path / "page.png"
    # A script in the page checks that nothing overflows horizontally.
    probe = (
        "<script>addEventListener('load',()=>{const r=document.documentElement;"
        "document.title=r.scrollWidth<=innerWidth?'inside':'sticks out '+r.scrollWidth})</script>"
    )
    page.write_text(PAGES["pair"].replace("</body>", probe + "</body>"), encoding="utf-8")
    common = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
        f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},{height}",
    ]  # fmt: skip
    done = subprocess.run(
        [*common, f"--screenshot={picture}", page.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    assert "CONSOLE" not in done.stderr
    assert picture.stat().st_size > 10_000
    shown = subprocess.run(
        [*common, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    assert "<title>inside</title>" in shown.stdout, re.findall(r"<title>[^<]*", shown.stdout)[:1]
