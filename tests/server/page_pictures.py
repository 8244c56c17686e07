"""Draw the pictures of docs/page.md and docs/vision.md: PYTHONPATH=src python tests/server/page_pictures.py"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

from browser import OVER, Open, browser, opened
from page_stand_in import SEES, WAIT, Piece, StandIn, delta, end, thought
from PIL import Image, ImageDraw
from running import running

sys.path.append(str(Path(__file__).parent / "page"))
from test_page_input import give

FOLDER = Path(__file__).parents[2] / "docs" / "images"
QUESTION = "What is a recurrent state, and why can it not be rewound?"
ANSWER = r"""A **recurrent state** is a fixed-size summary that a layer carries on. Unlike a KV cache it does not grow:

1. Each token *decays* what is there.
2. It then writes one correction, the `delta`:
   - the key says **where**,
   - the value says *what*.
3. The query reads from it: \(o_t = S_t^\top q_t\).

\[S_t = \alpha_t S_{t-1} + \beta_t k_t (v_t - S_{t-1}^\top k_t)^\top\]

```python
def step(state, key, value, decay, beta):
    '''One token of the gated delta rule.'''
    state *= decay                     # forget a little
    error = value - key @ state
    return state + beta * np.outer(key, error)
```

| | grows with the text | can be rewound | bytes a token, 35B-A3B |
|-|:-:|:-:|-:|
| KV cache | yes | yes | 20,480 |
| recurrent state | no | no | 0 |

> So a server keeps *snapshots*, and resumes from the nearest one.
"""
FIRST = "It is what a layer remembers."


def _answer(cut: int | None = None) -> list[Piece]:
    pieces: list[Piece] = [
        thought("The user asks about the delta rule."),
        *(delta(content=part) for part in _parts(cut)),
    ]
    return [*pieces, WAIT, *end(prompt=1460, cached=1350, tokens=318)]


def _parts(cut: int | None) -> list[str]:
    text = ANSWER[:cut]
    return [text[at : at + 5] for at in range(0, len(text), 5)]


def _save(at: Open, name: str) -> None:
    at.page.wait_for_timeout(400)
    at.page.screenshot(path=FOLDER / name)
    print(FOLDER / name)


def _ask_twice(at: Open) -> None:
    """The question, and two versions of its answer."""
    at.go()
    at.ask(QUESTION)
    at.button("Answer again").click()
    at.page.locator(f"{OVER} > .text", has_text="snapshots").wait_for()


def _draw(chromium: Any, address: str, server: StandIn) -> None:
    finished: list[Piece] = [piece for piece in _answer() if piece != WAIT]
    for name, width, height in (("page-light.png", 1120, 800), ("page-phone.png", 360, 720)):
        server.reset()
        server.answers = [[FIRST, *end()], finished]
        with opened(chromium, address) as at:
            at.page.set_viewport_size({"width": width, "height": height})
            _ask_twice(at)
            if width > 760:
                at.page.evaluate("document.getElementById('scroll').scrollTop = 0")
            _save(at, name)
    server.reset()
    server.answers = [_answer(ANSWER.index("| KV cache"))]
    with opened(chromium, address) as at:
        at.page.set_viewport_size({"width": 1120, "height": 800})
        at.page.emulate_media(color_scheme="dark")
        at.go()
        at.say(QUESTION)
        at.page.locator("article.live th", has_text="can be rewound").wait_for()
        _save(at, "page-dark.png")
        server.go()
        at.page.wait_for_selector(OVER)


def _drawn(width: int, height: int, back: str) -> bytes:
    """A row of circles."""
    image, file = Image.new("RGB", (width, height), back), io.BytesIO()
    draw, size = ImageDraw.Draw(image), height // 8
    for number in range(width // size):
        left, top = number * size, height // 2 - size // 2
        draw.ellipse((left, top, left + size, top + size), (220, 30 * (number % 7), 120))
    image.save(file, "PNG")
    return file.getvalue()


def _draw_media(chromium: Any, address: str, server: StandIn) -> None:
    """Two pictures of a question, and a third one beside the next message."""
    server.reset()
    server.models = [SEES]
    server.answers = [["The first picture shows a row of circles on blue; the second is tall and green.", *end()]]
    with opened(chromium, address) as at:
        at.page.set_viewport_size({"width": 1120, "height": 720})
        at.go()
        give(at, "drop", ("a.png", "image/png", _drawn(600, 400, "navy")))
        give(at, "drop", ("b.png", "image/png", _drawn(120, 400, "darkgreen")))
        at.page.locator(".chip small").nth(1).wait_for()
        at.ask("What do these show?")
        give(at, "drop", ("third.png", "image/png", _drawn(640, 480, "maroon")))
        at.page.locator(".chip small").wait_for()
        _save(at, "page-media.png")


if __name__ == "__main__":
    stand_in = StandIn(pause=0.015)
    with browser() as chromium, running(stand_in.app()) as address:
        _draw(chromium, address, stand_in)
        _draw_media(chromium, address, stand_in)
