"""Ids of requests: in the headers of every answer, in the log, and in the body of Anthropic's errors."""

from __future__ import annotations

import re
import secrets

from starlette.datastructures import Headers

from shoestring.server.errors import ANTHROPIC

#: The header that clients may send, that every answer has, and that OpenAI's package reads.
HEADER = "x-request-id"
#: The header that Anthropic's package reads.
ANTHROPIC_HEADER = "request-id"

#: A client's own id that is safe in a header, a log line and a shell.
_HARMLESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", re.ASCII)


def request_id(headers: Headers) -> str:
    """The id that the client sent, if it is a short token of harmless characters; else a new one."""
    sent = headers.get(HEADER, "")
    return sent if _HARMLESS.fullmatch(sent) else f"req_{secrets.token_hex(12)}"


def headers_for(path: str) -> tuple[str, ...]:
    """The headers that name the id in an answer to a request of this path."""
    return (HEADER, ANTHROPIC_HEADER) if path.startswith(ANTHROPIC) else (HEADER,)
