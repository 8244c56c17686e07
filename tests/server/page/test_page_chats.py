"""Chats on the page: what a reload, an older page and a hostile file leave of them; versions, deletion, search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="needs the server's packages: pip install 'shoestring[server]'")

from browser import OVER, Open, wait_until
from page_stand_in import WAIT, StandIn, delta, end

TEXTS = "article.user .words, article.answer > .text"


def shown(at: Open) -> list[str]:
    return [text.strip() for text in at.page.locator(TEXTS).all_inner_texts()]


def asked(server: StandIn, number: int = -1) -> list[str]:
    return [message["content"] for message in server.asked[number]["messages"]]


def stored(at: Open) -> list[dict[str, Any]]:
    return list(
        at.page.evaluate(
            """() => new Promise((resolve) => {
                const opening = indexedDB.open("shoestring", 1);
                opening.onsuccess = () => {
                    const all = opening.result.transaction("conversations").objectStore("conversations").getAll();
                    all.onsuccess = () => (opening.result.close(), resolve(all.result));
                };
            })"""
        )
    )


def store(at: Open, *chats: dict[str, Any]) -> None:
    """Put records into the browser's storage, as an earlier page may have left them."""
    at.page.evaluate(
        """(chats) => new Promise((resolve) => {
            const opening = indexedDB.open("shoestring", 1);
            opening.onsuccess = () => {
                const writing = opening.result.transaction("conversations", "readwrite");
                for (const chat of chats) writing.objectStore("conversations").put(chat);
                writing.oncomplete = () => (opening.result.close(), resolve());
            };
        })""",
        list(chats),
    )


def press(at: Open, name: str, number: int = 0) -> None:
    at.page.get_by_role("button", name=name).nth(number).click()


# --- a reload


def test_a_question_is_stored_before_it_is_sent(at: Open, server: StandIn) -> None:
    server.answers = [[WAIT, "Late.", *end()]]
    at.page.add_init_script(
        """
        window.order = [];
        const { put } = IDBObjectStore.prototype, { fetch } = window;
        IDBObjectStore.prototype.put = function (value) {
            this.transaction.addEventListener("complete", () => window.order.push("stored"));
            return put.call(this, value);
        };
        window.fetch = function (address, options) {
            if (address.includes("chat")) window.order.push("sent");
            return fetch.call(window, address, options);
        };
        """
    )
    at.go()
    at.say("Keep my question")
    wait_until(lambda: server.asked)
    assert at.page.evaluate("window.order") == ["stored", "sent"]
    assert [[message["content"] for message in chat["messages"]] for chat in stored(at)] == [["Keep my question", ""]]


@pytest.mark.parametrize("arrived", ["", "Half of "])
def test_a_reload_during_an_answer_keeps_the_question_and_offers_it_again(
    at: Open, server: StandIn, arrived: str
) -> None:
    server.answers = [[*arrived, WAIT, "it.", *end()], ["Whole.", *end()]]
    at.go()
    at.say("A long question")
    wait_until(lambda: server.asked)
    if arrived:
        at.page.locator("article.live > .text", has_text=arrived.strip()).wait_for()
    at.page.reload()
    at.page.locator(".trouble", has_text="closed before this answer ended").wait_for()
    assert shown(at) == ["A long question", arrived.strip()]
    assert at.page.locator("#list .title").all_inner_texts() == ["A long question"]
    server.go()
    at.button("Try again").click()
    at.page.locator(f"{OVER} > .text", has_text="Whole.").wait_for()
    assert asked(server) == ["A long question"]
    assert at.page.locator(".versions:visible").all_inner_texts() == (["2/2"] if arrived else [])
    at.page.reload()
    at.page.locator(f"{OVER} > .text", has_text="Whole.").wait_for()
    assert at.page.locator(".trouble:visible").count() == 0


def test_words_that_were_not_sent_survive_a_reload(at: Open, server: StandIn) -> None:
    server.answers = [["Ok.", *end()]]
    at.go()
    at.page.fill("#words", "Unfinished thou")
    at.page.reload()
    at.page.wait_for_selector(".starter")
    assert at.page.input_value("#words") == "Unfinished thou"
    at.ask("Sent")
    at.page.reload()
    at.page.wait_for_selector(OVER)
    assert at.page.input_value("#words") == ""


# --- chats of earlier pages, and files that are wrong

