"""A real server with a scripted model per family. All clients ask the same questions."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Iterator

import httpx
import pytest
from questions import RAW, RAW_REPLY, rule
from running import running

from shoestring.testing import Family, scripted_model

#: LiteLLM and LangChain cache connections and an event loop, which Python destroys at any time: in a later test, or at
#: the end.
CARELESS = ("litellm", "langchain_openai")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if any(importlib.util.find_spec(name) for name in CARELESS):
        for item in items:
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))


@pytest.hookimpl(tryfirst=True)
def pytest_unconfigure() -> None:
    """pytest collects the last of these warnings when it ends, in its own `pytest_unconfigure`."""
    if set(CARELESS) & set(sys.modules):
        warnings.filterwarnings("ignore", category=pytest.PytestUnraisableExceptionWarning)


@pytest.fixture(scope="session", params=["qwen3_5", "llama4"])
def family(request: pytest.FixtureRequest) -> Family:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def url(family: Family) -> Iterator[str]:
    """The server's address, without a path."""
    from shoestring.server.http.app import create_app
    from shoestring.server.service import Service

    model = scripted_model(rule, family=family, completions={RAW: RAW_REPLY}, context=8192)
    with running(create_app(Service(model))) as address:
        yield address


@pytest.fixture(scope="session")
def model(url: str) -> str:
    """The served model's id from /v1/models."""
    return str(httpx.get(f"{url}/v1/models").json()["data"][0]["id"])
