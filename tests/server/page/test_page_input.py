"""What goes into a request besides typed words: files, stop strings, penalties, a schema; wide and slow answers."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="needs the server's packages: pip install 'shoestring[server]'")

from browser import OVER, Open
from page_stand_in import StandIn, end

#: a file that a page gets: its name, its type as the browser names it, its bytes
File = tuple[str, str, bytes]

GIVE = """([how, files]) => {
    const data = new DataTransfer();
    for (const [name, type, bytes] of files) data.items.add(new File([new Uint8Array(bytes)], name, { type }));
    const target = how === "drop" ? document.body : document.getElementById("words");
    const event = how === "drop"
        ? new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: data })
        : new ClipboardEvent("paste", { bubbles: true, cancelable: true, clipboardData: data });
    if (how === "drop")
        target.dispatchEvent(new DragEvent("dragover", { bubbles: true, cancelable: true, dataTransfer: data }));
    return !target.dispatchEvent(event);
}"""


def give(at: Open, how: str, *files: File) -> None:
    """Give files to the page in one of the three ways that people have."""
    if how == "choose":
        at.page.set_input_files(
            "#attached", [{"name": name, "mimeType": kind, "buffer": data} for name, kind, data in files]
        )
    else:
        assert at.page.evaluate(GIVE, [how, [[name, kind, list(data)] for name, kind, data in files]])


@pytest.mark.parametrize("how", ["drop", "paste", "choose"])
def test_a_text_file_becomes_part_of_the_message(at: Open, server: StandIn, how: str) -> None:
    server.answers = [["Read.", *end()]]
    at.go()
    give(at, how, ("a.py", "text/x-python", b"x = 1\r\n```\n"), ("b", "", "é\n".encode("utf-16")))
    at.page.locator(".chip", has_text="b").wait_for()
    assert at.page.locator(".chip span").all_inner_texts() == ["a.py", "b"]
    at.ask("What is this?")
    assert server.asked[0]["messages"] == [
        {"role": "user", "content": "What is this?\n\na.py:\n````py\nx = 1\n```\n````\n\nb:\n```\né\n```"}
    ]
    assert not at.page.locator("#chips").is_visible()
    assert at.text("#title") == "What is this?"


def test_a_file_can_go_alone_and_can_be_taken_away(at: Open, server: StandIn) -> None:
    server.answers = [["Read.", *end()]]
    at.go()
    give(at, "drop", ("one.txt", "text/plain", b"1"), ("two.txt", "text/plain", b"2"))
    at.button("Remove one.txt").click()
    at.button("Send").click()
    at.page.wait_for_selector(OVER)
    assert server.asked[0]["messages"][0]["content"] == "two.txt:\n```txt\n2\n```"


def test_files_that_were_not_sent_survive_a_reload(at: Open, server: StandIn) -> None:
    server.answers = [["Read.", *end()]]
    at.go()
    at.page.fill("#words", "What is")
    give(at, "drop", ("one.py", "text/x-python", b"x = 1"), ("two.txt", "text/plain", "é\n".encode()))
    at.page.locator(".chip", has_text="two").wait_for()
    at.button("Remove one.py").click()
    give(at, "choose", ("three.txt", "text/plain", b"3"))
    at.page.locator(".chip", has_text="three").wait_for()
    for _ in range(2):
        at.page.reload()
        at.page.wait_for_selector(".starter")
        assert at.page.locator(".chip span").all_inner_texts() == ["two.txt", "three.txt"]
        assert at.page.input_value("#words") == "What is"
    at.page.keyboard.type(" this?")
    at.button("Send").click()
    at.page.wait_for_selector(OVER)
    content = "What is this?\n\ntwo.txt:\n```txt\né\n```\n\nthree.txt:\n```txt\n3\n```"
    assert server.asked[0]["messages"][0]["content"] == content
    at.page.reload()
    at.page.wait_for_selector(OVER)
    assert not at.page.locator("#chips").is_visible()
    assert at.page.evaluate("Object.keys(sessionStorage)") == []


def test_a_file_alone_can_be_sent_after_a_reload(at: Open, server: StandIn) -> None:
    server.answers = [["Read.", *end()]]
    at.go()
    give(at, "drop", ("one.txt", "text/plain", b"1"))
    at.page.locator(".chip").wait_for()
    at.page.reload()
    at.page.wait_for_selector(".starter")
    at.button("Send").click()
    at.page.wait_for_selector(OVER)
    assert server.asked[0]["messages"][0]["content"] == "one.txt:\n```txt\n1\n```"


def test_files_that_the_browser_cannot_store_are_said(at: Open, server: StandIn) -> None:
    at.go()
    files = [(f"{number}.txt", "text/plain", bytes([97 + number]) * (1 << 20)) for number in range(6)]
    give(at, "choose", *files)
    at.page.locator("#toast", has_text="a reload would remove them").wait_for()
    assert at.page.locator(".chip").count() == 6
    at.button("Remove 0.txt").click()
    at.button("Remove 1.txt").click()
    at.page.reload()
    at.page.wait_for_selector(".starter")
    assert at.page.locator(".chip").count() == 4


@pytest.mark.parametrize("stored", ["{", "null", "5", "[null]", '[{"name": 1, "content": "x"}]', '{"a": 1}'])
def test_wrong_storage_is_no_file(at: Open, server: StandIn, stored: str) -> None:
    at.go()
    at.page.evaluate("(stored) => sessionStorage.setItem('shoestring.draft-files', stored)", stored)
    at.page.reload()
    at.page.wait_for_selector(".starter")
    assert not at.page.locator("#chips").is_visible()


REFUSED: list[tuple[File, str]] = [
    (("cat.png", "image/png", b"\x89PNG\r\n"), "“cat.png” is a picture, and this model reads text alone."),
    (("cat.JPEG", "", b"\xff\xd8\xff"), "“cat.JPEG” is a picture"),
    (("a.pdf", "application/pdf", b"%PDF-1.7\n\xff\xfe\x00"), "“a.pdf” is not a text file"),
    (("a.bin", "", b"text\0text"), "“a.bin” is not a text file"),
    (("latin.txt", "text/plain", "é".encode("latin-1")), "“latin.txt” is not a text file"),
    (("long.txt", "text/plain", b"x" * ((1 << 20) + 1)), "“long.txt” is too long"),
    (("empty.txt", "text/plain", b" \n"), "“empty.txt” is empty."),
]


@pytest.mark.parametrize(("file", "words"), REFUSED, ids=[file[0] for file, _ in REFUSED])
@pytest.mark.parametrize("how", ["drop", "paste", "choose"])
def test_what_cannot_be_read_gets_a_clear_word(at: Open, server: StandIn, how: str, file: File, words: str) -> None:
    server.answers = [["Ok.", *end()]]
    at.go()
    give(at, how, file)
    at.page.locator("#toast", has_text=words).wait_for()
    assert words in str(at.page.text_content("#status"))
    assert not at.page.locator("#chips").is_visible()
    assert at.button("Send").is_disabled()


def test_text_that_is_pasted_beside_a_picture_of_it_is_text(at: Open) -> None:
    """Spreadsheets copy cells as text and as a picture."""
    at.go()
    prevented = at.page.evaluate(
        """() => {
            const data = new DataTransfer();
            data.setData("text/plain", "cells");
            data.items.add(new File([new Uint8Array(4)], "cells.png", { type: "image/png" }));
            const event = new ClipboardEvent("paste", { bubbles: true, cancelable: true, clipboardData: data });
            return !document.getElementById("words").dispatchEvent(event);
        }"""
    )
    assert not prevented
    assert not at.page.locator("#toast").is_visible()


def test_a_long_message_is_shown_in_a_box_that_scrolls(at: Open, server: StandIn) -> None:
    server.answers = [["Ok.", *end()]]
    at.go()
    at.ask("word " * 2000)
    box = at.page.locator(".user .words")
    assert box.evaluate("e => e.scrollHeight > e.clientHeight && e.clientHeight < 400 && e.tabIndex === 0")


# --- settings


def set_texts(at: Open, **texts: str) -> None:
    at.button("Settings").click()
    for name, text in texts.items():
        at.page.fill(f"#set-{name}", text)


SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a_b": {"type": "string"}}, "required": ["a_b"]}


def test_stop_strings_penalties_and_a_schema_are_sent(at: Open, server: StandIn) -> None:
    server.answers = [['{"a_b": "*c*"}', *end()], ["Text *again*.", *end()]]
    at.go()
    set_texts(
        at, stop="END\n\\nQ:\n\n C:\\\\n", frequency_penalty="0.5", repetition_penalty="1.1", presence_penalty="-1",
        schema=str(SCHEMA).replace("'", '"'),
    )  # fmt: skip
    at.page.keyboard.press("Escape")
    assert "JSON schema" in at.text("#hint")
    at.ask("Hi")
    asked = server.asked[0]
    assert asked["stop"] == ["END", "\nQ:", " C:\\n"]
    assert [asked[f"{name}_penalty"] for name in ("frequency", "repetition", "presence")] == [0.5, 1.1, -1]
    assert asked["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
    }
    # Such an answer is a listing, also after a reload; its text is not markdown.
    for _ in range(2):
        assert at.page.locator("article.answer > .text code").inner_text() == '{"a_b": "*c*"}'
        at.page.reload()
        at.page.wait_for_selector(OVER)
    at.button("Settings").click()
    assert at.page.input_value("#set-stop") == "END\n\\nQ:\n C:\\\\n"
    assert '"a_b"' in at.page.input_value("#set-schema")
    at.button("Back to the model's own").click()
    assert at.page.input_value("#set-stop") == at.page.input_value("#set-schema") == ""
    at.page.keyboard.press("Escape")
    at.ask("Hi")
    assert not {"stop", "response_format", "frequency_penalty", "repetition_penalty"} & set(server.asked[1])
    assert at.page.locator("article.answer > .text em").inner_text() == "again"


def test_a_wrong_schema_or_penalty_is_said_and_not_sent(at: Open, server: StandIn) -> None:
    server.answers = [["{}", *end()]]
    at.go()
    set_texts(at, schema='{"type": "object"}')
    for text, wrong in (("{", "This is not JSON yet."), ("[]", "A schema is an object: {…}."), ("null", "A schema is")):
        at.page.fill("#set-schema", text)
        assert at.text("#schema-wrong").startswith(wrong)
        assert at.text("#schema-wrong").endswith("The last good schema stays in use.")
        assert at.page.get_attribute("#set-schema", "aria-invalid") == "true"
    at.page.fill("#set-repetition_penalty", "0")
    assert at.page.locator(".wrong:not(:empty)").all_inner_texts() == [
        "A number from 0.1 to 10.",
        "A schema is an object: {…}. The last good schema stays in use.",
    ]
    at.page.keyboard.press("Escape")
    at.ask("Hi")
    assert server.asked[0]["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert "repetition_penalty" not in server.asked[0]


# --- drawing


@pytest.mark.parametrize("width", [360, 1200])
def test_a_wide_table_scrolls_and_keeps_its_columns_readable(at: Open, server: StandIn, width: int) -> None:
    head = "|" + "|".join(f"A column of words {n}" for n in range(6)) + "|\n" + "|-" * 6 + "|\n"
    rows = ("|" + "|".join("some words that are a sentence" for _ in range(6)) + "|\n") * 3
    server.answers = [[head + rows, *end()]]
    at.page.set_viewport_size({"width": width, "height": 700})
    at.go()
    at.ask("Table")
    scrolls, narrowest, lines = at.page.evaluate(
        """() => {
            const box = document.querySelector(".wide"), cells = [...box.querySelectorAll("td")];
            box.scrollLeft = 1e6;
            return [box.scrollLeft > 0, Math.min(...cells.map((e) => e.clientWidth)),
                    Math.max(...cells.map((e) => e.clientHeight)) / 24];
        }"""
    )
    if width == 360:
        assert scrolls
        assert narrowest >= 160
        assert lines < 4
    assert at.page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_slow_paragraph_leaves_time_to_the_page(at: Open, server: StandIn) -> None:
    """Whatever one drawing costs, drawings take about a quarter of the time."""
    server.answers = [["Ok.", *end()]]
    at.go()
    at.ask("Hi")
    share = at.page.evaluate(
        """async () => {
            const { threadView } = await import("/page/thread.js");
            const nothing = () => 0;
            const view = threadView({ running: nothing, unanswered: nothing, contextLength: nothing });
            let busy = 0;
            const slow = {
                role: "assistant", id: 1, parent: 0, next: 0, content: "", tool_calls: [], measures: {},
                live: { phase: "answering", pieces: 1 },
                get reasoning() {
                    const from = performance.now();
                    while (performance.now() < from + 20);
                    busy += performance.now() - from;
                    return "";
                },
            };
            view.show({ id: "x", next: 1, messages: [slow] });
            busy = 0;
            const from = performance.now();
            while (performance.now() < from + 2000) {
                view.update();
                await new Promise((resolve) => setTimeout(resolve, 5));
            }
            return busy / (performance.now() - from);
        }"""
    )
    assert 0 < share < 0.4
