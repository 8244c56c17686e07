"""The chat page: fixed files of the package at `/` and `/page/…`, never cached without asking, under a strict policy.

Plain JavaScript modules and vendored libraries, no build step, nothing from another host. Text from a model reaches
the document only as nodes, never as markup: the policy makes the browser refuse anything else.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

from fastapi import APIRouter, HTTPException, Request, Response

router = APIRouter(include_in_schema=False)

#: What is served, and as what. Nothing else in the folder can be reached.
TYPES = {
    "index.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "text.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    **dict.fromkeys(
        (
            "answer.js", "api.js", "code.js", "dom.js", "formulas.js", "highlight.js", "main.js", "markdown.js",
            "nodes.js", "parse.js", "purify.js", "settings.js", "sidebar.js", "store.js", "theme.js", "thread.js",
            "turn.js",
            "vendor/dart.min.js", "vendor/dockerfile.min.js", "vendor/elixir.min.js", "vendor/haskell.min.js",
            "vendor/highlight.min.js", "vendor/julia.min.js", "vendor/katex.min.js", "vendor/markdown-it.umd.min.js",
            "vendor/powershell.min.js", "vendor/purify.min.js", "vendor/scala.min.js",
        ),
        "text/javascript; charset=utf-8",
    ),
}  # fmt: skip

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


@router.api_route("/", methods=["GET", "HEAD"])
def page(request: Request) -> Response:
    """The page itself."""
    return _answer("index.html", request)


@router.api_route("/page/{name:path}", methods=["GET", "HEAD"])
def page_file(name: str, request: Request) -> Response:
    """A file of the page; 404 for any other name."""
    if name not in TYPES:
        raise HTTPException(404, f"the page has no file {name!r}")
    return _answer(name, request)


def _answer(name: str, request: Request) -> Response:
    body, tag = _content(name)
    headers = {**HEADERS, "ETag": tag}
    known = {part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(",")}
    if tag in known:
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=TYPES[name])


@cache
def _content(name: str) -> tuple[bytes, str]:
    body = (files(__package__) / name).read_bytes()
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'
