"""The chat page in a browser, against a stand-in that says what a test wants it to say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="needs the server's packages: make test installs them")

from browser import OVER, Open, wait_until
from fastapi.responses import JSONResponse
from page_stand_in import WAIT, StandIn, delta, end, thought

# --- an answer arrives


def test_an_answer_streams_in_and_says_how_fast_it_was(at: Open, server: StandIn) -> None:
    server.answers = [["Hello **wor", WAIT, "ld**.", *end(prompt=40, cached=30, tokens=12)]]
    at.go()
    at.say("Hi")
    at.page.wait_for_selector("article.live > .text p")
    assert at.text("article.answer > .text") == "Hello **wor"
    assert at.page.get_attribute("article.answer", "aria-busy") == "true"
    server.go()
    at.page.wait_for_selector(OVER)
    assert at.page.locator("article.answer > .text").inner_html() == "<p>Hello <strong>world</strong>.</p>"
    measures = at.text(".measures")
    for part in ("12 tokens", "tokens/s", "first after", "75\u00a0% of 40 prompt tokens from the cache"):
        assert part in measures
    assert at.text("#used") == "52 of 8,192 tokens"
    assert "Hello" in str(at.page.text_content("#status"))
    assert server.asked[0]["messages"] == [{"role": "user", "content": "Hi"}]


def test_thinking_is_folded_and_timed(at: Open, server: StandIn) -> None:
    server.answers = [[thought("Let me "), WAIT, thought("see: *7*."), "Seven.", *end()]]
    at.go()
    at.say("3+4?")
    summary = at.page.locator(".thinking summary")
    summary.filter(has_text="Thinking").wait_for()
    server.go()
    at.page.wait_for_selector(OVER)
    assert re.fullmatch(r"Thought for .+", summary.inner_text())
    assert not at.page.locator(".thinking .text").is_visible()
    summary.click()
    at.page.locator(".thinking .text", has_text="Let me see: 7.").wait_for()
    assert at.text("article.answer > .text") == "Seven."


def test_the_reading_of_a_long_prompt_is_shown(at: Open, server: StandIn) -> None:
    progress = {"choices": [], "prefill": {"computed": 6144, "prompt_tokens": 8000, "cached_tokens": 2048}}
    server.answers = [[": prefill 3072/8000", progress, ": keep-alive", WAIT, "Read.", *end()]]
    at.go()
    at.say("Long")
    at.page.locator(".measures", has_text="6,144 of 8,000 tokens, 2,048 of them from the cache").wait_for()
    bar = at.page.locator("progress")
    assert float(bar.get_attribute("value")) == 6144 / 8000
    server.go()
    at.page.wait_for_selector(OVER)
    assert not bar.is_visible()


def test_tool_calls_are_shown_and_their_results_asked_for(at: Open, server: StandIn) -> None:
    def call(index: int, **fields: Any) -> dict[str, Any]:
        return delta(tool_calls=[{"index": index, **fields}])

    server.answers = [
        [
            call(0, id="a", type="function", function={"name": "get_weather", "arguments": '{"city":'}),
            call(0, function={"arguments": ' "Kyōto"}'}),
            call(1, id="b", type="function", function={"name": "get_time", "arguments": "{}"}),
            *end("tool_calls"),
        ],
        ["Sunny at noon.", *end()],
    ]
    at.go()
    at.button("Settings").click()
    at.page.fill("#set-tools", '[{"name": "get_weather", "parameters": {"type": "object"}}]')
    at.page.keyboard.press("Escape")
    at.ask("Weather?")
    assert server.asked[0]["tools"][0] == {
        "type": "function",
        "function": {"name": "get_weather", "parameters": {"type": "object"}},
    }
    assert at.page.locator(".call strong").all_inner_texts() == ["get_weather", "get_time"]
    assert at.page.locator(".call code").first.inner_text() == '{\n  "city": "Kyōto"\n}'
    assert at.page.get_attribute("#words", "placeholder") == "Result of get_weather (1 of 2)"
    at.say("sun")
    at.ask("12:00")
    assert at.text("article.answer > .text") == "Sunny at noon."
    roles = [(message["role"], message.get("tool_call_id")) for message in server.asked[1]["messages"]]
    assert roles == [("user", None), ("assistant", None), ("tool", "a"), ("tool", "b")]
    assert server.asked[1]["messages"][1]["tool_calls"][0]["function"]["arguments"] == '{"city": "Kyōto"}'


# --- stop, again, otherwise


@pytest.mark.parametrize("how", ["key", "button"])
def test_stop_keeps_what_came_and_leaves_the_server(at: Open, server: StandIn, how: str) -> None:
    server.answers = [["One, two", WAIT, ", three", *end()], ["New.", *end()]]
    at.go()
    at.say("Count")
    at.page.wait_for_selector("article.live > .text p")
    if how == "key":
        at.page.keyboard.press("Escape")
    else:
        at.button("Stop").click()
    at.page.wait_for_selector(OVER)
    assert at.text("article.answer > .text") == "One, two"
    assert "Stopped" in at.text(".measures")
    wait_until(lambda: server.left == 1)
    at.ask("And now?")
    assert [message["role"] for message in server.asked[1]["messages"]] == ["user", "assistant", "user"]


def test_retry_and_edit_ask_again_from_there(at: Open, server: StandIn) -> None:
    server.answers = [["First.", *end()], ["Second.", *end()], ["Third.", *end()]]
    at.go()
    at.ask("Tell me")
    at.page.hover("article.answer")
    at.button("Answer again").click()
    at.page.locator(f"{OVER} > .text", has_text="Second.").wait_for()
    assert at.page.locator("article").count() == 2
    assert server.asked[1]["messages"] == server.asked[0]["messages"]
    at.page.hover("article.user")
    at.button("Edit this message").click()
    at.page.fill(".editing textarea", "Tell us")
    at.button("Send again").click()
    at.page.locator(f"{OVER} > .text", has_text="Third.").wait_for()
    assert server.asked[2]["messages"] == [{"role": "user", "content": "Tell us"}]
    assert at.page.locator("article").count() == 2


def test_settings_are_sent_and_only_good_ones(at: Open, server: StandIn) -> None:
    server.answers = [["Ok.", *end()]]
    at.go()
    at.button("Settings").click()
    assert at.page.get_attribute("#set-temperature", "placeholder") == "0.7"
    at.page.fill("#set-system", "Be brief.")
    at.page.select_option("#set-thinking", "off")
    at.page.fill("#set-temperature", "0.25")
    at.page.fill("#set-top_k", "1.5")
    at.page.fill("#set-seed", "7")
    at.page.fill("#set-max_tokens", "100")
    at.page.fill("#set-tools", "[{")
    assert at.page.locator(".wrong:not(:empty)").all_inner_texts() == [
        "A whole number from 0 to 1000.",
        "This is not JSON yet. The last good tools stay in use.",
    ]
    at.page.keyboard.press("Escape")
    at.ask("Hi")
    asked = server.asked[0]
    assert asked["messages"][0] == {"role": "system", "content": "Be brief."}
    assert asked["chat_template_kwargs"] == {"enable_thinking": False}
    assert (asked["temperature"], asked["seed"], asked["max_completion_tokens"]) == (0.25, 7, 100)
    assert not {"top_k", "top_p", "tools", "reasoning_effort"} & set(asked)
    at.go("#empty")  # another load: the settings are still there
    at.button("Settings").click()
    at.page.select_option("#set-thinking", "high")
    at.page.keyboard.press("Escape")
    at.ask("Hi")
    assert server.asked[1]["reasoning_effort"] == "high"
    assert server.asked[1]["temperature"] == 0.25


# --- conversations stay


def test_a_conversation_survives_a_reload(at: Open, server: StandIn) -> None:
    server.answers = [[thought("Hm."), "A `kept` answer.", *end()]]
    at.go()
    at.ask("Keep this")
    before = at.page.locator("article.answer > .text").last.inner_html()
    at.page.reload()
    at.page.wait_for_selector(OVER)
    assert at.page.locator("article.answer > .text").last.inner_html() == before
    assert at.text(".user .words") == "Keep this"
    assert "75\u00a0% of 40" in at.text(".measures")
    at.page.locator(".thinking summary").click()
    at.page.locator(".thinking .text", has_text="Hm.").wait_for()


def test_rename_delete_undo_and_two_at_once(at: Open, server: StandIn) -> None:
    server.answers = [["Slow", WAIT, " one.", *end()], ["Quick.", *end()]]
    at.go()
    at.say("First")
    at.page.wait_for_selector("article.live > .text p")
    at.page.keyboard.press("Control+Shift+O")
    at.page.wait_for_selector(".starter")
    at.ask("Second")
    titles = at.page.locator("#list .title")
    assert titles.all_inner_texts() == ["Second", "First"]
    server.go()
    at.page.wait_for_selector("#list .pulse", state="detached")
    titles.nth(1).click()
    assert at.text(f"{OVER} > .text") == "Slow one."
    at.page.locator("#list li").nth(1).hover()
    at.button("Rename “First”").click()
    at.page.keyboard.type("Renamed")
    at.page.keyboard.press("Enter")
    assert titles.all_inner_texts() == ["Second", "Renamed"]
    at.page.locator("#list li").nth(1).hover()
    at.button("Delete “Renamed”").click()
    assert titles.all_inner_texts() == ["Second"]
    at.button("Undo").click()
    at.page.wait_for_selector(OVER)
    at.page.reload()
    at.page.wait_for_selector(OVER)
    assert at.page.locator("#list .title").all_inner_texts() == ["Second", "Renamed"]


def test_export_and_import(at: Open, server: StandIn, tmp_path: Path) -> None:
    server.answers = [["Answer.", *end()]]
    at.go()
    at.ask("Question")
    with at.page.expect_download() as download:
        at.button("Export").click()
    file = tmp_path / "chats.json"
    download.value.save_as(file)
    kept = json.loads(file.read_text())
    assert [message["content"] for message in kept["conversations"][0]["messages"]] == ["Question", "Answer."]
    kept["conversations"][0] |= {"id": "other", "title": "<b>bold</b>", "more": 1}
    kept["conversations"] += [{"id": 3}, None, {"id": "x", "messages": "no"}]
    file.write_text(json.dumps(kept))
    at.page.set_input_files("#file", file)
    at.page.locator("#toast", has_text="Took in 1 conversation.").wait_for()
    assert sorted(at.page.locator("#list .title").all_inner_texts()) == ["<b>bold</b>", "Question"]
    file.write_text('{"some": "file"}')
    at.page.set_input_files("#file", file)
    at.page.locator("#toast", has_text="holds no conversations").wait_for()


# --- what goes wrong is said in a line


def refusal(status: int, message: str, code: str, **headers: str) -> Any:
    return lambda: JSONResponse({"error": {"message": message, "code": code}}, status, headers)


def test_a_busy_server_is_asked_again(at: Open, server: StandIn) -> None:
    at.expected = ("Failed to load resource: the server responded with a status of 429",)
    server.answers = [refusal(429, "queue full", "queue_full", **{"Retry-After": "1"}), ["At last.", *end()]]
    at.go()
    at.say("Hi")
    at.page.locator(".measures", has_text="The server is busy. Trying again in 1 s.").wait_for()
    at.page.locator(f"{OVER} > .text", has_text="At last.").wait_for()
    assert len(server.asked) == 2


def test_a_full_context_is_explained(at: Open, server: StandIn) -> None:
    at.expected = ("Failed to load resource: the server responded with a status of 400",)
    server.answers = [refusal(400, "9000 tokens, 8192 fit", "context_length_exceeded"), ["Fits.", *end()]]
    at.go()
    at.ask("Much")
    assert "no longer fits" in at.text(".trouble")
    assert "9000 tokens, 8192 fit" in at.text(".trouble")
    at.button("Try again").click()
    at.page.locator(f"{OVER} > .text", has_text="Fits.").wait_for()
    server.answers = [["Cut", *end("length", prompt=8000, tokens=192)]]
    at.ask("More")
    assert "The context is full" in at.text(".measures")


def test_a_broken_stream_keeps_what_came(at: Open, server: StandIn) -> None:
    server.answers = [["Half", {"error": {"message": "a number was not finite"}}], ["Whole.", *end()]]
    at.go()
    at.ask("Hi")
    assert at.text("article.answer > .text") == "Half"
    assert "a number was not finite" in at.text(".trouble")


def test_a_server_that_is_gone_and_comes_back(at: Open, server: StandIn) -> None:
    at.expected = ("Failed to load resource: net::ERR",)
    server.answers = [["Back.", *end()]]
    at.page.route("**/v1/**", lambda route: route.abort())
    at.go("#empty .button")
    assert "The server does not answer" in at.text("#empty h2")
    at.page.unroute("**/v1/**")
    at.page.wait_for_selector(".starter")  # by itself
    at.page.route("**/v1/**", lambda route: route.abort())
    at.ask("Hi")
    assert "The server does not answer" in at.text(".trouble")
    at.page.unroute("**/v1/**")
    at.button("Try again").click()
    at.page.locator(f"{OVER} > .text", has_text="Back.").wait_for()


def test_a_key_is_asked_for_and_kept_for_this_tab_only(at: Open, server: StandIn) -> None:
    at.expected = ("Failed to load resource: the server responded with a status of 401",)
    server.key = "right"
    server.answers = [["In.", *end()]]
    at.go("dialog[open]")
    at.page.fill("#key-field", "wrong")
    at.page.keyboard.press("Enter")
    at.page.locator("#key-why", has_text="did not accept").wait_for()
    at.page.fill("#key-field", "right")
    at.button("Use it").click()
    at.page.wait_for_selector(".starter")
    at.ask("Hi")
    assert at.text("article.answer > .text") == "In."
    assert at.page.evaluate("JSON.stringify([localStorage, document.cookie])").count("right") == 0
    assert at.page.evaluate("Object.values(sessionStorage)") == ["right"]
