"""The page in the system's Chromium, driven by playwright; skips tests if either is missing."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

#: a complete answer
OVER = "article.answer:not(.live)"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium; skips the test if there is none."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium (Debian: apt-get install chromium)")
    driver = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install playwright)")
    with driver.sync_playwright() as running:
        chromium = running.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
        )
        try:
            yield chromium
        finally:
            chromium.close()


class Watched:
    """A page with its console errors and requests."""

    def __init__(self, context: Any, address: str) -> None:
        self.page = context.new_page()
        self.address = address
        self.complaints: list[str] = []
        self.elsewhere: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._see)
        self.page.set_default_timeout(15_000)

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _see(self, request: Any) -> None:
        if not request.url.startswith((self.address, "data:", f"blob:{self.address}")):
            self.elsewhere.append(request.url)

    def check(self, expected: tuple[str, ...] = ()) -> None:
        """Check that there were no requests to other hosts and no unexpected console errors."""
        assert self.elsewhere == []
        assert [text for text in self.complaints if not text.startswith(expected or ("\0",))] == []


class Open:
    """The open page, with helpers for the usual actions."""

    def __init__(self, watched: Watched) -> None:
        self.watched = watched
        self.page = watched.page
        #: prefixes of allowed console messages
        self.expected: tuple[str, ...] = ()

    def go(self, wait: str = ".starter") -> None:
        self.page.goto(self.watched.address)
        self.page.wait_for_selector(wait)

    def say(self, text: str) -> None:
        self.page.fill("#words", text)
        self.page.keyboard.press("Enter")

    def ask(self, text: str) -> None:
        before = self.page.locator(OVER).count()
        self.say(text)
        self.page.locator(OVER).nth(before).wait_for()

    def text(self, selector: str) -> str:
        return str(self.page.locator(selector).last.inner_text())

    def button(self, name: str) -> Any:
        return self.page.get_by_role("button", name=name)


@contextmanager
def opened(chromium: Any, address: str) -> Iterator[Open]:
    """A new browser context. Fails after the block if the console has errors."""
    context = chromium.new_context(viewport={"width": 1200, "height": 800}, color_scheme="light")
    page = Open(Watched(context, f"{address}/"))
    yield page
    context.close()
    page.watched.check(page.expected)


def wait_until(holds: Callable[[], object]) -> None:
    until = time.monotonic() + 15
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)
