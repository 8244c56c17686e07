"""The page at the server it ships with: a scripted model behind the real application, nothing stood in for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="needs the server's packages: make test installs them")

from browser import OVER, Open, opened, wait_until
from running import running, slowed

from shoestring.server.http.app import create_app
from shoestring.server.http.settings import Settings
from shoestring.server.service import Service
from shoestring.testing import Asked, Reply, scripted_model

CONTEXT = 2048
LONG = "And so it goes on. " * 60
TOOLS = [
    {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
    }
]


@dataclass
class Served:
    """The server's address, and what reached its model."""

    address: str = ""
    service: Any = None
    asked: list[Asked] = field(default_factory=list)

    def answer(self, asked: Asked) -> Reply | str:
        if not self.asked or self.asked[-1].prompt != asked.prompt:
            self.asked.append(asked)
        match asked.text:
            case "Hello":
                return Reply("Hello **world**.", thinking="A *greeting*.")
            case "Weather?":
                return Reply(calls=[("get_weather", {"city": "Kyōto 京都", "days": 2})])
            case "Count":
                return LONG
            case "Ponder":
                return Reply("Pondered.", thinking=LONG)
            case "As JSON":
                return '{"sum": 7}'
        return f"You said {asked.text}" if asked.role == "user" else f"It is {asked.text}"


@pytest.fixture(scope="module", params=["open", "locked"])
def lock(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def real(lock: str) -> Iterator[Served]:
    served = Served()
    served.service = Service(slowed(scripted_model(served.answer, context=CONTEXT), 0.002))
    settings = Settings(api_keys=("right",)) if lock == "locked" else Settings()
    with running(create_app(served.service, settings)) as address:
        served.address = address
        yield served


@pytest.fixture
def here(chromium: Any, real: Served, lock: str) -> Iterator[Open]:
    real.asked.clear()
    with opened(chromium, real.address) as page:
        if lock == "locked":
            page.expected = ("Failed to load resource: the server responded with a status of 401",)
            page.go("dialog[open]")
            page.page.fill("#key-field", "right")
            page.page.keyboard.press("Enter")
            page.page.wait_for_selector(".starter")
        else:
            page.go()
        yield page
        wait_until(lambda: not real.service.busy)


def measures(at: Open) -> str:
    return at.text(f"{OVER} .measures").replace("\u00a0", " ")


def test_an_answer_with_its_thinking_and_its_figures(here: Open, real: Served) -> None:
    here.ask("Hello")
    assert here.page.locator(f"{OVER} > .text").inner_html() == "<p>Hello <strong>world</strong>.</p>"
    here.page.locator(".thinking summary").click()
    here.page.locator(".thinking .text", has_text="A greeting.").wait_for()
    assert re.search(r"\d+ tokens.*tokens/s.*first after", measures(here), re.DOTALL)
    assert re.fullmatch(r"\d+ of 2,048 tokens", here.text("#used"))


def test_the_next_turn_comes_from_the_cache(here: Open, real: Served) -> None:
    """The template drops earlier thinking, so what is shared ends before the first answer."""
    here.ask("x" * 600)
    here.ask("And now?")
    share = re.search(r"(\d+) % of ([\d,]+) prompt tokens from the cache", measures(here))
    assert share is not None
    assert int(share[1]) > 40
    assert real.asked[-1].prompt.count("<|im_start|>user") == 2


def test_thinking_off_and_the_system_prompt_reach_the_model(here: Open, real: Served) -> None:
    here.button("Settings").click()
    here.page.fill("#set-system", "Be brief.")
    here.page.select_option("#set-thinking", "off")
    here.page.fill("#set-max_tokens", "5")
    here.page.keyboard.press("Escape")
    here.ask("Hello")
    assert not here.page.locator(".thinking").is_visible()
    assert here.text(f"{OVER} > .text") == "Hello"
    assert "Be brief." in real.asked[-1].prompt


def test_a_tool_is_called_and_its_result_answered(here: Open, real: Served) -> None:
    here.button("Settings").click()
    here.page.fill("#set-tools", json.dumps(TOOLS))
    here.page.keyboard.press("Escape")
    here.ask("Weather?")
    assert here.text(".call strong") == "get_weather"
    assert json.loads(here.text(".call code")) == {"city": "Kyōto 京都", "days": 2}
    here.ask("sunny")
    assert here.text(f"{OVER} > .text") == "It is sunny"
    assert real.asked[-1].role == "tool"


def test_stop_frees_the_server_and_what_came_stays(here: Open, real: Served) -> None:
    here.say("Count")
    here.page.locator("article.live > .text", has_text="goes on").wait_for()
    here.page.keyboard.press("Escape")
    here.page.wait_for_selector(OVER)
    said = here.text(f"{OVER} > .text")
    assert LONG.startswith(said)
    assert len(said) < len(LONG) - 1
    wait_until(lambda: not real.service.busy)
    here.ask("Hello")
    assert "Hello world." in here.text(f"{OVER} > .text")


def test_answer_again_and_edit(here: Open, real: Served) -> None:
    here.ask("One")
    here.page.hover("article.answer")
    here.button("Answer again").click()
    wait_until(lambda: here.page.locator(OVER).count() == 1 and "tokens/s" in measures(here))
    here.page.hover("article.user")
    here.button("Edit this message").click()
    here.page.fill(".editing textarea", "Two")
    here.button("Send again").click()
    here.page.locator(f"{OVER} > .text", has_text="You said Two").wait_for()
    assert [asked.text for asked in real.asked][-1] == "Two"
    assert "One" not in real.asked[-1].prompt


def test_a_conversation_that_no_longer_fits_is_explained(here: Open) -> None:
    here.expected = (*here.expected, "Failed to load resource: the server responded with a status of 400")
    here.ask("x" * (CONTEXT + 1))
    assert "no longer fits" in here.text(".trouble")


def test_a_schema_and_stop_strings_shape_the_answer(here: Open, real: Served) -> None:
    here.button("Settings").click()
    schema = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}
    here.page.fill("#set-schema", json.dumps(schema))
    here.page.select_option("#set-thinking", "off")
    here.page.fill("#set-repetition_penalty", "1.05")
    here.page.fill("#set-frequency_penalty", "0.1")
    here.page.keyboard.press("Escape")
    here.ask("As JSON")
    assert json.loads(here.text(f"{OVER} > .text code")) == {"sum": 7}
    here.button("Settings").click()
    here.page.fill("#set-schema", "")
    here.page.fill("#set-stop", "goes\\non\ngoes on")
    here.page.keyboard.press("Escape")
    here.ask("Count")
    assert here.text(f"{OVER} > .text") == "And so it"


