"""Pictures of requests in all three APIs: what a model gets, what a user is told; that nothing leaves when off."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import io
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from web_stand_in import PNG, PUBLIC, StandIn, answer, dribble

from shoestring.media.settings import LlamaSettings, QwenSettings
from shoestring.media.source import Source
from shoestring.runtime.pictures.reader import PictureReader
from shoestring.server.anthropic.requests import chat_request as of_anthropic
from shoestring.server.anthropic.types import MessagesBody
from shoestring.server.errors import ApiError
from shoestring.server.limits import Limits
from shoestring.server.media.reading import MediaReading, media_bytes
from shoestring.server.ollama.requests import chat_request as of_ollama
from shoestring.server.ollama.requests import generate_request
from shoestring.server.ollama.types import ChatBody as OllamaBody
from shoestring.server.ollama.types import GenerateBody
from shoestring.server.openai.chat_requests import chat_request as of_openai
from shoestring.server.openai.chat_types import ChatBody
from shoestring.server.request import ChatRequest

SEES = PictureReader("qwen3_5", QwenSettings(), lambda text, special: [*text.encode()])
LLAMA = PictureReader("llama4", LlamaSettings(), lambda text, special: [*text.encode()])
BLIND = PictureReader(
    "qwen3_5", None, lambda text, special: [], "the model sees nothing: put mmproj-F16.gguf beside it"
)
LIMITS = Limits(body_bytes=1 << 20, fetch_seconds=0.5, remote_media=3)
B64 = base64.b64encode(PNG).decode()
DATA = f"data:image/png;base64,{B64}"
HI = {"role": "user", "content": "hi"}
USE = {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "look", "input": {}}]}
LEFT_OUT = "[an image was left out: only text can be read here]"


@pytest.fixture
def web() -> Iterator[StandIn]:
    stand_in = StandIn(names={"example.com": [[PUBLIC]], "inside.example": [["10.0.0.5"]]})
    stand_in.scripts["/a.png"] = answer(PNG)
    yield stand_in
    stand_in.close()


def read(request: Any, vision: PictureReader = SEES, web: StandIn | None = None) -> ChatRequest:
    assert isinstance(request, ChatRequest)

    async def reading() -> ChatRequest:
        media = MediaReading(vision, LIMITS, None if web is None else web.web)
        try:
            with media.claim(request):
                return await media.read(request)
        finally:
            for workers in media.workers:
                workers.close()

    return asyncio.run(reading())


def openai(*content: Any, role: str = "user", **fields: Any) -> ChatRequest:
    message = {"role": role, "content": list(content), **fields}
    return of_openai(ChatBody.model_validate({"messages": [HI, message]}), "")


def anthropic(*content: Any) -> ChatRequest:
    body = {"model": "m", "max_tokens": 1, "messages": [HI, USE, {"role": "user", "content": list(content)}]}
    return of_anthropic(MessagesBody.model_validate(body))


def ollama(**message: Any) -> ChatRequest:
    return of_ollama(OllamaBody.model_validate({"model": "m", "messages": [HI, message]}))


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def url(address: str = DATA, **fields: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": address, **fields}}


def block(**source: Any) -> dict[str, Any]:
    return {"type": "image", "source": source or {"type": "base64", "media_type": "image/png", "data": B64}}


def shown(request: ChatRequest) -> Any:
    """The last message's content, sources as their data."""
    content = request.messages[-1]["content"]
    if isinstance(content, str):
        return content
    return [part["text"] if part["type"] == "text" else part[part["type"]].data for part in content]


def test_pictures_and_texts_keep_their_order_in_every_api() -> None:
    assert shown(read(openai(text("a"), text("b"), url(), text("c"), url()))) == ["ab", PNG, "c", PNG]
    assert shown(read(anthropic(text("a"), text("b"), block(), text("c")))) == ["a\nb", PNG, "c"]
    assert shown(read(ollama(role="user", content="c", images=[B64, B64]))) == [PNG, PNG, "c"]
    assert shown(read(ollama(role="user", content="", images=[B64]))) == [PNG]
    body = GenerateBody.model_validate({"model": "m", "prompt": "what?", "images": [B64]})
    assert shown(read(generate_request(body))) == [PNG, "what?"]


def test_a_source_knows_its_kind_detail_and_place() -> None:
    video = {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}}
    request = read(openai(url(detail="low"), video, {"type": "input_image", "image_url": DATA, "detail": "high"}))
    found = [part[part["type"]] for part in request.messages[-1]["content"]]
    assert [(s.kind, s.detail) for s in found] == [("image", "low"), ("video", None), ("image", "high")]
    places = ("0.image_url", "1.video_url", "2.input_image")
    assert [s.name for s in found] == [f"messages.1.content.{place}" for place in places]
    assert media_bytes(request) == 2 * len(PNG) + 3
    plain = read(openai({"type": "image_url", "image_url": DATA}))
    assert shown(plain) == [PNG]


