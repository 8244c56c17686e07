"""The page's markdown in a browser: what becomes of a model's text, in whatever pieces it comes, however hostile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from thorough import THOROUGH

pytest.importorskip("uvicorn", reason="needs the server's packages: make test installs them")

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


def maths(tex: str, inner: str, display: bool = False) -> str:
    """The markup of a drawn formula: MathML, and its TeX for those who copy it."""
    name, more = ("math display", ' display="block"') if display else ("math", "")
    return (
        f'<span class="{name}"><math xmlns="http://www.w3.org/1998/Math/MathML"{more}><semantics><mrow>{inner}</mrow>'
        f'<annotation encoding="application/x-tex">{tex}</annotation></semantics></math></span>'
    )


PRODUCT = maths(
    "a_1 * b_2 * c",
    "<msub><mi>a</mi><mn>1</mn></msub><mo>∗</mo><msub><mi>b</mi><mn>2</mn></msub><mo>∗</mo><mi>c</mi>",
)
DIFFERENCE = maths("a\n- b", "<mi>a</mi><mo>−</mo><mi>b</mi>", display=True)

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
    ("\\(a_1 * b_2 * c\\) costs $5 or $6", f"<p>{PRODUCT} costs $5 or $6</p>"),
    ("\\[\na\n- b\n\\]\nc", f"<p>{DIFFERENCE}</p><p>c</p>"),
    ("\\[\na\n- b", '<p>[<br>a</p><ul class="tight"><li><p>b</p></li></ul>'),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), WRITTEN, ids=[text[:12] for text, _ in WRITTEN])
def test_what_is_written_is_what_is_meant(page: Any, text: str, expected: str) -> None:
    assert drawn(page, text) == expected


FORMULAS = [
    ("$x$, $2x$ and $a + b$", 3),
    ("$$x$$ then \\[y\\] then \\(z\\)", 3),
    ("- $$\n  x\n  = y\n  $$\n\n> \\[\n> z\n> \\]", 2),
    ("| $x$ | `$y$` |\n|-|-|\n| \\(z\\) | 2 |", 2),
    ("the $n$-th of ($k$), **$m$**.", 3),
    ("It costs $5 and $10, $20-$30, US$5 or A$6, 5$ or 10$ each, $1/$2.", 0),
    ("Set $HOME and $PATH, $HOME/$USER, echo $$, \\$5 and \\$6$", 0),
    ("I pay $5 for one and 6$ for two, $ a $, $a and their b$", 0),
    ("`$x$` `\\(y\\)` $a `b$` c$ \\(a `\\)` b", 0),
    ("```\n$$x$$\n\\[y\\]\n```\n\n~~~\n$z$\n~~~", 0),
    ("\\[\n```\nx\n```\n\\]\n\n$$\n\n$$", 0),
    ("\\(\\unknown{x}\\) \\(\\frac{1}\\) \\(\\def\\a{\\a\\a}\\a\\) \\( \\)", 0),
]


@pytest.mark.parametrize(("text", "count"), FORMULAS, ids=[text[:12] for text, _ in FORMULAS])
def test_formulas_are_drawn_and_prices_and_code_are_not(page: Any, text: str, count: int) -> None:
    html = drawn(page, text)
    assert html.count("<math ") == count


def test_a_formula_that_is_not_understood_stays_as_it_was_written(page: Any) -> None:
    assert drawn(page, "a \\(\\unknown{x}\\) b") == '<p>a <span class="math">\\(\\unknown{x}\\)</span> b</p>'


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
    "\\(\\href{javascript:hit=1}{x}\\) $\\url{javascript:hit=1}$ $$\\includegraphics{https://e.org/x.png}$$",
    "\\(\\htmlStyle{position:fixed}{x}\\) \\(\\htmlClass{x}{x}\\) \\(\\htmlData{a=b}{x}\\) \\(\\htmlId{send}{x}\\)",
    "$\\text{<img src=x onerror=hit=1>}$ \\(<script>hit=1</script>\\) \\[\\fcolorbox{red;x:url(y)}{blue}{x}\\]",
    "<https://e.org/\"><script>hit=1</script>> <a href=//e.org>x</a> <base href=//e.org> <meta http-equiv=x>",
]  # fmt: skip


#: attributes of formulas: lengths and names, no addresses
MATHML = {"xmlns", "encoding", "display", "mathvariant", "width", "stretchy"}


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
    math = "math semantics annotation mrow mi mo mn mtext mspace mstyle mpadded"
    assert set(found["tags"]) <= {*ours.split(), *math.split()}
    assert set(found["attributes"]) <= {"class", "href", "target", "rel", "tabindex", "role", "aria-label", *MATHML}
    assert all(link in (["https:", "noopener noreferrer"],) for link in found["links"])
    assert found["hit"] is None


def test_nodes_are_purified(page: Any) -> None:
    # What our own renderer never makes, made here without a string of markup.
    left = page.evaluate(
        """async () => {
            const { purified } = await import("/page/purify.js");
            const node = document.createElement("p"), link = document.createElement("a");
            link.setAttribute("href", "javascript:hit=1");
            for (const name of ["id", "name", "title", "data-x"]) link.setAttribute(name, "x");
            for (const tag of ["iframe", "form", "img", "button", "link"]) node.append(document.createElement(tag));
            node.append(link, document.createElementNS("http://www.w3.org/2000/svg", "svg"), "text");
            return purified(node).outerHTML;
        }"""
    )
    assert left == "<p><a></a>text</p>"


TOGETHER = "\n".join(text for text, _ in WRITTEN) + (
    "\n\n1. a\n\n   ```js\n   let x = `a\n   b`; /* c\n   d */ f(1)\n   ```\n2. b\n   - c\n\n     d\n\n"
    "|a|b|\n|-|-|\n|*c*|d|\n\n"
    "````md\n```\ninner\n```\n````\n> q\n> - r\n\n~~~\nopen\n"
)

#: texts that are read further than a block reaches, or coloured while they grow
GROWING = [
    "- a\n\n- b\n\n  c\n\n\nd\n- e\nf\n\n1. g\n\n\n   h\ni | j\n-|-\nk",
    "a\n\\[\nb\n- c\n\nd\n$$\ne\n# f\n$$\ng\n\\[\n> h\n\\] i\n\n- \\[\n  j\n  - k\n  \\]",
    "| a |\n|-|\n| `b` |\n| $c$ |\nd\n\n| e |\n|-|\n\n- [ ] f\n- [x] g\n  ```py\n  def h(): pass\n",
    '```py\nx = """\na # b\n"""\n\n\n@c\ndef d(e: int = 1) -> str:\n    return f\'{e}\' # g\n',
    "~~~html\n<!-- a\n b -->\n<script>\nlet c = `d\n${1}`;\n</script>\n~~~ \n\n~~~\n\n\n",
    "```py\n'''" + "\na" * 70,
]