OLD = {
    "id": "old",
    "title": "Old",
    "system": "Be old.",
    "created": 1,
    "changed": 2,
    "messages": [
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "One.", "reasoning": "", "model": "m",
         "tool_calls": [{"id": "a", "name": "f", "arguments": "{}"}],
         "finish": "tool_calls", "error": "", "measures": {"tokens": 3}},
        {"role": "tool", "content": "result", "tool_call_id": "a"},
        {"role": "assistant", "content": "Two.", "finish": "stop"},
    ],
}  # fmt: skip


def test_chats_that_were_stored_before_there_were_versions_load(at: Open, server: StandIn) -> None:
    server.answers = [["Three.", *end()]]
    at.go()
    store(at, OLD)
    at.page.goto("about:blank")
    at.page.goto(f"{at.watched.address}#old")
    at.page.wait_for_selector(OVER)
    assert shown(at) == ["One?", "One.", "Two."]
    at.page.locator("#empty").wait_for(state="hidden")
    at.page.wait_for_function("document.querySelector('.top .model').textContent")
    before = at.page.locator(OVER).count()
    at.ask("Three?")
    assert before == 2
    roles = [(message["role"], message["content"]) for message in server.asked[0]["messages"]]
    assert roles == [
        ("system", "Be old."), ("user", "One?"), ("assistant", "One."), ("tool", "result"), ("assistant", "Two."),
        ("user", "Three?"),
    ]  # fmt: skip


HOSTILE = [
    ({"next": 1}, [{"id": 1, "parent": 2, "next": 2}, {"id": 2, "parent": 1, "next": 1}], ["m0", "m1"]),
    ({"next": 7}, [{"id": 1, "parent": 1, "next": 1}, {"id": 1, "parent": 1, "next": -1}], ["m0", "m1"]),
    ({"next": "x"}, [{"id": "a", "parent": None}, {"id": 1e9, "parent": {}}, {"id": 1.5, "parent": "a"}],
     ["m0", "m1", "m2"]),
    ({}, [{"id": 5, "parent": 0}, {"id": 6, "parent": 0}, {"id": 7, "parent": 5}], ["m1"]),
    ({"next": 5}, [{"id": 5, "parent": 0}, {"id": 6, "parent": 0}, {"id": 7, "parent": 5}], ["m0", "m2"]),
    ({"next": 5}, [{"id": 5, "parent": 0}, {"id": 6, "parent": 5}, {"id": 8, "parent": 5}, {"id": 9, "parent": 5}],
     ["m0", "m3"]),
    ({}, [{"id": 0, "parent": 0}, {"id": 2, "parent": 99}], ["m0", "m1"]),
]  # fmt: skip


@pytest.mark.parametrize(("chat", "places", "path"), HOSTILE, ids=range(len(HOSTILE)))
def test_whatever_a_file_says_the_messages_are_a_tree(
    at: Open, chat: dict[str, Any], places: list[dict[str, Any]], path: list[str]
) -> None:
    at.go()
    messages = [{**place, "role": "user", "content": f"m{number}"} for number, place in enumerate(places)]
    found = at.page.evaluate(
        """async (raw) => {
            const { checkedConversation } = await import("/page/records.js");
            const { path } = await import("/page/versions.js");
            const once = checkedConversation(raw);
            const again = checkedConversation(JSON.parse(JSON.stringify(once)));
            return [path(once).map((one) => one.content), JSON.stringify(once) === JSON.stringify(again),
                    once.messages.every((one, at) => one.id === at + 1 && one.parent <= at)];
        }""",
        {"id": "x", "created": 1, "changed": 1, "messages": messages, **chat},
    )
    assert found == [path, True, True]


# --- versions


def test_an_edit_at_any_place_keeps_what_was_there(at: Open, server: StandIn) -> None:
    server.answers = [[f"Answer {number}.", *end()] for number in range(1, 6)]
    at.go()
    for question in ("First", "Second", "Third"):
        at.ask(question)
    press(at, "Edit this message", 1)
    at.page.fill(".editing textarea", "Other")
    at.button("Send again").click()
    at.page.locator(f"{OVER} > .text", has_text="Answer 4.").wait_for()
    assert shown(at) == ["First", "Answer 1.", "Other", "Answer 4."]
    assert asked(server) == ["First", "Answer 1.", "Other"]
    assert at.page.locator(".versions:visible").all_inner_texts() == ["2/2"]
    assert at.page.locator("article.user").nth(1).get_by_role("button", name="Next version").is_disabled()
    press(at, "Answer again", 0)
    at.page.locator(f"{OVER} > .text", has_text="Answer 5.").wait_for()
    assert shown(at) == ["First", "Answer 5."]
    press(at, "Previous version")
    assert shown(at) == ["First", "Answer 1.", "Other", "Answer 4."]
    press(at, "Previous version", 1)  # of the second question
    whole = ["First", "Answer 1.", "Second", "Answer 2.", "Third", "Answer 3."]
    assert shown(at) == whole
    at.page.reload()
    at.page.locator(f"{OVER} > .text", has_text="Answer 3.").wait_for()
    assert shown(at) == whole
    press(at, "Next version", 1)
    assert shown(at) == ["First", "Answer 1.", "Other", "Answer 4."]


