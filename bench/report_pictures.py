"""Photograph reports for docs/images, at 1280 and 390 pixels, light and dark, and count their sheets on paper.

    python bench/report_pictures.py docs/images

Needs the packages of the page's tests (playwright) and Chromium. The reports are those of

    shoestring compare qwen3.5 scout --hardware 8xh100 --users 64
    shoestring plan scout qwen3.5:35b-a3b --hardware rtx-3090+64g --hardware "mac studio 128" --hardware 8xh100
    shoestring plan --find-hardware --min-speed 10
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from shoestring.catalogue.load import builtin_catalogue
from shoestring.planning.assess import Question
from shoestring.planning.compare import compare
from shoestring.planning.find import find_hardware
from shoestring.planning.plan import plan
from shoestring.planning.report.html import comparison_html
from shoestring.planning.report.several import found_html, machines_html

PAIR = ("qwen3.5-397b-a17b", "llama-4-scout")
SEVERAL = ("scout", "qwen3.5:35b-a3b")
MACHINES = ("rtx-3090+64g", "mac studio 128", "8xh100")
#: end of a picture's name → width, height, colour scheme
SCREENS = {
    "light": (1280, 720, "light"),
    "dark": (1280, 720, "dark"),
    "phone-light": (390, 844, "light"),
    "phone-dark": (390, 844, "dark"),
}
#: picture → its report, and the heading at its top
LOWER = {"compare-charts": ("compare", "Speed against context"), "machines-charts": ("machines", "Machines")}
MOST_SHEETS = 8


def reports() -> dict[str, str]:
    """The pages by name."""
    catalogue, question = builtin_catalogue(), Question(min_speed=10)
    return {
        "compare": comparison_html(compare(plan(*PAIR, hardware="8xh100", users=64), *PAIR)),
        "machines": machines_html([plan(*SEVERAL, hardware=name) for name in MACHINES], True),
        "found": found_html(find_hardware((), question, catalogue), question, catalogue),
    }


def photograph(folder: Path) -> None:
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for report, text in reports().items():
            file = Path(scratch) / f"{report}.html"
            file.write_text(text, encoding="utf-8")
            for end, screen in SCREENS.items():
                _shoot(chromium, file, folder / f"{report}-{end}.png", screen)
            page = chromium.new_page()
            page.goto(file.as_uri())
            sheets = len(re.findall(rb"/Type\s*/Page[^s]", page.pdf(format="A4", prefer_css_page_size=True)))
            print(f"{report}: {sheets} sheets")
            if sheets > MOST_SHEETS:
                sys.exit(f"{report}: more than {MOST_SHEETS} sheets")
        for name, (report, heading) in LOWER.items():
            _shoot(chromium, Path(scratch) / f"{report}.html", folder / f"{name}.png", (1280, 760, "light"), heading)
        chromium.close()


def _shoot(chromium: Any, file: Path, picture: Path, screen: tuple[int, int, str], heading: str = "") -> None:
    """Take one picture. heading: what it begins with; "": the top of the page."""
    width, height, scheme = screen
    page = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme).new_page()
    page.goto(file.as_uri())
    wide = page.evaluate("document.documentElement.scrollWidth")
    if wide > width:
        sys.exit(f"{picture.stem}: the page is {wide} pixels wide")
    if heading:
        page.get_by_role("heading", name=heading, exact=True).evaluate("h => h.scrollIntoView()")
    page.screenshot(path=picture)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python bench/report_pictures.py FOLDER")
    photograph(Path(sys.argv[1]))
