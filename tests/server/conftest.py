"""The page in a browser, at a stand-in that says what a test wants it to say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from browser import Open
    from page_stand_in import StandIn


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from browser import browser

    with browser() as chromium:
        yield chromium


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[StandIn, str]]:
    from page_stand_in import StandIn
    from running import running

    stand_in = StandIn()
    with running(stand_in.app()) as address:
        yield stand_in, address
        stand_in.go()


@pytest.fixture
def server(served: tuple[StandIn, str]) -> Iterator[StandIn]:
    stand_in = served[0]
    stand_in.reset()
    yield stand_in
    stand_in.go()


@pytest.fixture
def at(chromium: Any, served: tuple[StandIn, str], server: StandIn) -> Iterator[Open]:
    from browser import opened

    with opened(chromium, served[1]) as page:
        yield page