def test_versions_cannot_be_changed_while_an_answer_runs(at: Open, server: StandIn) -> None:
    server.answers = [["One.", *end()], ["Two", WAIT, *end()]]
    at.go()
    at.ask("Q")
    press(at, "Answer again")
    at.page.wait_for_selector("article.live > .text p")
    for name in ("Edit this message", "Delete this message", "Answer again"):
        assert not at.page.get_by_role("button", name=name).is_visible()
    server.go()
    at.page.wait_for_selector(OVER)
    assert at.button("Edit this message").count() == 1
    assert at.button("Previous version").is_enabled()


def test_the_result_of_a_tool_can_be_written_again(at: Open, server: StandIn) -> None:
    call = delta(tool_calls=[{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}])
    server.answers = [[call, *end("tool_calls")], ["First.", *end()], ["Second.", *end()]]
    at.go()
    at.ask("Call it")
    at.ask("one")
    at.page.locator("article.result").get_by_role("button", name="Edit this message").click()
    at.page.fill(".editing textarea", "two")
    at.button("Send again").click()
    at.page.locator(f"{OVER} > .text", has_text="Second.").wait_for()
    assert server.asked[-1]["messages"][-1] == {"role": "tool", "content": "two", "tool_call_id": "a"}
    # Without the answer that called, its result goes too; undone, all is there.
    press(at, "Delete this answer", 0)
    assert shown(at) == ["Call it", "Second."]
    assert at.page.locator("article.result").count() == 0
    at.button("Undo").click()
    assert at.page.locator("article.result").count() == 1
    assert shown(at) == ["Call it", "", "Second."]


def test_one_message_is_deleted_and_what_follows_stays(at: Open, server: StandIn) -> None:
    server.answers = [[f"Answer {number}.", *end()] for number in range(1, 5)]
    at.go()
    at.ask("First")
    at.ask("Second")
    press(at, "Delete this message", 1)
    assert shown(at) == ["First", "Answer 1.", "Answer 2."]
    at.button("Undo").click()
    assert shown(at) == ["First", "Answer 1.", "Second", "Answer 2."]
    press(at, "Delete this answer", 1)
    at.page.locator(".offer", has_text="has no answer").wait_for()
    at.button("Answer it").click()
    at.page.locator(f"{OVER} > .text", has_text="Answer 3.").wait_for()
    assert asked(server) == ["First", "Answer 1.", "Second"]
    press(at, "Delete this answer", 0)
    at.ask("Third")
    assert asked(server) == ["First", "Second", "Answer 3.", "Third"]
    at.page.reload()
    at.page.wait_for_selector(OVER)
    assert shown(at) == ["First", "Second", "Answer 3.", "Third", "Answer 4."]


