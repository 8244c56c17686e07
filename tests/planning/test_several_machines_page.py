"""Pages of several machines and of found ones: which to take first, the same sentences as in JSON, tables, paper."""

from __future__ import annotations

import csv
import io
import json
import re
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest
from test_html_page import CHROMIUM, sheets
from typer.testing import CliRunner

from shoestring.catalogue.load import builtin_catalogue
from shoestring.cli.app import app
from shoestring.planning.advice.machines import choice, found_sentences, pairs, reservations
from shoestring.planning.assess import Question
from shoestring.planning.candidates.candidates import from_row
from shoestring.planning.find import find_hardware
from shoestring.planning.plan import plan
from shoestring.planning.report.several import MOST_FOUND, found_html, machines_html

CATALOGUE = builtin_catalogue()
MACHINES = ("rtx3090+64g", "mac studio 128", "8xh100", "cpu:4c+6g")
NAMED = [plan("scout", "qwen3.5:35b-a3b", hardware=name) for name in MACHINES]
UNNAMED = [plan(hardware=name) for name in MACHINES]
QUESTION = Question(min_speed=10)
FOUND = find_hardware((), QUESTION, CATALOGUE)
PAGES = {
    "named": machines_html(NAMED, True),
    "unnamed": machines_html(UNNAMED, False),
    "found": found_html(FOUND, QUESTION, CATALOGUE),
}


def plain(page: str) -> str:
    return unescape(re.sub(r"<sup>.*?</sup>", "", page))


def tables_of(page: str) -> dict[str, list[dict[str, str]]]:
    """The CSV files of a page, by name."""
    found = re.findall(r'<a download="([^"]+)\.csv" href="data:text/csv;charset=utf-8,([^"]*)"', page)
    return {name: list(csv.DictReader(io.StringIO(unquote(data), newline=""))) for name, data in found}


def test_the_fastest_and_the_cheapest_machine_are_named() -> None:
    """By the figures of the assessments, of the machines that suit the model."""
    for id, s in zip(("llama-4-scout", "qwen3.5-35b-a3b"), choice(NAMED, True), strict=True):
        able = [(p, a) for p, a in pairs(NAMED, True) if a.candidate.id == id and a.suits]
        assert 2 <= len(able) < len(MACHINES)
        fastest = max(able, key=lambda pair: pair[1].speed.decode or 0)[0].machine.name
        cheapest = min(able, key=lambda pair: pair[1].cost.usd_per_million or 1e9)[0].machine.name
        found = {f.subject: f.verdict for f in s.findings}
        assert (found["fastest machine"], found["cheapest machine per token"]) == (fastest, cheapest)
        assert fastest != cheapest


def test_machines_that_miss_a_requirement_come_second() -> None:
    """The one that suits is fastest and cheapest; where none does, the sentence says so."""
    fast = [plan("scout", hardware=name, min_speed=100) for name in MACHINES[:3]]
    (s,) = choice(fast, True)
    assert s.text.startswith("Llama 4 Scout is fastest on 8xh100: ")
    assert "a million tokens cost least there too, $" in s.text
    assert [r.text.partition(":")[0] for r in reservations(fast, True)] == [
        "Llama 4 Scout on rtx3090+64g", "Llama 4 Scout on mac studio 128",
    ]  # fmt: skip
    (s,) = choice([plan("scout", hardware=name, min_speed=1000) for name in MACHINES[:3]], True)
    assert s.text.startswith("With reservations, Llama 4 Scout is fastest on ")


def test_what_stands_against_a_machine_is_said() -> None:
    (s,) = [s for s in reservations(NAMED, True) if "Scout" in s.text]
    assert s.text.startswith("Llama 4 Scout on cpu:4c+6g: it needs ")
    assert s.findings[0].verdict == "does not run"


def test_where_nothing_runs_the_nearest_is_named() -> None:
    small = [plan("scout", hardware=name) for name in ("cpu:4c+6g", "cpu:4c+8g")]
    (s,) = choice(small, True)
    assert s.text.startswith("Llama 4 Scout runs on none of them; cpu:4c+8g comes nearest: ")
    (none, hour) = choice([plan(hardware=name) for name in ("cpu:1c+1g", "cpu:1c+2g")], False)
    assert none.text == "No model runs on any of them."
    assert "cpu:1c+1g" in hour.text
    assert "<svg" not in machines_html(small, True)


def test_without_models_the_leading_ones_are_named() -> None:
    leaders, hour = choice(UNNAMED, False)
    for p, a in pairs(UNNAMED, False):
        assert f"on {p.machine.name}" in {f.subject for f in leaders.findings if f.model == a.candidate.id}
    assert hour.findings[0].verdict == "cpu:4c+6g"