def test_an_earlier_version_comes_from_the_cache_again(here: Open, real: Served) -> None:
    here.ask("x" * 400)
    here.ask("y" * 400)
    here.page.get_by_role("button", name="Edit this message").first.click()
    here.page.fill(".editing textarea", "z" * 400)
    here.button("Send again").click()
    here.page.locator(f"{OVER} > .text", has_text="You said z").wait_for()
    here.page.get_by_role("button", name="Previous version").first.click()
    here.ask("And now?")
    assert [real.asked[-1].prompt.count(letter * 400) for letter in "xyz"] == [2, 2, 0]
    share = re.search(
        r"(\d+) % of ([\d,]+) prompt tokens from the cache", here.text(".measures").replace("\u00a0", " ")
    )
    assert share is not None
    assert int(share[1]) > 60


def test_a_reload_during_an_answer_frees_the_server_and_the_question_can_be_asked_again(
    here: Open, real: Served
) -> None:
    here.say("Count")
    here.page.locator("article.live > .text", has_text="goes on").wait_for()
    here.page.reload()
    here.page.locator(".trouble", has_text="closed before this answer ended").wait_for()
    wait_until(lambda: not real.service.busy)
    said = here.text("article.answer > .text")
    assert said
    assert LONG.startswith(said)
    here.button("Try again").click()
    here.page.locator("article.live > .text", has_text="goes on").wait_for()
    here.page.keyboard.press("Escape")
    here.page.wait_for_selector(OVER)
    assert LONG.startswith(here.text(f"{OVER} > .text"))
    assert here.text(".versions") == "2/2"
    assert here.text(".user .words") == "Count"


def test_a_stopped_answer_goes_on_to_its_whole_text(here: Open, real: Served) -> None:
    """In its text, in its thinking, and again after a reload: together what one request would have given."""
    here.say("Count")
    here.page.locator("article.live > .text", has_text="goes on").wait_for()
    here.page.keyboard.press("Escape")
    here.page.wait_for_selector(OVER)
    said = here.text(f"{OVER} > .text")
    here.button("Go on").click()
    wait_until(lambda: len(here.text("article.answer > .text")) > len(said) + 50)
    here.page.reload()
    here.button("Go on").click()
    here.page.wait_for_selector("article.live")
    here.page.wait_for_selector(OVER)
    assert here.text(f"{OVER} > .text") == LONG.strip()
    here.button("New chat").click()
    here.say("Ponder")
    here.page.locator("article.live .thinking:visible").wait_for()
    here.page.keyboard.press("Escape")
    here.page.wait_for_selector(OVER)
    assert here.text(f"{OVER} > .text") == ""
    here.button("Go on").click()
    here.page.locator(f"{OVER} > .text", has_text="Pondered.").wait_for()
    here.page.locator(".thinking summary").click()
    here.page.locator(".thinking .text p").wait_for()
    assert here.text(".thinking .text") == LONG.strip()


def test_an_answer_at_its_limit_goes_on_for_as_many_tokens(here: Open, real: Served) -> None:
    here.button("Settings").click()
    here.page.fill("#set-max_tokens", "20")
    here.page.select_option("#set-thinking", "off")
    here.page.keyboard.press("Escape")
    here.ask("Count")
    assert "Ended at its limit of tokens. 20 tokens" in measures(here)
    here.button("Go on").click()
    wait_until(lambda: "40 tokens" in measures(here))
    assert LONG.startswith(here.text(f"{OVER} > .text"))
    assert len(here.text(f"{OVER} > .text")) >= 38


def test_any_message_can_be_deleted_and_the_server_takes_the_rest(here: Open, real: Served) -> None:
    here.ask("One")
    here.ask("Two")
    here.page.get_by_role("button", name="Delete this message").first.click()
    here.ask("Three")  # after an answer at the beginning
    assert here.text(f"{OVER} > .text") == "You said Three"
    here.page.get_by_role("button", name="Delete this answer").nth(1).click()
    here.ask("Four")  # after two questions
    assert here.text(f"{OVER} > .text") == "You said Four"
    assert "You said One" in real.asked[-1].prompt
    assert "You said Two" not in real.asked[-1].prompt