def test_any_changes_leave_a_tree_and_any_deletion_can_be_undone(at: Open) -> None:
    """Thousands of random edits, choices and deletions against the rules that the rest of the page relies on."""
    at.go()
    wrong = at.page.evaluate(
        """async () => {
            const versions = await import("/page/versions.js");
            const { checkedConversation, newConversation } = await import("/page/records.js");
            let seed = 1;
            const random = (below) => ((seed = (seed * 48271) % 2147483647) >> 8) % below;
            const wrong = [];
            for (let round = 0; round < 200; round += 1) {
                const chat = newConversation("");
                for (let step = 0; step < 30; step += 1) {
                    const any = chat.messages[random(chat.messages.length || 1)];
                    const fresh = { role: "user", content: `${round}.${step}` };
                    const kind = any ? random(4) : 0;
                    const before = JSON.stringify(chat), texts = chat.messages.length;
                    if (kind === 0) versions.append(chat, fresh);
                    if (kind === 1) versions.choose(chat, any), versions.addVersion(chat, any, fresh);
                    if (kind < 2 && versions.path(chat).at(-1) !== fresh) wrong.push("a new message is not shown");
                    if (kind === 2) {
                        versions.choose(chat, any);
                        if (!versions.path(chat).includes(any)) wrong.push("the chosen message is not shown");
                    }
                    if (kind === 3) {
                        const shown = versions.path(chat).filter((one) => one !== any);
                        const undo = versions.remove(chat, any);
                        if (chat.messages.length !== texts - 1) wrong.push("more than one message is gone");
                        const has = versions.path(chat);
                        if (shown.some((one) => !has.includes(one))) wrong.push("what follows is not shown");
                        if (random(2)) {
                            undo();
                            if (JSON.stringify(chat) !== before) wrong.push("not undone");
                        } else if (random(2)) {
                            versions.append(chat, fresh);
                            undo();
                            if (chat.messages.length !== texts + 1) wrong.push("lost by undoing");
                            if (!versions.path(chat).includes(fresh)) wrong.push("hidden by undoing");
                        }
                    }
                    const again = checkedConversation(JSON.parse(JSON.stringify(chat)));
                    const words = (one) => versions.path(one).map(({ content }) => content).join();
                    if (words(again) !== words(chat)) wrong.push("another path after loading");
                }
            }
            return [...new Set(wrong)];
        }"""
    )
    assert wrong == []


# --- search, and one chat as a file


def test_search_finds_words_in_any_version_and_opens_it(at: Open, server: StandIn) -> None:
    server.answers = [["The **otter** swims.", *end()], ["A badger digs.", *end()], ["Nothing here (at all).", *end()]]
    at.go()
    at.ask("Which animal?")
    press(at, "Answer again")
    at.page.locator(f"{OVER} > .text", has_text="badger").wait_for()
    at.page.keyboard.press("Control+Shift+O")
    at.page.wait_for_selector(".starter")
    at.ask("Something else")
    keys = at.page.keyboard
    keys.press("Control+k")
    hits = at.page.locator("#search-hits li")
    assert hits.all_inner_texts() == ["New chat", "Something else", "Which animal?"]
    keys.type("OTTER which")
    assert hits.count() == 1
    assert at.page.locator("#search-hits mark").all_inner_texts() == ["Which", "otter"]
    assert at.page.get_attribute("#search-field", "aria-activedescendant") == "hit-0"
    keys.press("Enter")
    at.page.locator("#search").wait_for(state="hidden")
    at.page.locator("article.found > .text", has_text="otter swims").wait_for()
    assert shown(at) == ["Which animal?", "The otter swims."]
    keys.press("Control+k")
    keys.type("(at")  # no pattern, just text
    assert hits.count() == 1
    keys.press("ArrowUp")
    keys.press("Escape")
    keys.press("Control+k")
    keys.type("unicorn")
    assert hits.count() == 0
    assert at.text("#search-count") == "No chat has these words."
    keys.press("Enter")
    assert at.page.locator("#search[open]").count() == 1


def test_a_chat_is_saved_and_copied_as_markdown(at: Open, server: StandIn, tmp_path: Path) -> None:
    call = delta(
        tool_calls=[{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}]
    )
    server.answers = [["Old.", *end()], ["See:\n\n```\ncode\n```", call, *end("tool_calls")], ["Done.", *end()]]
    at.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    at.go()
    assert not at.button("Copy or save this chat").is_visible()
    at.ask("Über *alles*: was?")
    press(at, "Answer again")
    at.page.wait_for_selector(".call")
    at.ask("a ```` b")
    at.button("Copy or save this chat").click()
    with at.page.expect_download() as download:
        at.button("Save as Markdown").click()
    assert download.value.suggested_filename == "über-alles-was.md"
    file = tmp_path / "chat.md"
    download.value.save_as(file)
    text = file.read_text(encoding="utf-8")
    assert text == (
        "# Über *alles*: was?\n\n## You\n\nÜber *alles*: was?\n\n## demo-llama4\n\nSee:\n\n```\ncode\n```\n\n"
        'Calls `f`:\n\n```json\n{"x":1}\n```\n\n## Result of the tool\n\n`````\na ```` b\n`````\n\n'
        "## demo-llama4\n\nDone.\n"
    )
    at.button("Copy or save this chat").click()
    at.button("Copy as Markdown").click()
    at.page.locator("#toast", has_text="Copied").wait_for()
    assert at.page.evaluate("navigator.clipboard.readText()") == text
