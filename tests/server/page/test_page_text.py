"""The page's markdown in a browser: what becomes of a model's text, in whatever pieces it comes, however hostile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="needs the server's packages: pip install 'shoestring[server]'")

from browser import Watched, browser
from page_stand_in import StandIn
from running import running


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    with browser() as chromium, running(StandIn().app()) as address:
        watched = Watched(chromium.new_context(), address + "/")
        watched.page.goto(watched.address)
        watched.page.wait_for_selector(".starter")
        yield watched.page
        watched.check()


def drawn(page: Any, text: str) -> str:
    return str(
        page.evaluate(
            """async (text) => {
                const { markdownInto } = await import("/page/markdown.js");
                const into = document.createElement("div"), view = markdownInto(into);
                view.push(text);
                view.end();
                return into.innerHTML;
            }""",
            text,
        )
    )


def a(href: str, text: str) -> str:
    return f'<a href="{href}" target="_blank" rel="noopener noreferrer">{text}</a>'


WRITTEN = [
    ("a *b* **c** ***d***", "<p>a <em>b</em> <strong>c</strong> <em><strong>d</strong></em></p>"),
    ("~~e~~ _f_ g_h_i", "<p><del>e</del> <em>f</em> g_h_i</p>"),
    ("2 * 3 * 4 ** 5", "<p>2 * 3 * 4 ** 5</p>"),
    ("**重要。**然后", "<p><strong>重要。</strong>然后</p>"),
    ("`a*b*` ``c`d`` `open", "<p><code>a*b*</code> <code>c`d</code> `open</p>"),
    ("\\*no\\* &lt;b&gt; &#65;", "<p>*no* &lt;b&gt; A</p>"),
    ("one\ntwo<br>three", "<p>one<br>two<br>three</p>"),
    ("[x](https://e.org/a_(b) \"t\") [y](/z)", f"<p>{a('https://e.org/a_(b)', 'x')} [y](/z)</p>"),
    ("See https://e.org/a_b, ok", f"<p>See {a('https://e.org/a_b', 'https://e.org/a_b')}, ok</p>"),
    ("<https://e.org>.", f"<p>{a('https://e.org/', 'https://e.org')}.</p>"),
    ("![cat](https://e.org/c.png)", f"<p>{a('https://e.org/c.png', 'Image: cat')}</p>"),
    ("# A #\n### B\ntext", '<h3 class="level-1">A</h3><h5 class="level-3">B</h5><p>text</p>'),
    ("- a\n  - b", '<ul class="tight"><li><p>a</p><ul class="tight"><li><p>b</p></li></ul></li></ul>'),
    ("3. a\n\n4. b", '<ol class="loose" start="3"><li><p>a</p></li><li><p>b</p></li></ol>'),
    ("> a\nb\n\nc", "<blockquote><p>a<br>b</p></blockquote><p>c</p>"),
    ("a\n\n---\nb", "<p>a</p><hr><p>b</p>"),
    ("\\(a_1 * b_2 * c\\) costs $5 or $6", '<p><span class="math">\\(a_1 * b_2 * c\\)</span> costs $5 or $6</p>'),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), WRITTEN, ids=[text[:12] for text, _ in WRITTEN])
def test_what_is_written_is_what_is_meant(page: Any, text: str, expected: str) -> None:
    assert drawn(page, text) == expected


def test_tables_listings_and_tasks(page: Any) -> None:
    html = drawn(
        page, "|a|b\\|c|`d|e`|\n|:-|:-:|-:|\n|1|2|3|4|\n|5|\n\n- [x] done\n\n```py\nif a: # b\n\n  c\n```\nend"
    )
    assert '<th class="left">a</th><th class="centre">b|c</th><th class="right"><code>d|e</code></th>' in html
    assert '<td class="left">1</td><td class="centre">2</td><td class="right">3</td></tr>' in html
    assert '<td class="left">5</td><td class="centre"></td>' in html
    assert 'aria-label="done"' in html
    assert '<span class="code-word">if</span> a: <span class="code-comment"># b</span>\n\n  c</code>' in html
    assert html.endswith("<p>end</p>")


HOSTILE = [
    "<script>window.hit=1</script>",
    "<img src=x onerror='window.hit=1'>",
    "<svg onload=window.hit=1><iframe srcdoc='<script>parent.hit=1</script>'>",
    "[a](javascript:window.hit=1) [b](JaVaScRiPt:hit=1) [c](java\tscript:hit=1) [d](&#106;avascript:hit=1)",
    "[e](data:text/html,<script>hit=1</script>) [f](vbscript:x) [g](file:///etc/passwd) [h](blob:x) <javascript:hit=1>",
    "![i](https://e.org/x.png) ![j](javascript:hit=1)",
    "```html\n<script>window.hit=1</script><img src=x onerror=hit=1>\n```",
    "```\"><img src=x onerror=hit=1>\ncode\n```",
    "`<script>hit=1</script>` **<b onclick=hit=1>x</b>**",
    "# <style>*{display:none}</style>\n|<script>|\n|-|\n|<object data=x>|",
    "[x](https://e.org/\"onmouseover=\"hit=1) https://e.org/'onclick='hit=1'",
    "<https://e.org/\"><script>hit=1</script>> <a href=//e.org>x</a> <base href=//e.org> <meta http-equiv=x>",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_markup_from_a_model_stays_text(page: Any, text: str) -> None:
    found = page.evaluate(
        """async (text) => {
            const { markdownInto } = await import("/page/markdown.js");
            const into = document.createElement("div"), view = markdownInto(into);
            document.body.append(into);
            for (const char of text) view.push(char);
            view.end();
            await new Promise((done) => setTimeout(done, 20));
            const all = [...into.querySelectorAll("*")];
            const found = {
                tags: all.map((e) => e.localName),
                attributes: all.flatMap((e) => (e.closest("button, svg") ? [] : e.getAttributeNames())),
                links: all.filter((e) => e.href).map((e) => [new URL(e.href).protocol, e.rel]),
                hit: window.hit ?? null,
            };
            into.remove();
            return found;
        }""",
        text,
    )
    ours = "p br a em strong del code pre span figure figcaption button svg path h3 table thead tbody tr th td div"
    assert set(found["tags"]) <= {*ours.split()}
    assert set(found["attributes"]) <= {"class", "href", "target", "rel", "tabindex", "role", "aria-label"}
    assert all(link in (["https:", "noopener noreferrer"],) for link in found["links"])
    assert found["hit"] is None


TOGETHER = "\n".join(text for text, _ in WRITTEN) + (
    "\n\n1. a\n\n   ```js\n   let x = `a\n   b`; /* c\n   d */ f(1)\n   ```\n2. b\n   - c\n\n     d\n\n"
    "|a|b|\n|-|-|\n|*c*|d|\n\n"
    "````md\n```\ninner\n```\n````\n> q\n> - r\n\n~~~\nopen\n"
)


def test_any_pieces_give_the_whole(page: Any) -> None:
    texts = [*(text for text, _ in WRITTEN), *HOSTILE, TOGETHER, TOGETHER.replace("\n", "\r\n")]
    unlike = page.evaluate(
        """async (texts) => {
            const { markdownInto } = await import("/page/markdown.js");
            const unlike = [];
            function draw(pieces) {
                const into = document.createElement("div"), view = markdownInto(into);
                for (const piece of pieces) view.push(piece);
                view.end();
                return into.innerHTML;
            }
            for (const text of texts) {
                const whole = draw([text]);
                for (let cut = 1; cut < text.length; cut += 1)
                    if (draw([text.slice(0, cut), text.slice(cut)]) !== whole) unlike.push([text, cut]);
                for (const size of [1, 2, 3, 7]) {
                    const pieces = text.match(new RegExp(`[^]{1,${size}}`, "g"));
                    if (draw(pieces) !== whole) unlike.push([text, "pieces", size]);
                }
            }
            return unlike;
        }""",
        texts,
    )
    assert unlike == []


LONG = 40_000
SLOW = [
    "*a " * LONG, "**a_b " * LONG, "[" * LONG, "[a](" * LONG, "![" * LONG + "[a](https://e.org)" * 2000, "`" * LONG,
    "".join("`" * n + " " for n in range(1, 300)), "> " * LONG, "- " * LONG, "|" * LONG + "\n" + "|-" * LONG,
    "$a" * LONG, "\\(" * LONG, "<" * LONG, "https://e.org/" + ")" * LONG, "*" * LONG + "a" + "*" * LONG,
    "# " + " #" * LONG + "a", "- " + "- " * LONG, "a\n" * LONG, "\n" * LONG, " " * LONG + "a",
]  # fmt: skip


@pytest.mark.parametrize("text", SLOW, ids=range(len(SLOW)))
def test_no_text_stops_the_page(page: Any, text: str) -> None:
    # Reading in squares of the length would take minutes here.
    page.set_default_timeout(20_000)
    took = page.evaluate(
        """async (text) => {
            const { markdownInto } = await import("/page/markdown.js");
            const view = markdownInto(document.createElement("div")), from = performance.now();
            view.push(text);
            view.end();
            return performance.now() - from;
        }""",
        text,
    )
    assert took < 10_000


def test_a_long_answer_keeps_what_is_drawn(page: Any) -> None:
    kept = page.evaluate(
        """async () => {
            const { markdownInto } = await import("/page/markdown.js");
            const into = document.createElement("div"), view = markdownInto(into);
            view.push("First.\\n\\n```py\\n" + "x = 1\\nx = 2\\n");
            const pre = into.querySelector("pre"), line = into.querySelector("code").firstChild;
            for (let n = 0; n < 3000; n += 1) view.push("y = 2\\n");
            const same = pre === into.querySelector("pre") && line === into.querySelector("code").firstChild;
            view.push("```\\n\\nAfter.\\n\\nLast.");
            view.end();
            return [same, pre === into.querySelector("pre"), into.querySelectorAll("p").length, into.children.length];
        }"""
    )
    assert kept == [True, True, 3, 4]
