"""The page by keyboard, by name, in the dark, on a phone; against the stand-in."""

from __future__ import annotations

import pytest

pytest.importorskip("uvicorn", reason="needs the server's packages: make test installs them")

from browser import OVER, Open, wait_until
from page_stand_in import MODEL, WAIT, StandIn, end


def test_the_keyboard_is_enough(at: Open, server: StandIn) -> None:
    server.answers = [["One.", *end()], ["Two.", *end()]]
    at.go()
    keys = at.page.keyboard
    assert at.page.evaluate("document.activeElement.id") == "words"
    keys.type("a line")
    keys.press("Shift+Enter")
    keys.type("another")
    keys.press("Enter")
    at.page.locator(f"{OVER} > .text", has_text="One.").wait_for()
    assert server.asked[0]["messages"][0]["content"] == "a line\nanother"
    keys.press("ArrowUp")
    assert at.page.evaluate("document.activeElement.value") == "a line\nanother"
    keys.press("Escape")
    assert at.page.evaluate("document.activeElement.id") == "words"
    keys.press("ArrowUp")
    keys.type("!")
    keys.press("Enter")
    at.page.locator(f"{OVER} > .text", has_text="Two.").wait_for()
    assert server.asked[1]["messages"] == [{"role": "user", "content": "a line\nanother!"}]
    # Everything that can be pressed is reached by Tab and shows that it is.
    reached = set()
    for _ in range(40):
        keys.press("Tab")
        name, outlined = at.page.evaluate(
            "(() => { const e = document.activeElement, s = getComputedStyle(e);"
            " return [e.getAttribute('aria-label') || e.textContent.trim() || e.id,"
            " s.outlineStyle !== 'none' || e.id === 'words' || e === document.body] })()"
        )
        assert outlined, name
        reached.add(name)
    for name in ("New chat", "Settings", "Light or dark", "Answer again", "Edit this message", "Copy the answer"):
        assert name in reached
    keys.press("Control+k")
    at.page.wait_for_selector("#search[open]")
    keys.press("Enter")  # the first line is a new chat
    at.page.wait_for_selector(".starter")


def test_controls_have_names(at: Open, server: StandIn) -> None:
    server.answers = [["```python\nx = 1\n```\n\n|a|\n|-|\n|b|", *end()]]
    at.go()
    at.ask("Hi")
    at.button("Settings").click()
    nameless = at.page.evaluate(
        "[...document.querySelectorAll('button, input:not([hidden]), select, textarea, [tabindex], [role=meter]')]"
        ".filter(e => !(e.getAttribute('aria-label') || e.textContent.trim() || (e.labels && e.labels.length)))"
        ".map(e => e.outerHTML)"
    )
    assert nameless == []


def test_light_and_dark(at: Open) -> None:
    def paper() -> str:
        return str(at.page.evaluate("getComputedStyle(document.body).backgroundColor"))

    at.go()
    light = paper()
    at.page.emulate_media(color_scheme="dark")
    dark = paper()
    assert light != dark
    at.button("Light or dark").click()
    assert paper() == light
    at.page.reload()
    at.page.wait_for_selector(".starter")
    assert paper() == light


@pytest.mark.parametrize("width", [320, 360, 768])
def test_a_phone_shows_all_of_it(at: Open, server: StandIn, width: int) -> None:
    long = "x" * 200
    server.answers = [
        [
            f"# Wide {long}\n\n```\n{long}\n```\n\n|{long}|b|\n|-|-|\n|1|2|\n\n`{long}` https://example.org/{long}",
            *end(),
        ]
    ]
    at.page.set_viewport_size({"width": width, "height": 700})
    at.go()
    at.ask(f"Is it {long}?")
    assert at.page.evaluate("document.documentElement.scrollWidth") <= width
    beyond = at.page.evaluate(
        "[...document.querySelectorAll('main *')].filter(e => !e.closest('pre, .wide, .unseen') &&"
        " e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
    )
    assert beyond == []
    if width < 760:
        assert not at.button("New chat").is_visible()
        at.button("Conversations").click()
        at.button("New chat").click()
        at.page.wait_for_selector(".starter")
        at.page.locator("#side").wait_for(state="hidden")


def test_motion_is_left_out_where_it_is_not_wanted(at: Open, server: StandIn) -> None:
    server.answers = [["Some", WAIT, *end()]]
    at.page.emulate_media(reduced_motion="reduce")
    at.go()
    at.say("Hi")
    at.page.wait_for_selector("article.live > .text p")
    assert at.page.evaluate("document.getAnimations().length") == 0


def test_several_models_can_be_chosen_from(at: Open, server: StandIn) -> None:
    server.models = [MODEL, {"id": "second", "context_length": 100}]
    server.answers = [["Ok.", *end()]]
    at.go()
    at.page.get_by_label("Model").select_option("second")
    at.ask("Hi")
    assert server.asked[0]["model"] == "second"


def test_reading_above_is_not_disturbed_by_what_arrives(at: Open, server: StandIn) -> None:
    lines = [f"Line {n}.\n\n" for n in range(80)]
    server.answers = [[*lines, WAIT, *lines, *end()]]
    at.go()
    at.say("Hi")
    at.page.locator("article.live > .text p", has_text="Line 79.").wait_for()
    scroll = at.page.locator("#scroll")
    wait_until(lambda: scroll.evaluate("s => s.scrollTop > 0 && s.scrollHeight - s.scrollTop - s.clientHeight < 2"))
    scroll.evaluate("s => { s.scrollTop = 100 }")
    at.page.wait_for_selector("#latest:not([hidden])")
    server.go()
    at.page.wait_for_selector(OVER)
    assert scroll.evaluate("s => s.scrollTop") == 100
    at.button("Latest").click()
    assert scroll.evaluate("s => s.scrollHeight - s.scrollTop - s.clientHeight") < 2
