"""Photograph the report of a comparison for docs/images, at 1280 and 390 pixels, light and dark.

    python bench/report_pictures.py docs/images

Needs the packages of the page's tests (playwright) and Chromium. The report is of
`shoestring compare qwen3.5 scout --hardware 8xh100 --users 64`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from shoestring.planning.compare import compare
from shoestring.planning.plan import plan
from shoestring.planning.report.html import comparison_html

PAIR = ("qwen3.5-397b-a17b", "llama-4-scout")
#: name → width, height, colour scheme
PICTURES = {
    "compare-light": (1280, 720, "light"),
    "compare-dark": (1280, 720, "dark"),
    "compare-phone-light": (390, 844, "light"),
    "compare-phone-dark": (390, 844, "dark"),
    "compare-charts": (1280, 760, "light"),
}


def photograph(folder: Path) -> None:
    from playwright.sync_api import sync_playwright

    page_text = comparison_html(compare(plan(*PAIR, hardware="8xh100", users=64), *PAIR))
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as driver:
        file = Path(scratch) / "report.html"
        file.write_text(page_text, encoding="utf-8")
        chromium = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, (width, height, scheme) in PICTURES.items():
            context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
            page = context.new_page()
            page.goto(file.as_uri())
            wide = page.evaluate("document.documentElement.scrollWidth")
            if wide > width:
                sys.exit(f"{name}: the page is {wide} pixels wide")
            if name == "compare-charts":
                page.get_by_role("heading", name="Speed against context").evaluate("h => h.scrollIntoView()")
            page.screenshot(path=folder / f"{name}.png")
        chromium.close()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python bench/report_pictures.py FOLDER")
    photograph(Path(sys.argv[1]))