def test_pictures_in_tool_results_reach_the_model() -> None:
    assert shown(read(openai(text("saved"), url(), role="tool", tool_call_id="c"))) == ["saved", PNG]
    result = {"type": "tool_result", "tool_use_id": "t", "content": [text("saved"), block()]}
    assert shown(read(anthropic(result))) == ["saved", PNG]
    failed = read(anthropic({**result, "is_error": True}))
    assert shown(failed) == ["Error: saved", PNG]
    assert failed.messages[-1]["name"] == "look"
    assert shown(read(ollama(role="tool", content="saved", images=[B64]))) == ["saved", PNG]


def test_a_model_that_cannot_see_gets_a_line_of_a_tools_picture() -> None:
    nothing = {"type": "image_url", "image_url": {"url": "data:,"}}
    assert shown(read(openai(text("saved"), nothing, role="tool", tool_call_id="c"), BLIND)) == f"saved\n{LEFT_OUT}"
    result = {"type": "tool_result", "tool_use_id": "t", "content": [text("saved"), block(a=1)]}
    assert shown(read(anthropic(result), BLIND)) == f"saved\n{LEFT_OUT}"
    tool = ollama(role="tool", content="saved", images=["x", "y"])
    assert shown(read(tool, BLIND)) == f"saved\n{LEFT_OUT}\n{LEFT_OUT}"
    assert shown(read(ollama(role="tool", content="", images=["x"]), BLIND)) == LEFT_OUT


@pytest.mark.parametrize(
    ("request_", "where"),
    [
        (openai(text("a"), url()), "messages.1.content.1.image_url"),
        (anthropic(block()), "messages.2.content.0.source"),
        (ollama(role="user", content="a", images=[B64]), "messages.1.images.0"),
    ],
)
def test_a_users_own_picture_is_refused_by_a_model_that_cannot_see_and_the_error_names_the_file(
    request_: ChatRequest, where: str
) -> None:
    with pytest.raises(ApiError, match=r"an image: the model sees nothing: put mmproj-F16\.gguf beside it") as caught:
        read(request_, BLIND)
    assert (caught.value.status, caught.value.param) == (400, where)


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0heicmif1"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (HEIC, "HEIC"), (b"%PDF-1.7", "PDF"), (b"<svg xmlns='x'>", "SVG"), (b"PK\3\4", "ZIP"), (b"", "empty"),
        (b"\x89PNG\r\n\x1a\n\0\0", "damaged"), (PNG + b"PK\5\6" + bytes(18), "at once"),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_named(data: bytes, what: str) -> None:
    part = url(f"data:image/png;base64,{base64.b64encode(data).decode()}")
    line = shown(read(openai(text("saved"), part, role="tool", tool_call_id="c")))
    assert line.startswith("saved\n[an image was left out: it ")
    assert what in line
    with pytest.raises(ApiError, match=what) as caught:
        read(openai(part))
    assert (caught.value.status, caught.value.param) == (400, "messages.1.content.0.image_url")


def test_a_video_for_llama_is_a_line_in_a_tools_result() -> None:
    part = {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}}
    assert "Llama 4 reads none" in shown(read(openai(part, role="tool", tool_call_id="c"), LLAMA))


@pytest.mark.parametrize(
    ("part", "what"),
    [
        (url("data:image/png;base64,@@@"), "not valid base64"), (url("data:image/png,abc"), "no URL that is read"),
        (url("data:"), "no URL that is read"), (url(""), "no URL that is read"), (url("x"), "no URL that is read"),
        (url("file:///etc/passwd"), "no URL that is read"), (url("/etc/passwd"), "no URL that is read"),
        (url(DATA, detail="huge"), "detail 'huge'"), ({"type": "image_url"}, "needs a url"),
        ({"type": "image_url", "image_url": {"url": 5}}, "needs a url"), ({"type": "image_url", "image_url": []}, "a"),
        (url("data:image/png;base64," + "é" * 9), "not valid base64"), (url("https://example.com/"), "fetches nothing"),
    ],
)  # fmt: skip
def test_a_part_in_another_form_is_refused_with_its_place(part: dict[str, Any], what: str) -> None:
    with pytest.raises(ApiError, match=what) as caught:
        read(openai(part))
    assert caught.value.param == "messages.1.content.0.image_url"
    assert str(caught.value).startswith("messages.1.content.0.image_url ")
    line = shown(read(openai(part, role="tool", tool_call_id="c")))
    assert line.startswith("[an image was left out: it ")


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ({"type": "file", "file_id": "x"}, "Files API"),
        ({"type": "base64"}, "base64 or url"),
        ({"a": 1}, "base64 or url"),
    ],
)
def test_anthropics_other_sources_are_refused(source: dict[str, Any], what: str) -> None:
    with pytest.raises(ApiError, match=what):
        read(anthropic(block(**source)))


@pytest.mark.parametrize("role", ["system", "assistant", "developer"])
def test_only_users_and_tools_show_pictures(role: str) -> None:
    with pytest.raises(ApiError, match="image_url"):
        openai(url(), role=role)
    with pytest.raises(ApiError, match="images"):
        ollama(role=role, content="", images=[B64])