def test_any_pieces_give_the_whole(page: Any) -> None:
    texts = [text for text, _ in WRITTEN] + [text for text, _ in FORMULAS]
    texts += [*HOSTILE, *GROWING, TOGETHER, TOGETHER.replace("\n", "\r\n")]
    unlike = page.evaluate(
        """async ([texts, step]) => {
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
                for (let cut = 1; cut < text.length; cut += step)
                    if (draw([text.slice(0, cut), text.slice(cut)]) !== whole) unlike.push([text, cut]);
                for (const size of [1, 2, 3, 7]) {
                    const pieces = text.match(new RegExp(`[^]{1,${size}}`, "g"));
                    if (draw(pieces) !== whole) unlike.push([text, "pieces", size]);
                }
            }
            return unlike;
        }""",
        [texts, 1 if THOROUGH else 5],
    )
    assert unlike == []


LONG = 40_000
SLOW = [
    "*a " * LONG, "**a_b " * LONG, "[" * LONG, "[a](" * LONG, "![" * LONG + "[a](https://e.org)" * 2000, "`" * LONG,
    "".join("`" * n + " " for n in range(1, 300)), "> " * LONG, "- " * LONG, "|" * LONG + "\n" + "|-" * LONG,
    "$a" * LONG, "\\(" * LONG, "<" * LONG, "https://e.org/" + ")" * LONG, "*" * LONG + "a" + "*" * LONG,
    "\\[\n" * LONG, "\\[\n" * LONG + "\\] a", "\\(a" * LONG + "`", "$a$ " * 2000, "`a|" * LONG,
    "```js\n" + "a(`${" * LONG,
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


@pytest.mark.parametrize(
    ("head", "part", "children"),
    [
        ("Items:\n\n", "- *a* and \\(b\\)\n", "li"),
        ("| a |\n|-|\n", "| *b* and \\(c\\) |\n", "tbody tr"),
        ("", "and **a *b* `c`** \\(d\\)\n", "p > strong"),
    ],
    ids=["list", "table", "paragraph"],
)
def test_a_growing_list_or_table_keeps_its_parts(page: Any, head: str, part: str, children: str) -> None:
    kept = page.evaluate(
        """async ([head, part, children]) => {
            const { markdownInto } = await import("/page/markdown.js");
            const into = document.createElement("div"), view = markdownInto(into);
            view.push(head + part + part + part);
            const first = into.querySelector(children);
            for (let n = 0; n < 50; n += 1) for (const char of part) view.push(char);
            view.push("\\n\\nEnd.\\n\\n");
            view.end();
            const all = [...into.querySelectorAll(children)];
            return [all[0] === first, all.length, new Set(all.map((node) => node.innerHTML)).size];
        }""",
        [head, part, children],
    )
    assert kept == [True, 53, 1]
