"""The page without a browser: what is served and how, nothing from elsewhere, colours that can be read."""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

pytest.importorskip("uvicorn", reason="needs the server's packages: make test installs them")

from page_stand_in import StandIn
from running import running

from shoestring.server.page import routes

FOLDER = Path(routes.__file__).parent
VENDOR = FOLDER / "vendor"
FILES = sorted(path for path in FOLDER.iterdir() if path.is_file() and path.suffix != ".py")
VENDORED = sorted(VENDOR.glob("*.js"))


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with running(StandIn().app()) as address, httpx.Client(base_url=address) as client:
        yield client


def test_every_file_is_served_as_what_it_is(client: httpx.Client) -> None:
    files = {path.relative_to(FOLDER).as_posix(): path for path in FILES + VENDORED}
    assert set(files) == set(routes.TYPES)
    assert {"index.html", "style.css", "icon.svg", "main.js", "vendor/purify.min.js"} <= set(files)
    assert not any(name.endswith((".py", ".md", ".txt")) for name in routes.TYPES)
    for name, path in files.items():
        answer = client.get(f"/page/{name}")
        assert answer.status_code == 200
        assert answer.content == path.read_bytes()
        assert answer.headers["content-type"] == routes.TYPES[name]
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.get("/").content == (FOLDER / "index.html").read_bytes()


@pytest.mark.parametrize(
    "name",
    ["routes.py", "..%2froutes.py", "%2e%2e/routes.py", "x/y", "", "index.html%00", "vendor/", "vendor/README.md"],
)
def test_nothing_else_is(client: httpx.Client, name: str) -> None:
    assert client.get(f"/page/{name}").status_code == 404


def test_the_policy_lets_only_our_files_run(client: httpx.Client) -> None:
    policy = client.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'" in policy
    page_text = (FOLDER / "index.html").read_text()
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", page_text))
    assert not re.search(r"\son\w+=|\sstyle=|<style", page_text)


def test_a_file_that_the_browser_has_is_not_sent_again(client: httpx.Client) -> None:
    first = client.get("/page/main.js")
    assert first.headers["cache-control"] == "no-cache"
    again = client.get("/page/main.js", headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["content-security-policy"] == first.headers["content-security-policy"]
    assert client.get("/page/main.js", headers={"If-None-Match": '"other"'}).status_code == 200
    assert client.head("/").status_code == 200


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_needs_no_other_host_and_makes_no_markup(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 450
    outside = {found for found in re.findall(r"https?://[\w.-]+", text) if found != "http://www.w3.org"}
    assert not outside
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser", text
    )
    for needed in re.findall(r'(?:from|import|src=|href=) ?"(?:\./|page/)([\w./-]+)"', text):
        assert needed in routes.TYPES


def vendored_rows() -> dict[str, list[str]]:
    """The table of vendor/README.md: of each file its package and version, path there, licence, bytes and hash."""
    rows = [line.strip("| ").split(" | ") for line in (VENDOR / "README.md").read_text().splitlines()]
    return {name: rest for name, *rest in (row for row in rows if row[0].endswith(".js"))}


def test_vendored_files_are_the_published_ones() -> None:
    rows = vendored_rows()
    assert {path.name for path in VENDOR.iterdir()} == {*rows, "README.md", "LICENSES.txt"}
    licences = (VENDOR / "LICENSES.txt").read_text()
    for path in VENDORED:
        package, _, licence, size, digest = rows[path.name]
        assert re.fullmatch(r"[@\w/.-]+ \d+\.\d+\.\d+", package)
        assert licence in ("MIT", "BSD-3-Clause", "Apache-2.0")
        assert f"({licence})\n===" in licences
        body = path.read_bytes()
        assert (str(len(body)), hashlib.sha256(body).hexdigest()) == (size, digest), path.name
    assert sum(path.stat().st_size for path in VENDORED) < 700_000


def test_the_package_carries_every_file() -> None:
    try:
        distribution = importlib.metadata.distribution("shoestring")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the package runs from its source tree; `make test` installs it")
    page = "shoestring/server/page/"
    installed = {str(file).removeprefix(page) for file in distribution.files or () if str(file).startswith(page)}
    assert {*routes.TYPES, "vendor/README.md", "vendor/LICENSES.txt"} <= installed


def colours() -> dict[str, tuple[str, str]]:
    text = (FOLDER / "style.css").read_text() + (FOLDER / "text.css").read_text()
    return {name: (one, two) for name, one, two in re.findall(r"--([\w-]+): light-dark\((#\w+), (#\w+)\)", text)}


def contrast(one: str, two: str) -> float:
    """As WCAG 2 defines it, from 1 to 21."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


GROUNDS = ("paper", "side", "card", "tint", "wash")
CODE = ("code-word", "code-text", "code-number", "code-name", "code-comment", "ink")


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_contrast_is_enough_for_everybody(theme: int) -> None:
    colour = {name: both[theme] for name, both in colours().items()}
    for ground in GROUNDS:
        for text in ("ink", "dim"):
            assert contrast(colour[text], colour[ground]) >= 4.5, (text, ground)
    for ground in ("paper", "card"):
        assert contrast(colour["accent"], colour[ground]) >= 4.5, ground
        assert contrast(colour["wrong"], colour[ground]) >= 4.5, ground
        assert contrast(colour["edge"], colour[ground]) >= 3, ground
    assert contrast(colour["on-accent"], colour["accent"]) >= 4.5
    assert contrast(colour["paper"], colour["ink"]) >= 7
    for text in CODE:
        assert contrast(colour[text], colour["code-back"]) >= 4.5, text
