"""A text in windows has the tokens of the whole text, within its limits of memory and of time between two windows."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from itertools import chain
from pathlib import Path
from threading import Event, Thread

import pytest
from corpus import TEXTS
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small_vocabulary import metadata, write_folder
from vocabularies import VOCABULARIES
from vocabularies import write_folder as write_vendor

from shoestring.checkpoint.open import open_checkpoint
from shoestring.checkpoint.text.text_work import limited, stoppable
from shoestring.checkpoint.text.tokenizer import Tokenizer
from shoestring.checkpoint.text.windows import MOST_WORD, WINDOW
from shoestring.errors import CapacityError, RequestError, StoppedError
from shoestring.samples.embedded import EMBEDDED

SMALL = Tokenizer.from_gguf(metadata())

#: What the patterns and NFC treat specially, so that windows end inside of it.
PARTS = [
    *("a", "é", "e\u0301", "\u0301", "\u0323", "A", "汉", "\u1112", "\u1161", "\u11ab", "ǅ", "ʰ", "7", "٣", "½"),
    *(
        " ",
        "  ",
        "\n",
        "\r\n",
        "\t",
        "\u00a0",
        "\u3000",
        "'",
        "'s",
        "'ll",
        "'RE",
        "'t",
        "ſ",
        "-",
        "/",
        "//",
        "<",
        "\u0338",
    ),
    *(
        "🙂",
        "👩\u200d👧",
        "\u200b",
        "hello",
        " world",
        "XMLHttp",
        "1234567",
        "don't",
        ".\n\n",
        "\x00",
        "__",
        "q\u0307\u0323",
    ),
]
texts = st.lists(st.sampled_from(PARTS) | st.text(max_size=4), max_size=40).map("".join)


@cache
def smollm() -> Tokenizer:
    return Tokenizer.from_checkpoint(open_checkpoint(EMBEDDED["demo-qwen3.5"](None)))


@pytest.fixture(scope="module", params=["qwen35", "llama4", "smollm"])
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """A published vocabulary."""
    if request.param == "smollm":
        return smollm()
    folder = tmp_path_factory.mktemp(request.param)
    write_vendor(VOCABULARIES[request.param](), folder)
    return Tokenizer.from_folder(folder)


def whole(tokenizer: Tokenizer, text: str) -> list[int]:
    """The tokens of a text in one call of the library."""
    ids: list[int] = tokenizer._encoder._of_texts.encode(text, add_special_tokens=False).ids
    return ids


def in_windows(tokenizer: Tokenizer, pieces: list[str | int], window: int) -> list[int]:
    return list(chain.from_iterable(tokenizer._encoder.encode(pieces, window)))


@settings(deadline=None, max_examples=1500)  # the machine may be busy
@given(texts, st.integers(1, 24), st.lists(st.integers(1, 9), max_size=9))
@example("a" * 30 + "'ll", 3, [])
@example(" \n \n  \t x", 2, [])
@example("e\u0301\u0323" * 9, 2, [1, 1])
@example("12345678901234", 3, [5])
def test_windows_give_the_tokens_of_the_whole(real: Tokenizer, text: str, window: int, lengths: list[int]) -> None:
    pieces: list[str | int] = []
    rest = text
    for length in lengths:
        pieces.append(rest[:length])
        rest = rest[length:]
    assert in_windows(real, [*pieces, rest], window) == whole(real, text)


@pytest.mark.parametrize("window", [7, 40, 301])
def test_every_script_in_windows(real: Tokenizer, window: int) -> None:
    for name, text in TEXTS.items():
        assert in_windows(real, [text], window) == whole(real, text), name


def test_a_text_of_many_windows(real: Tokenizer) -> None:
    text = "\n".join(TEXTS.values()) * 20
    assert len(text) > 3 * WINDOW
    assert real.encode(text) == whole(real, text)


def test_a_word_longer_than_a_window_is_encoded_whole() -> None:
    text = "x " + "a" * (3 * WINDOW) + " y"
    assert SMALL.encode(text) == whole(SMALL, text)


@pytest.mark.parametrize("letter", ["a", " ", "é", "🙂", "\u0301", "!"])
def test_a_word_beyond_the_limit_is_refused(letter: str) -> None:
    with pytest.raises(RequestError, match="512 KiB"):
        SMALL.encode("x" + letter * (MOST_WORD + MOST_WORD // 3))


def test_the_count_stops_at_the_limit() -> None:
    text = "a b " * (4 * WINDOW)
    with limited(100), pytest.raises(CapacityError, match="at least") as refused:
        SMALL.encode(text[: 3 * WINDOW])
    assert "100" in str(refused.value)
    with limited(len(SMALL.encode(text))):
        SMALL.encode(text)


def test_a_text_that_cannot_fit_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its characters alone say so."""
    tokenizer = Tokenizer.from_gguf(metadata())
    monkeypatch.setattr(tokenizer._encoder, "encode", None)
    longest = max(len(tokenizer.token_bytes(id)) for id in range(tokenizer.vocab_size))
    with limited(50), pytest.raises(CapacityError):
        tokenizer.encode("x" * (3 * 50 * longest + 1))


