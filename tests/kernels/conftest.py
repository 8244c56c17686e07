"""A test that compares variants of the kernels is skipped, not passed, on a machine that runs only one."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from other_variants import NOT_COMPARED


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    NOT_COMPARED.clear()
    yield
    if NOT_COMPARED:
        pytest.skip(f"this CPU runs one variant only: {', '.join(sorted(NOT_COMPARED))} was compared with no other")
