"""A page: its first screen, its contents, the CSV of every table, charts whose lines can all be seen, paper."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest
from advice.test_claims import output

from shoestring.planning.advice.recommend import recommend
from shoestring.planning.compare import Comparison, compare
from shoestring.planning.plan import Plan, plan
from shoestring.planning.report.charts import costs
from shoestring.planning.report.html import comparison_html, plan_html
from shoestring.planning.report.lines import Series, lines
from shoestring.planning.report.table import Cell, Table, csv_text

PAIR = ("qwen3.5-397b-a17b", "llama-4-scout")
SHOWN: dict[str, Plan | Comparison] = {
    "pair": compare(plan(*PAIR, hardware="8xh100", users=64), *PAIR),
    "neither": compare(plan(*PAIR, hardware="cpu:8c-2ch-ddr5+32g+nvme4", eu=True), *PAIR),
    "all": plan(hardware="rtx-3090+64g"),
    "code": plan(hardware="rtx-3090+64g", use="code"),
    "none": plan(hardware="cpu:1c+1g"),
}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def page_of(shown: Plan | Comparison) -> str:
    return plan_html(shown) if isinstance(shown, Plan) else comparison_html(shown)


PAGES = {name: page_of(shown) for name, shown in SHOWN.items()}


@pytest.mark.parametrize("name", PAGES)
def test_the_first_screen_recommends_and_says_what_would_change_it(name: str) -> None:
    """In this order, and before the contents and every table."""
    shown, page = SHOWN[name], unescape(re.sub(r"<sup>.*?</sup>", "", PAGES[name]))
    p, instead = (shown, None) if isinstance(shown, Plan) else (shown.plan, shown.instead)
    advice = recommend(p, instead)
    assert 1 <= len(advice.sentences) <= 2
    said = [s.text for s in (*advice.sentences, *advice.changes)]
    at = [page.index(text) for text in (*said, "Assumed: ", "<nav>", "<table>")]
    assert at == sorted(at)
    if name != "none":
        assert len(advice.changes) >= 2


@pytest.mark.parametrize("name", PAGES)
def test_the_contents_lead_to_every_chapter(name: str) -> None:
    links = re.findall(r'<a href="#(part-\d+)">(.*?)</a>', PAGES[name])
    chapters = re.findall(r'<section id="(part-\d+)"[^>]*><h2>(.*?)</h2>', PAGES[name])
    assert links == chapters
    titles = {title for _, title in chapters}
    assert {"How to start", "Rows and sources", "Memory by place"} <= titles
    if isinstance(SHOWN[name], Comparison):
        assert {"Scores", "Prices", "Tokens per language"} <= titles


@pytest.mark.parametrize("name", PAGES)
def test_every_table_can_be_downloaded(name: str) -> None:
    """Each table is followed by a link with the same number of lines and columns."""
    page = PAGES[name]
    blocks = re.findall(r'<table>(.*?)</table></div><p class="csv"><a download="([\w-]+)\.csv" href="data:text/csv;'
                        r'charset=utf-8,([^"]*)"', page, re.DOTALL)  # fmt: skip
    assert len(blocks) == page.count("<table>")
    names = re.findall(r'download="([\w-]+)\.csv"', page)
    assert len(names) == len(set(names)) == len(blocks) + 1  # and the sources
    for table, _, data in blocks:
        rows = list(csv.reader(io.StringIO(unquote(data), newline="")))
        shown = re.findall(r"<tr[^>]*>(.*?)</tr>", table, re.DOTALL)
        assert len(rows) == len(shown)
        assert {len(row) for row in rows} == {len(re.findall("<t[dh]", line)) for line in shown}
        assert [row[0] for row in rows[1:]] == [
            unescape(re.sub(r"<sup>.*?</sup>|<[^>]+>", "", re.findall(r"<td.*?</td>", line)[0])).replace(",", "")
            if rows[0][0].startswith("tokens")
            else unescape(re.sub(r"<sup>.*?</sup>|<[^>]+>", "", re.findall(r"<td.*?</td>", line)[0]))
            for line in shown[1:]
        ]


def test_figures_in_csv_are_numbers() -> None:
    (data,) = re.findall(r'download="models\.csv" href="data:text/csv;charset=utf-8,([^"]*)"', PAGES["all"])
    rows = list(csv.DictReader(io.StringIO(unquote(data), newline="")))
    p = SHOWN["all"]
    assert isinstance(p, Plan)
    known = {a.candidate.name: a for a in p.assessments}
    assert len(rows) == len(known)
    for row in rows:
        assert int(row["needs"]) == known[row["model"]].need.total_bytes
        assert row["decode"] == ("" if known[row["model"]].speed.decode is None else row["decode"])
        assert not row["decode"] or float(row["decode"]) == known[row["model"]].speed.decode


def test_text_that_a_spreadsheet_would_compute_is_quoted() -> None:
    table = Table("t", "T", ("a",), ((Cell("=1+1"),), (Cell("–"),), (Cell("1 GB", 1_000_000_000),), (Cell('a,"b'),)))
    assert csv_text(table).splitlines() == ["a", "'=1+1", '""', "1000000000", '"a,""b"']


def widths(chart: str) -> list[tuple[str, float]]:
    """Path and width of every line, in the order in which they are drawn."""
    found = re.findall(r'<path d="([^"]*)" class="line [\w-]+" style="stroke-width:([\d.]+)"', chart)
    return [(path, float(width)) for path, width in found]


def letters(chart: str) -> list[tuple[float, float, str]]:
    found = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" class="letter [\w-]+">(\w)</text>', chart)
    return [(float(x), float(y), letter) for x, y, letter in found]


def test_lines_that_coincide_are_all_visible() -> None:
    """Each is wider than those that cover it."""
    points = ((1.0, 10.0), (10.0, 100.0), (100.0, 1000.0))
    chart = lines([Series(name, f"m{i}", points) for i, name in enumerate("xyz")], "a", "b", "t")
    drawn = widths(chart)
    assert len({path for path, _ in drawn}) == 1
    assert [width for _, width in drawn] == sorted({width for _, width in drawn}, reverse=True)
    apart = lines([Series("x", "m0", points), Series("y", "m1", ((1.0, 1.0), (100.0, 2.0)))], "a", "b", "t")
    assert len({width for _, width in widths(apart)}) == 1


@pytest.mark.parametrize("seed", range(0, 200, 9))
def test_every_line_of_the_cost_chart_is_named(seed: int) -> None:
    """A letter at the end of each line, none upon another, and the same letter in the legend with its name."""
    shown = output(seed)
    assessments = shown.assessments if isinstance(shown, Plan) else (shown.left, shown.right)
    series = costs(assessments)
    chart = lines(series, "x", "y", "t")
    if not series:
        assert chart == ""
        return
    assert len(widths(chart)) == len(series)
    assert chart.index('class="letter ') > chart.rindex('style="stroke-width')  # no line over a letter
    placed = letters(chart)
    ends, legend = placed[::2], placed[1::2]
    assert [letter for *_, letter in ends] == [letter for *_, letter in legend]
    assert len({letter for *_, letter in ends}) == len(series)
    for i, (x, y, _) in enumerate(ends):
        assert all(abs(x - other) > 8 or abs(y - height) >= 12.9 for other, height, _ in ends[:i])
    for s in series:
        assert f"{s.label}</text>" in unescape(chart)
        assert all(f"{dot.label}</text>" in unescape(chart) for dot in s.dots)


def sheets(page: str, folder: Path) -> int:
    """How many sheets of A4 a page takes when it is printed."""
    assert CHROMIUM is not None
    file, paper = folder / "report.html", folder / "report.pdf"
    file.write_text(page, encoding="utf-8")
    subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer",
         f"--user-data-dir={folder}", f"--print-to-pdf={paper}", file.as_uri()],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    return len(re.findall(rb"/Type\s*/Page[^s]", paper.read_bytes()))


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)")
@pytest.mark.parametrize("name", ["pair", "neither"])
def test_on_paper_it_has_eight_pages_at_most(name: str, tmp_path: Path) -> None:
    assert 2 <= sheets(PAGES[name], tmp_path) <= 8
