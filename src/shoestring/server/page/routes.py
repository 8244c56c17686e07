"""Serve the chat page: the package's files at `/` and `/page/…`, under a strict content-security policy.

The page is plain JavaScript modules and vendored libraries: no build step, nothing from another host. A model's text
becomes document nodes, never markup; the policy makes the browser refuse anything else. `blob:` is for the pictures and
videos that the user has chosen. Browsers ask for changes before they use a cached file.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request, Response

from shoestring.printable import quoted

router = APIRouter(include_in_schema=False)

#: Content types by suffix. Nothing else in the folder can be reached.
_SUFFIXES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FOLDER = Path(__file__).parent
#: What is served, and as what.
TYPES = {
    path.relative_to(_FOLDER).as_posix(): _SUFFIXES[path.suffix]
    for path in _FOLDER.rglob("*")
    if path.suffix in _SUFFIXES
}

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
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
        raise HTTPException(404, f"the page has no file {quoted(name)}")
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
    body = (_FOLDER / name).read_bytes()
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'