@pytest.mark.parametrize(
    ("part", "what"),
    [
        ({"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERg=="}}, "a PDF document"),
        ({"type": "file", "file": {"file_data": "data:image/heic;base64,AAAA"}}, "a file of type 'image/heic'"),
        ({"type": "input_audio", "input_audio": {}}, "of type 'input_audio'"),
    ],
)
def test_documents_and_sounds_are_refused_by_name(part: dict[str, Any], what: str) -> None:
    with pytest.raises(ApiError, match=what):
        openai(part)


def test_a_pdf_of_anthropics_is_refused_by_name() -> None:
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="}}
    with pytest.raises(ApiError, match="a PDF document"):
        anthropic(pdf)


def test_base64_in_lines_is_read() -> None:
    lines = base64.encodebytes(PNG).decode()
    assert shown(read(openai(url(f"data:image/png;base64,{lines}")))) == [PNG]


# --- the Web


def test_no_name_is_looked_up_when_remote_media_is_off(web: StandIn) -> None:
    with pytest.raises(ApiError, match="--allow-remote-media"):
        read(openai(url("http://example.com/a.png")))
    tool = read(openai(text("x"), url("http://example.com/a.png"), role="tool", tool_call_id="c"))
    assert "fetches nothing" in shown(tool)
    assert not web.looked_up


def test_nothing_is_fetched_for_a_model_that_cannot_see(web: StandIn) -> None:
    with pytest.raises(ApiError):
        read(openai(url("http://example.com/a.png")), BLIND, web)
    assert not web.looked_up


def test_pictures_are_fetched_where_that_is_allowed_each_once(web: StandIn) -> None:
    remote = "http://example.com/a.png"
    assert shown(read(openai(url(remote), text("and"), url()), SEES, web)) == [PNG, "and", PNG]
    assert shown(read(anthropic(block(type="url", url=remote)), SEES, web)) == [PNG]
    assert len(web.dialled) == 2


@pytest.mark.parametrize("address", ["http://inside.example/", "http://127.0.0.1/", "http://example.com:22/"])
def test_what_the_fetch_refuses_is_a_400_with_its_place(web: StandIn, address: str) -> None:
    with pytest.raises(ApiError, match="cannot be fetched") as caught:
        read(openai(url(address)), SEES, web)
    assert (caught.value.status, caught.value.param) == (400, "messages.1.content.0.image_url")
    assert not web.dialled


def test_limits_of_all_pictures_of_a_request(web: StandIn) -> None:
    with pytest.raises(ApiError, match="more than 3 pictures lie on the Web"):
        read(openai(*(url(f"http://example.com/{i}") for i in range(4))), SEES, web)
    web.scripts |= {f"/{i}": answer(PNG + bytes(400 << 10)) for i in range(3)}
    with pytest.raises(ApiError, match="too large together"):
        read(openai(*(url(f"http://example.com/{i}") for i in range(3))), SEES, web)
    web.scripts["/slow"] = dribble(b"x", 0.05)
    with pytest.raises(ApiError, match=r"within 0\.5 seconds"):
        read(openai(url("http://example.com/slow")), SEES, web)


def test_fetches_of_many_requests_are_bounded(web: StandIn) -> None:
    media = MediaReading(SEES, dataclasses.replace(LIMITS, bodies_bytes=2 << 20), web.web)
    remote = openai(url("http://example.com/a.png"))
    with media.claim(remote), media.claim(remote):
        with media.claim(openai(url())):
            pass
        with pytest.raises(ApiError) as caught, media.claim(remote):
            pass
    assert caught.value.status == 503
    with media.claim(remote):
        pass


def test_a_cancelled_request_ends_its_fetch(web: StandIn) -> None:
    web.scripts["/slow"] = dribble(b"x", 0.01)

    async def cancelled() -> float:
        media = MediaReading(SEES, dataclasses.replace(LIMITS, fetch_seconds=30), web.web)
        task = asyncio.ensure_future(media.read(openai(url("http://example.com/slow"))))
        await asyncio.sleep(0.2)
        task.cancel()
        began = asyncio.get_running_loop().time()
        await asyncio.wait({task})
        while any(workers.busy for workers in media.workers):
            await asyncio.sleep(0.01)
        return asyncio.get_running_loop().time() - began

    assert asyncio.run(cancelled()) < 2


def test_the_same_picture_by_any_way_is_the_same_source(web: StandIn) -> None:
    requests = [
        openai(url()), openai(url("http://example.com/a.png")), anthropic(block()), ollama(role="user", images=[B64]),
    ]  # fmt: skip
    digests = set()
    for request in requests:
        content = read(request, SEES, web).messages[-1]["content"]
        source = content[0]["image"]
        assert isinstance(source, Source)
        digests.add((source.digest, SEES.token_count(source)))
    assert len(digests) == 1


def test_tokens_come_from_the_header_alone() -> None:
    file = io.BytesIO()
    Image.new("RGB", (640, 480)).save(file, "PNG")
    whole = Source("image", file.getvalue())
    cut = Source("image", file.getvalue()[:100] + file.getvalue()[100:130])
    assert SEES.token_count(whole) == SEES.token_count(cut) == 640 * 480 // 1024 + 2
