"""Attacks with pictures and videos: damaged and lying files, foreign kinds, and URLs that lead inside, in all APIs."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from typing import Any

from hostile.attack import Attack, post
from hostile.endpoints import DOT, MODEL

URLS = (
    *("http://127.0.0.1:1/", "http://169.254.169.254/latest/meta-data/", "http://[::1]/", "http://[::ffff:10.0.0.1]/"),
    *("http://localhost/", "http://2130706433/", "http://0x7f.1/", "https://user:pass@example.com/", "file:///etc/passwd"),
    *("ftp://example.com/a", "gopher://127.0.0.1:25/_", "http://a" + ".a" * 3000, "data:", "data:,", "data:;base64"),
    *("data:image/png;base64,@@@@", "data:image/png;base64," + "A" * 100_001, "\x00", "javascript:alert(1)", "é" * 500),
)  # fmt: skip
#: Files, by what they are; hostile_media.py has more, which need Pillow.
FILES = {
    "nothing": b"",
    "PDF": b"%PDF-1.7\n",
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>",
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0heicmif1",
    "a PNG that ends": base64.b64decode(DOT.partition(",")[2])[:40],
    "a PNG of 65,535 × 65,535": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\xff\xff\0\0\xff\xff\x08\x02\0\0\0" + bytes(40),
    "a GIF of many frames": b"GIF89a\1\0\1\0\0\0\0" + b"\x2c\0\0\0\0\1\0\1\0\0\x02\x02\x44\x01\0" * 20_000 + b";",
    "a JPEG of fill": b"\xff\xd8" + b"\xff" * 200_000,
    "an MP4's head": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
    "zeros": bytes(100_000),
}


def hostile_media(source: random.Random) -> Iterator[Attack]:
    """Without end."""
    while True:
        if source.random() < 0.4:
            name = url = source.choice(URLS)
        else:
            name = source.choice(list(FILES))
            url = f"data:image/png;base64,{base64.b64encode(FILES[name]).decode()}"
        path, body = source.choice(_bodies(url, source.choice(("user", "tool", "system", "assistant"))))
        yield post(f"{name[:60]} at {path}", path, json.dumps(body).encode())


def _bodies(url: str, role: str) -> list[tuple[str, dict[str, Any]]]:
    """A request of each kind that shows the picture."""
    kind = "video_url" if len(url) % 3 == 0 else "image_url"
    part = {"type": kind, kind: {"url": url, "detail": "low"}}
    tool = {"tool_call_id": "c"} if role == "tool" else {}
    encoded = url.partition(",")[2]
    block = {"type": "image", "source": {"type": "url", "url": url}}
    if encoded:
        block = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": encoded}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [block]}
    asked = {"model": MODEL, "messages": [{"role": "user", "content": [result if role == "tool" else block]}]}
    message = {"role": role, "content": "x", "images": [encoded, url]}
    return [
        ("/v1/chat/completions", {"messages": [{"role": role, "content": [part] * 20, **tool}], "max_tokens": 1}),
        ("/v1/messages", {**asked, "max_tokens": 1}),
        ("/v1/messages/count_tokens", asked),
        ("/api/chat", {"model": MODEL, "messages": [message], "options": {"num_predict": 1}}),
        ("/api/generate", {"model": MODEL, "prompt": "x", "images": [encoded], "options": {"num_predict": 1}}),
        ("/media/tokens", {kind: {"url": url}}),
        ("/tokenize", {"messages": [{"role": role, "content": [part]}]}),
        ("/apply-template", {"messages": [{"role": role, "content": [part]}]}),
    ]