@pytest.mark.parametrize("name", PAGES)
def test_the_first_screen_says_what_to_take(name: str) -> None:
    """Before the contents and every table, and the contents lead to every chapter."""
    page = plain(PAGES[name])
    said = {
        "named": [*choice(NAMED, True), *reservations(NAMED, True)],
        "unnamed": [*choice(UNNAMED, False), *reservations(UNNAMED, False)],
        "found": [s for one in FOUND for s in found_sentences(one)],
    }[name]
    at = [page.index(s.text) for s in said]
    at += [page.index(text) for text in ("Assumed: ", "<nav>", "<table>")]
    assert at == sorted(at)
    links = re.findall(r'<a href="#(part-\d+)">(.*?)</a>', PAGES[name])
    assert links == re.findall(r'<section id="(part-\d+)"[^>]*><h2>(.*?)</h2>', PAGES[name])
    assert "<script" not in page
    assert page.count("<table>") + 1 == page.count('<p class="csv">')  # and the sources


@pytest.mark.parametrize("name", PAGES)
def test_every_reference_leads_to_a_row_with_its_source(name: str) -> None:
    referred = set(re.findall(r'href="#row-([^"]+)"', PAGES[name]))
    assert referred
    assert referred <= set(re.findall(r'id="row-([^"]+)"', PAGES[name]))


def test_the_table_of_machines_has_figures() -> None:
    rows = tables_of(PAGES["named"])["machines"]
    shown = pairs(NAMED, True)
    assert [(row["hardware"], row["model"]) for row in rows] == [(p.machine.name, a.candidate.name) for p, a in shown]
    for row, (_, a) in zip(rows, shown, strict=True):
        assert int(row["needs"]) == a.need.total_bytes
        assert float(row["$/hour"]) == a.cost.usd_per_hour
        assert row["decode"] == ("" if a.speed.decode is None else str(a.speed.decode))


def test_each_machine_has_a_line_in_the_charts() -> None:
    for title in ("speed", "cost"):
        (head,) = re.findall(
            rf'download="{title}\.csv" href="data:text/csv;charset=utf-8,([^"]*?)%0D', PAGES["unnamed"]
        )
        for p, _ in pairs(UNNAMED, False):
            assert p.machine.name in unquote(head)
    assert all(f"{a.candidate.name} on {p.machine.name}: at most " in PAGES["named"] for p, a in pairs(NAMED, True)
               if a.runs)  # fmt: skip


def test_found_machines_are_listed_by_size_and_by_price() -> None:
    found = tables_of(PAGES["found"])
    for one in FOUND:
        smallest, cheapest = (found[f"{one.candidate.id}-{which}"] for which in ("smallest", "cheapest"))
        assert [row["hardware"] for row in smallest] == [m.hardware for m in one.machines[:MOST_FOUND]]
        assert [row["hardware"] for row in cheapest] == [m.hardware for m in one.priced[:MOST_FOUND]]
        sizes = [int(row["memory"]) for row in smallest]
        prices = [float(row["$/hour"]) for row in cheapest]
        assert (sizes, prices) == (sorted(sizes), sorted(prices))
        assert one.smallest is not None
        assert f"shoestring plan {one.candidate.id} --hardware {one.smallest.hardware} --min-speed 10" in PAGES["found"]


def test_a_search_without_a_result_is_a_page_too() -> None:
    question = Question(min_speed=1e6)
    page = plain(found_html(find_hardware((), question, CATALOGUE), question, CATALOGUE))
    assert page.count("machines is enough.") == 2
    assert "<table>" not in page


def test_the_command_writes_pages_and_prints_the_choice(tmp_path: Path) -> None:
    path = tmp_path / "machines.html"
    words = ["plan", "scout", "--hardware", "h100", "--hardware", "8xh100"]
    result = CliRunner().invoke(app, [*words, "--html", str(path)], catch_exceptions=False)
    claims = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)["claims"]
    assert "is fastest on 8xh100" in " ".join(result.stdout.split())
    page = plain(path.read_text(encoding="utf-8"))
    assert all(claim["text"] in page for claim in claims)
    assert CliRunner().invoke(app, ["plan", "--find-hardware", "--html", str(path)]).exit_code == 0
    claims = json.loads(CliRunner().invoke(app, ["plan", "--find-hardware", "--json"]).stdout)["claims"]
    page = plain(path.read_text(encoding="utf-8"))
    assert all(claim["text"] in page for claim in claims)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)")
def test_on_paper_they_have_eight_pages_at_most(tmp_path: Path) -> None:
    """Many machines, and all models too."""
    many = ["h100", "2xh100", "8xh100", "h200", "rtx-3090+64g", "rtx-5090+128g", "mac studio 128", "strix halo",
            "dgx spark", "epyc-9654+768g", "mi300x", "rtx-4090+64g"]  # fmt: skip
    plans = [plan("qwen3.5", "scout", hardware=name) for name in many]
    all_models = find_hardware([from_row(row, CATALOGUE) for row in CATALOGUE.models.values()][:6], QUESTION, CATALOGUE)
    pages = {
        "named": PAGES["named"], "found": PAGES["found"], "many": machines_html(plans, True),
        "six": found_html(all_models, QUESTION, CATALOGUE),
    }  # fmt: skip
    assert {name: count for name, page in pages.items() if not 1 <= (count := sheets(page, tmp_path)) <= 8} == {}
