"""Requests generated from our OpenAPI description, most of them slightly wrong: none may make the server fail.

schemathesis is in the group "clients" (`make clients`). The model is scripted; every run generates the same requests.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from running import running

from shoestring.server.http.app import create_app
from shoestring.server.service import Service
from shoestring.testing import scripted_model

pytestmark = pytest.mark.filterwarnings("ignore")  # their own affair

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed: make clients")

#: Requests to each operation.
EXAMPLES = 20


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running(create_app(Service(scripted_model(context=4096)))) as url:
        yield url


def operations() -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schema = schemathesis.openapi.from_dict(create_app(Service(scripted_model(context=4096))).openapi())
        return [operation.ok() for operation in schema.get_all_operations()]


@pytest.mark.parametrize("operation", operations(), ids=lambda operation: operation.label)
def test_no_request_makes_it_fail(operation: Any, url: str) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def play(case: Any) -> None:
        response = case.call(base_url=url, timeout=30)
        assert response.status_code < 500, f"{case.as_curl_command()}: {response.text[:300]}"

    play()
