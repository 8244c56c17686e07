"""The server's endpoints as its OpenAPI description has them, and a small valid body of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from shoestring.server.http.app import create_app
from shoestring.server.http.fields import Body
from shoestring.server.service import Service
from shoestring.testing import scripted_model

#: The name under which the besieged server serves its model.
MODEL = "besieged"
MESSAGES = [{"role": "user", "content": "hi"}]
#: A picture of one pixel.
DOT = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)
#: What makes each body valid. Answers are short.
VALID: Mapping[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": MESSAGES, "max_tokens": 3},
    "/v1/completions": {"prompt": "One", "max_tokens": 3},
    "/v1/messages": {"model": MODEL, "max_tokens": 3, "messages": MESSAGES},
    "/v1/messages/count_tokens": {"model": MODEL, "messages": MESSAGES},
    "/api/chat": {"model": MODEL, "messages": MESSAGES, "options": {"num_predict": 3}},
    "/api/generate": {"model": MODEL, "prompt": "One", "options": {"num_predict": 3}},
    "/api/show": {"model": MODEL},
    "/tokenize": {"content": "One"},
    "/detokenize": {"tokens": [72, 105]},
    "/apply-template": {"messages": MESSAGES},
    "/media/tokens": {"image_url": DOT},
}
#: Endpoints that only the siege knows: names that other servers have, and traversals.
UNKNOWN = (
    *("/v1/embeddings", "/v1/responses", "/v1/audio/speech", "/api/embed", "/api/pull", "/api/delete", "/completion"),
    *("/v1/models/a%1b%5d52%3bc%3baGk%3d%07", "/v1/models/" + "x" * 3000, "/v1/models/%ff%fe", "/v1/models/../../etc"),
    *(
        "/page/../../../etc/passwd",
        "/page/%2e%2e/%2e%2e/app.py",
        "/page/%00",
        "/page/",
        "/page//index.html",
        "/page/x.py",
    ),
    *(
        "/%0d%0aX-Injected:%201",
        "/%e2%80%ae",
        "//",
        "/v1//chat/completions",
        "/metrics/",
        "/health/..",
        "/docs",
        "/redoc",
    ),
    *("/" + "a/" * 2000, "/?" + "q" * 5000, "/v1/models?name=" + "%00" * 100, "*", "/v1/chat/completions%00"),
)


@dataclass(frozen=True)
class Endpoint:
    """One POST endpoint: its path and the JSON schema of its body, whose references start with #/components."""

    path: str
    schema: Mapping[str, Any]


@cache
def description() -> Mapping[str, Any]:
    """The OpenAPI description."""
    return create_app(Service(scripted_model(context=64))).openapi()


def posts() -> list[Endpoint]:
    """All endpoints that read a body."""
    return [
        Endpoint(path, methods["post"]["requestBody"]["content"]["application/json"]["schema"])
        for path, methods in description()["paths"].items()
        if "post" in methods
    ]


def refused() -> list[str]:
    """All fields that some body refuses by name."""
    kinds, names = [Body], set()
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        names |= kind.rules.refused.keys() | kind.rules.no_effect
    return sorted(names)


def gets() -> list[str]:
    """All endpoints without a body, and the page's."""
    paths = [path for path, methods in description()["paths"].items() if "get" in methods]
    return [path.replace("{name}", MODEL) for path in paths] + ["/", "/page/app.js", "/openapi.json", "/favicon.ico"]
