"""Pictures and videos on the page: how they join a message, what they cost, and where they are kept."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="needs the server's packages: pip install 'shoestring[server]'")

from browser import OVER, Open, wait_until
from page_stand_in import SEES, StandIn, end
from PIL import Image
from test_page_input import File, give


def png(colour: str = "red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(file, "PNG")
    return file.getvalue()


RED: File = ("red.png", "image/png", png())
CLIP: File = ("clip.mp4", "video/mp4", b"\0\0\0\x18ftypmp42 no real video")


def part(kind: str, file: File) -> dict[str, Any]:
    url = f"data:{file[1]};base64,{base64.b64encode(file[2]).decode()}"
    return {"type": f"{kind}_url", f"{kind}_url": {"url": url}}


@pytest.fixture
def seeing(at: Open, server: StandIn) -> Open:
    server.models, server.answers = [SEES], [["It is red.", *end()]]
    at.go()
    return at


def is_drawn(at: Open, selector: str) -> bool:
    return bool(at.page.evaluate("(s) => (document.querySelector(s)?.naturalWidth ?? 0) > 0", selector))


@pytest.mark.parametrize("how", ["drop", "paste", "choose"])
def test_a_picture_joins_the_message_with_its_cost(seeing: Open, server: StandIn, how: str) -> None:
    give(seeing, how, RED)
    seeing.page.locator(".chip small", has_text="1,026 tokens").wait_for()
    wait_until(lambda: is_drawn(seeing, ".chip img"))
    seeing.ask("What colour?")
    assert server.asked[0]["messages"] == [
        {"role": "user", "content": [part("image", RED), {"type": "text", "text": "What colour?"}]}
    ]
    wait_until(lambda: is_drawn(seeing, "article.user .media img"))
    assert not seeing.page.locator("#chips").is_visible()


def test_pictures_survive_a_reload_before_and_after_they_are_sent(seeing: Open, server: StandIn) -> None:
    page = seeing.page
    give(seeing, "drop", RED)
    page.locator(".chip").wait_for()
    page.reload()
    page.wait_for_selector(".chip small")
    wait_until(lambda: is_drawn(seeing, ".chip img"))
    seeing.button("Send").click()
    page.wait_for_selector(OVER)
    assert server.asked[0]["messages"][0]["content"] == [part("image", RED)]
    assert seeing.text("#title") == "red.png"
    page.reload()
    page.wait_for_selector(OVER)
    wait_until(lambda: is_drawn(seeing, "article.user .media img"))
    seeing.ask("And now?")
    assert server.asked[1]["messages"][0]["content"] == [part("image", RED)]
    assert server.asked[1]["messages"][2]["content"] == "And now?"


def test_an_edited_message_keeps_its_picture(seeing: Open, server: StandIn) -> None:
    give(seeing, "drop", RED)
    seeing.page.locator(".chip").wait_for()
    seeing.ask("What?")
    seeing.page.keyboard.press("ArrowUp")
    seeing.page.fill("form.editing textarea", "Which?")
    seeing.page.keyboard.press("Enter")
    wait_until(lambda: len(server.asked) == 2)
    assert server.asked[1]["messages"][0]["content"] == [part("image", RED), {"type": "text", "text": "Which?"}]
    seeing.page.wait_for_selector(OVER)


def test_a_video_joins_and_one_that_the_browser_cannot_show_says_so(seeing: Open, server: StandIn) -> None:
    server.cost = {"kind": "video", "tokens": 12_000, "width": 64, "height": 64, "seconds": 60.0}
    give(seeing, "choose", CLIP, ("notes.txt", "text/plain", b"Notes."))
    seeing.page.locator(".chip small", has_text="12,000 tokens").wait_for()
    seeing.ask("What happens?")
    words = "What happens?\n\nnotes.txt:\n```txt\nNotes.\n```"
    assert server.asked[0]["messages"][0]["content"] == [part("video", CLIP), {"type": "text", "text": words}]
    seeing.page.locator("article.user figcaption", has_text="clip.mp4, which this browser cannot show").wait_for()


def test_what_the_server_cannot_read_does_not_join(seeing: Open, server: StandIn) -> None:
    seeing.expected = ("Failed to load resource",)
    server.cost = "image_url is an HEIC picture: convert it to one of them first"
    give(seeing, "drop", ("a.heic", "image/heic", b"x"))
    seeing.page.locator("#toast", has_text="“a.heic” is an HEIC picture: convert it").wait_for()
    assert not seeing.page.locator("#chips").is_visible()


def test_a_model_of_text_gets_no_picture(at: Open, server: StandIn) -> None:
    server.answers = [["Ok.", *end()]]
    at.go()
    give(at, "drop", CLIP)
    at.page.locator("#toast", has_text="“clip.mp4” is a video, and this model reads text alone.").wait_for()
    server.models = [{**SEES, "input_modalities": ["text", "image"]}]
    at.go()
    give(at, "drop", CLIP)
    at.page.locator("#toast", has_text="this model reads text and image alone").wait_for()


def test_pictures_go_out_and_come_in_with_the_chats(seeing: Open, server: StandIn, tmp_path: Path) -> None:
    page = seeing.page
    give(seeing, "drop", RED)
    page.locator(".chip").wait_for()
    seeing.ask("What?")
    with page.expect_download() as download:
        page.click("#export")
    file = tmp_path / "chats.json"
    download.value.save_as(file)
    (media,) = json.loads(file.read_text())["conversations"][0]["messages"][0]["media"]
    assert media["data"] == part("image", RED)["image_url"]["url"]
    page.evaluate("indexedDB.deleteDatabase('shoestring-media')")
    page.reload()
    page.locator("figcaption", has_text="red.png is no longer stored in this browser").wait_for()
    page.set_input_files("#file", file)
    page.locator("#toast", has_text="Took in 1").wait_for()
    page.reload()
    wait_until(lambda: is_drawn(seeing, "article.user .media img"))


def test_old_files_that_no_message_names_are_deleted(seeing: Open, server: StandIn) -> None:
    page = seeing.page
    give(seeing, "drop", RED, ("blue.png", "image/png", png("blue")))
    page.locator(".chip").nth(1).wait_for()
    seeing.button("Remove blue.png").click()
    change = """(age) => new Promise((done) => {
        const opening = indexedDB.open("shoestring-media");
        opening.onsuccess = () => {
            const store = opening.result.transaction("files", "readwrite").objectStore("files");
            store.getAll().onsuccess = ({ target }) => {
                for (const one of target.result) store.put({ ...one, added: one.added - age });
                done(target.result.length);
                opening.result.close();
            };
        };
    })"""
    assert page.evaluate(change, 0) == 2
    page.reload()
    page.wait_for_selector(".chip small")
    assert page.evaluate(change, 2 * 86_400_000) == 2
    page.reload()
    page.wait_for_selector(".chip small")
    wait_until(lambda: page.evaluate(change, 0) == 1)
