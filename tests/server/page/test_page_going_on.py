"""Answers that were cut: the button that lets them go on, and the sentence where they cannot."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="needs the server's packages: make test installs them")

from browser import OVER, Open, wait_until
from fastapi.responses import JSONResponse
from page_stand_in import WAIT, Piece, StandIn, delta, end, thought

USER = {"role": "user", "content": "A question"}


def call(arguments: str) -> dict[str, Any]:
    function = {"name": "f", "arguments": arguments}
    return delta(tool_calls=[{"index": 0, "id": "a", "type": "function", "function": function}])


def cut(at: Open, server: StandIn, how: str, pieces: list[Piece]) -> None:
    """Ask the question, and cut the answer behind `pieces` in one of the ways in which answers are cut."""
    server.reset()
    ended: list[Piece] = [*pieces, *end("length", tokens=4)]
    server.answers = [{"limit": ended, "broken": [*pieces, {"error": {"message": "gone"}}]}.get(how, [*pieces, WAIT])]
    at.go()
    at.say("A question")
    if how in ("stop", "reload"):
        begun = "article.live > .text > *, article.live > .thinking:visible, .call"
        wait_until(lambda: at.page.locator(begun).count())
        at.page.keyboard.press("Escape") if how == "stop" else at.page.reload()
        server.go()
    at.page.wait_for_selector(OVER)
    server.asked.clear()


def go_on(at: Open, server: StandIn, *pieces: Piece) -> dict[str, Any]:
    """Press the button; the request that the server gets."""
    server.answers = [[*pieces]]
    at.button("Go on").click()
    wait_until(lambda: server.asked)
    at.page.wait_for_selector(OVER)
    return server.asked[-1]


@pytest.mark.parametrize("how", ["stop", "limit", "reload", "broken"])
def test_an_answer_goes_on_where_it_was_cut(at: Open, server: StandIn, how: str) -> None:
    cut(at, server, how, ["Half of *a se"])
    asked = go_on(at, server, "ntence*.", *end(tokens=3))
    assert asked["messages"] == [USER, {"role": "assistant", "content": "Half of *a se"}]
    assert asked["continue_final_message"] is True
    for _ in range(2):  # it is one answer, also after a reload
        assert at.page.locator("article.answer > .text").inner_html() == "<p>Half of <em>a sentence</em>.</p>"
        assert at.page.locator("article.answer").count() == 1
        assert not at.page.locator(".versions:visible, .trouble:visible, .cut:visible").count()
        if how == "limit":
            assert "7 tokens" in at.text(".measures")
        assert at.text("#used") == "43 of 8,192 tokens"
        at.page.reload()
        at.page.wait_for_selector(OVER)
        wait_until(lambda: at.page.locator("#fullness").is_visible())
    server.answers = [["Next.", *end()]]
    at.ask("And then?")
    assert server.asked[-1]["messages"][1] == {"role": "assistant", "content": "Half of *a sentence*."}
    assert "continue_final_message" not in server.asked[-1]


@pytest.mark.parametrize("how", ["stop", "limit", "reload", "broken"])
def test_thinking_goes_on_too(at: Open, server: StandIn, how: str) -> None:
    cut(at, server, how, [thought("Let me ")])
    asked = go_on(at, server, thought("see."), "Seven.", *end())
    assert asked["messages"][1] == {"role": "assistant", "content": "", "reasoning_content": "Let me "}
    at.page.locator(".thinking summary").click()
    at.page.locator(".thinking .text", has_text="Let me see.").wait_for()
    assert at.text("article.answer > .text") == "Seven."
    # A thought that is complete goes back with what follows it.
    cut(at, server, how, [thought("Hm."), "Sev"])
    asked = go_on(at, server, "en.", *end())
    assert asked["messages"][-1] == {"role": "assistant", "content": "Sev", "reasoning_content": "Hm."}
    assert at.text("article.answer > .text") == "Seven."
    # A reload loses the time.
    assert at.text(".thinking summary").startswith("Thoughts" if how == "reload" else "Thought for")


def test_it_may_be_cut_and_go_on_many_times(at: Open, server: StandIn) -> None:
    cut(at, server, "limit", ["a"])
    for letter in "bcd":
        go_on(at, server, letter, *end("length", tokens=1))
    assert at.text("article.answer > .text") == "abcd"
    assert "7 tokens" in at.text(".measures")
    assert [asked["messages"][-1]["content"] for asked in server.asked] == ["a", "ab", "abc"]


def test_a_failure_to_go_on_leaves_what_was_there(at: Open, server: StandIn) -> None:
    at.expected = ("Failed to load resource: the server responded with a status of 500",)
    cut(at, server, "limit", ["Half"])
    server.answers = [lambda: JSONResponse({"error": {"message": "out of memory"}}, 500)]
    at.button("Go on").click()
    at.page.locator(".trouble", has_text="out of memory").wait_for()
    assert at.text("article.answer > .text") == "Half"
    assert at.button("Try again").is_visible()
    go_on(at, server, " whole.", *end())
    assert at.text("article.answer > .text") == "Half whole."
    assert not at.page.locator(".trouble:visible").count()


def test_an_answer_that_ended_inside_its_thinking_says_so_and_can_go_on(at: Open, server: StandIn) -> None:
    last = end()
    last[0]["choices"][0]["ended_inside_thinking"] = True  # type: ignore[index]
    server.answers = [[thought("Hm"), *last]]
    at.go()
    at.say("A question")
    at.page.locator(".measures", has_text="Ended inside its thinking, without an answer.").wait_for()
    go_on(at, server, thought("m."), "Yes.", *end())
    assert at.text("article.answer > .text") == "Yes."
    assert "Ended inside" not in at.text(".measures")


@pytest.mark.parametrize("how", ["stop", "limit", "reload", "broken"])
def test_where_an_answer_cannot_go_on_it_says_why(at: Open, server: StandIn, how: str) -> None:
    cut(at, server, how, ["I look.", call('{"city": "Os')])
    at.page.get_by_text("It ended inside a tool call, which cannot go on: answer again.").wait_for()
    assert not at.button("Go on").count()
    at.page.evaluate("localStorage.setItem('shoestring.settings', JSON.stringify({ schema: { type: 'object' } }))")
    cut(at, server, how, ['{"a": '])
    at.page.get_by_text("An answer that follows a JSON schema cannot go on: answer again.").wait_for()
    assert not at.button("Go on").count()


@pytest.mark.parametrize(
    "pieces",
    [["Whole.", *end()], [call("{}"), *end("tool_calls")], ["Full.", *end("length", prompt=8188, tokens=4)]],
    ids=["whole", "calls", "full"],
)
def test_a_whole_answer_offers_nothing(at: Open, server: StandIn, pieces: list[Piece]) -> None:
    server.answers = [pieces]
    at.go()
    at.ask("A question")
    for _ in range(2):
        assert not at.button("Go on").count()
        assert not at.page.locator(".cut:visible").count()
        at.page.reload()
        at.page.wait_for_selector(OVER)
        at.page.locator(".top .model", has_text="demo").wait_for()


def test_only_the_last_answer_offers_it_and_only_while_none_runs(at: Open, server: StandIn) -> None:
    cut(at, server, "limit", ["Half"])
    server.answers = [["One", WAIT, *end("length")]]
    at.say("Next")
    at.page.wait_for_selector("article.live > .text p")
    assert not at.button("Go on").count()
    server.go()
    at.page.locator(OVER).nth(1).wait_for()
    wait_until(lambda: at.button("Go on").count() == 1)
    go_on(at, server, " two.", *end())
    assert at.page.locator("article.answer > .text").all_inner_texts() == ["Half", "One two."]
    at.page.get_by_role("button", name="Delete this answer").nth(1).click()
    at.page.get_by_role("button", name="Delete this message").nth(1).click()
    wait_until(lambda: at.button("Go on").count() == 1)  # the first answer is the last one again


def test_another_model_goes_on_where_the_first_is_gone(at: Open, server: StandIn) -> None:
    cut(at, server, "limit", ["Half"])
    server.models = [{"id": "other", "object": "model"}]
    at.page.reload()
    at.page.locator(".top .model", has_text="other").wait_for()
    assert go_on(at, server, ".", *end())["model"] == "other"


def test_a_chat_that_is_stored_while_it_goes_on_can_go_on_again(at: Open, server: StandIn) -> None:
    cut(at, server, "limit", ["One"])
    server.answers = [[" two", WAIT, *end()]]
    at.button("Go on").click()
    at.page.locator("article.live > .text", has_text="One two").wait_for()
    at.page.reload()
    at.page.locator(".trouble", has_text="closed before this answer ended").wait_for()
    server.go()
    assert go_on(at, server, " three.", *end())["messages"][-1]["content"] == "One two"
    assert at.text("article.answer > .text") == "One two three."