@settings(deadline=None)
@given(st.sampled_from(["\u1112\u1161\u11ab", "\u03b1\u0313\u0301\u0345", "u\u0308\u0304", "e"]), st.integers(1, 60))
def test_a_text_that_fits_after_normalisation_is_not_refused(character: str, count: int) -> None:
    text = character * count
    with limited(len(SMALL.encode(text))):
        SMALL.encode(text)


def test_stopped_work_ends_between_two_windows() -> None:
    stop = Event()
    pieces = iter(["a b " * WINDOW] * 1000)
    with stoppable(stop):
        work = SMALL._encoder.encode(pieces)
        next(work)
        stop.set()
        with pytest.raises(StoppedError):
            for _ in work:
                pass
    assert next(pieces, None) is not None


@pytest.mark.parametrize("kind", ["a", " ", "🙂", "\u0301", "7", "a b ", "<think>", "!#" * 260_000 + " "])
def test_any_text_takes_little_memory(kind: str, tmp_path: Path) -> None:
    """30 MB of each kind, up to a context of 262,144 tokens, in a process of its own."""
    write_folder(tmp_path)
    output = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)],
        input=kind.encode(),
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    ).stdout
    assert float(output) < 128


MEASURE = """
import re, sys
from pathlib import Path
from shoestring.checkpoint.text.text_work import limited
from shoestring.checkpoint.text.tokenizer import Tokenizer
from shoestring.errors import CapacityError, RequestError

def megabytes():
    return int(re.search("VmHWM:\\s+(\\d+)", open("/proc/self/status").read()).group(1)) / 1024

tokenizer = Tokenizer.from_folder(Path(sys.argv[1]))
kind = sys.stdin.buffer.read()
text = (kind * (30_000_000 // len(kind))).decode()
before = megabytes()
for special in (False, True):
    try:
        with limited(262_144):
            tokenizer.encode(text, special)
    except (CapacityError, RequestError):
        pass
    else:
        raise SystemExit("30 MB were accepted")
print(megabytes() - before)
"""


def test_other_threads_run_during_a_window() -> None:
    """No switch between bytecodes in this test: only a call that releases the interpreter lock lets the counter run."""
    interval = sys.getswitchinterval()
    count, over = 0, Event()

    def run() -> None:
        nonlocal count
        while not over.wait(0.0005):
            count += 1

    thread = Thread(target=run)
    sys.setswitchinterval(1000)
    try:
        thread.start()
        for method in (SMALL._encoder._window, SMALL._encoder._last):
            before = count
            method("a b " * (WINDOW // 4))
            assert count > before, method
    finally:
        sys.setswitchinterval(interval)
        over.set()
        thread.join()
