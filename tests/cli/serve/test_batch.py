"""`shoestring batch`: answers every request once, despite interruptions; names invalid lines."""

from __future__ import annotations

import base64
import errno
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from commands import PYTHON
from odd_pictures import rgb, saved

from shoestring.cli import find
from shoestring.cli.app import run
from shoestring.cli.serve import batch_files
from shoestring.cli.serve.batch_files import Identity, OneModel, open_output, read_lines
from shoestring.errors import CapacityError, RequestError
from shoestring.testing import scripted_model


@pytest.fixture(autouse=True)
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "load_model", lambda name, **options: scripted_model(context=1024))


def request(id: str, text: str = "hi", **fields: Any) -> dict[str, Any]:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], "temperature": 0}
    return {"custom_id": id, "method": "POST", "url": "/v1/chat/completions", "body": body, **fields}


def write(path: Path, *lines: Any) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def answers(path: Path) -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert len({line["custom_id"] for line in lines}) == len(lines)
    return {line["custom_id"]: line for line in lines}


def texts(path: Path) -> dict[str, str]:
    return {id: a["response"]["body"]["choices"][0]["message"]["content"] for id, a in answers(path).items()}


def repair_output(target: Path, ids: set[str]) -> set[str]:
    with open_output(target, Path("no such file"), ids) as (_, done):
        return done


def test_every_request_is_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "in", *(request(str(n), f"no {n}") for n in range(7)))
    target = tmp_path / "out"
    assert run(["batch", str(source), str(target), "--parallel", "3"]) == 0
    assert texts(target) == {str(n): f"You said: no {n}" for n in range(7)}
    before = target.read_bytes()
    assert run(["batch", str(source), str(target)]) == 0
    assert target.read_bytes() == before
    assert "all 7 requests are already answered" in capsys.readouterr().err


def test_requests_carry_pictures(tmp_path: Path) -> None:
    def asks(id: str, url: str) -> dict[str, Any]:
        content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "hi"}]
        return request(id, content)  # type: ignore[arg-type]

    data_url = f"data:image/png;base64,{base64.b64encode(saved(rgb(), 'PNG')).decode()}"
    source = write(tmp_path / "in", request("text"), asks("good", data_url), asks("remote", "http://127.0.0.1/a.png"))
    assert run(["batch", str(source), str(tmp_path / "out")]) == 2
    found = answers(tmp_path / "out")
    tokens = {id: found[id]["response"]["body"]["usage"]["prompt_tokens"] for id in ("text", "good")}
    assert tokens["good"] >= tokens["text"] + 64
    refused = found["remote"]["response"]
    assert refused["status_code"] == 400
    assert "this server fetches nothing" in json.dumps(refused["body"])


def test_pictures_on_the_web_only_where_that_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fetched = []

    def fetch(self: Any) -> bytes:
        fetched.append(self.url)
        return saved(rgb(), "PNG")

    monkeypatch.setattr("shoestring.server.media.fetch.Fetch.run", fetch)
    content = [{"type": "image_url", "image_url": {"url": "http://pictures.example/a.png"}}]
    source = write(tmp_path / "in", request("remote", content))  # type: ignore[arg-type]
    out = str(tmp_path / "out")
    assert run(["batch", str(source), out]) == 2
    assert fetched == []
    assert run(["batch", str(source), out, "--allow-remote-media"]) == 0
    assert fetched == ["http://pictures.example/a.png"]
    capsys.readouterr()
    assert run(["batch", str(source), out, "--allow-remote-media", "--url", "http://127.0.0.1:1"]) == 2
    assert "another server decides by itself" in capsys.readouterr().err


def test_completions_too(tmp_path: Path) -> None:
    line = request("a", url="/v1/completions", body={"prompt": "x", "max_tokens": 4})
    assert run(["batch", str(write(tmp_path / "in", line)), str(tmp_path / "out")]) == 0
    assert answers(tmp_path / "out")["a"]["response"]["body"]["object"] == "text_completion"


def test_it_resumes_after_a_cut_at_any_byte(tmp_path: Path) -> None:
    source = write(tmp_path / "in", request("é", "one"), request("b", "two"))
    target = tmp_path / "out"
    assert run(["batch", str(source), str(target), "--parallel", "1"]) == 0
    whole = target.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == 10]
    for cut in range(len(whole) + 1):
        target.write_bytes(whole[:cut])
        done = repair_output(target, {"é", "b"})
        assert len(done) == sum(end <= cut for end in ends)
        assert target.read_bytes() == whole[: max([0, *(end for end in ends if end <= cut)])]
    for cut in (ends[0] - 1, ends[0], ends[0] + 5):
        target.write_bytes(whole[:cut])
        assert run(["batch", str(source), str(target)]) == 0
        assert texts(target) == {"é": "You said: one", "b": "You said: two"}


#: A slow batch in a child process.
CHILD = """
import sys, time
from shoestring.cli import find
from shoestring.cli.app import run
from shoestring.testing import scripted_model

def load(name, **options):
    model = scripted_model(context=1024)
    forward = model.engine.runner.forward
    model.engine.runner.forward = lambda *arguments: (time.sleep(0.01), forward(*arguments))[1]
    return model

find.load_model = load
sys.exit(run(["batch", *sys.argv[1:]]))
"""


def test_it_resumes_after_a_kill(tmp_path: Path) -> None:
    source = write(tmp_path / "in", *(request(str(n), f"no {n}") for n in range(12)))
    target = tmp_path / "out"
    with subprocess.Popen([sys.executable, "-c", CHILD, str(source), str(target), "--parallel", "2"]) as child:
        until = time.monotonic() + 60
        while not (target.exists() and target.read_bytes().count(b"\n") >= 2):
            assert child.poll() is None, "it ended before it was killed"
            assert time.monotonic() < until
            time.sleep(0.005)
        child.kill()
    before = len(repair_output(target, {str(n) for n in range(12)}))
    assert 2 <= before < 12
    assert run(["batch", str(source), str(target)]) == 0
    assert texts(target) == {str(n): f"You said: no {n}" for n in range(12)}


def test_a_failed_request_has_its_reason_and_the_others_are_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = request("wrong")
    wrong["body"]["frobnicate"] = 1
    streamed = request("streamed")
    streamed["body"]["stream"] = True
    lines = [request("good"), wrong, streamed, request("method", method="GET"), request("url", url="/v1/embeddings")]
    target = tmp_path / "out"
    assert run(["batch", str(write(tmp_path / "in", *lines)), str(target)]) == 2
    assert "4 of 5 requests failed" in capsys.readouterr().err
    found = answers(target)
    assert found["good"]["response"]["status_code"] == 200
    for id, says in {"wrong": "frobnicate", "streamed": "stream", "method": "GET", "url": "embeddings"}.items():
        assert found[id]["response"]["status_code"] == 400
        assert says in found[id]["response"]["body"]["error"]["message"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no requests"),
        ("{", "line 1 is not valid JSON"),
        ("[]", "line 1 is not an object"),
        ('{"body": {}}', "custom_id"),
        ('{"custom_id": "a"}', "no body"),
        ("my notes\nand more", "line 1 is not valid JSON"),
        ('{"custom_id": "a", "body": {"temperature": NaN}}', "line 1 is not valid JSON"),
    ],
)
def test_a_file_without_a_request_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "in").write_text(text)
    with pytest.raises(RequestError, match=says):
        read_lines(tmp_path / "in")


#: line of IN → its custom_id in OUT, and the reason
BAD_LINES: dict[bytes, tuple[str | None, str]] = {
    b"{": (None, "is not valid JSON"),
    b"[" * 1000: (None, "is not valid JSON"),
    b'{"custom_id": "x", "body": {"temperature": NaN}}': (None, "is not valid JSON"),
    b'{"custom_id": "x\xff", "body": {}}': (None, "is not UTF-8"),
    b"[]": (None, "is not an object"),
    b'{"body": {}}': (None, "has no custom_id"),
    b'{"custom_id": 7, "body": {}}': (None, "has no custom_id"),
    b'{"custom_id": "good", "body": {}}': (None, "repeats the custom_id 'good'"),
    b'{"custom_id": "x"}': ("x", "has no body"),
    b'{"custom_id": "x", "body": []}': ("x", "has no body"),
}


@pytest.mark.parametrize("bad", BAD_LINES, ids=lambda line: line[:40].decode("latin-1"))
def test_a_malformed_line_is_a_failed_line(tmp_path: Path, bad: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    id, says = BAD_LINES[bad]
    source, target = write(tmp_path / "in", request("good", "one")), tmp_path / "out"
    source.write_bytes(source.read_bytes() + b"\n" + bad + b"\n" + json.dumps(request("last", "two")).encode())
    for _ in range(2):  # the second run retries it, and no other
        assert run(["batch", str(source), str(target)]) == 2
        assert "1 of 3 requests failed" in capsys.readouterr().err
        found = answers(target)
        assert set(found) == {id, "good", "last"}
        message = found.pop(id)["response"]["body"]["error"]["message"]  # type: ignore[arg-type]
        assert says in message
        assert "line 3" in message
        assert {a["response"]["status_code"] for a in found.values()} == {200}
    if id is not None:
        source.write_bytes(source.read_bytes().replace(bad, json.dumps(request(id, "mended")).encode()))
        assert run(["batch", str(source), str(target)]) == 0
        assert texts(target) == {"good": "You said: one", id: "You said: mended", "last": "You said: two"}


def test_a_failed_line_is_retried_and_the_exit_code_follows_from_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """For each status that another server answers with."""
    status, asked = 500, []

    def answer(asking: httpx2.Request) -> httpx2.Response:
        asked.append(json.loads(asking.content)["messages"][0]["content"])
        good = asked[-1] != "two" or status == 200
        return httpx2.Response(200 if good else status, json={"text": asked[-1]})

    def client(url: str, key: str | None) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(base_url="http://there/v1/", transport=httpx2.MockTransport(answer))

    monkeypatch.setattr("shoestring.client.async_client", client)
    source, target = write(tmp_path / "in", request("a", "one"), request("b", "two")), tmp_path / "out"
    command = ["batch", str(source), str(target), "--url", "http://there"]
    target.touch(mode=0o640)
    assert run(command) == 2
    good = next(line for line in target.read_bytes().splitlines(keepends=True) if b'"a"' in line)
    for status in (500, 404, 400):
        asked.clear()
        assert run(command) == 2
        assert "1 of 2 requests failed" in capsys.readouterr().err
        assert asked == ["two"]
        assert answers(target)["b"]["response"]["status_code"] == status
        assert target.read_bytes().startswith(good)  # unchanged, in place
    status = 200
    assert run(command) == 0
    assert answers(target)["b"]["response"]["status_code"] == 200
    assert target.stat().st_mode & 0o777 == 0o640
    asked.clear()
    assert run(command) == 0
    assert asked == []
    assert os.listdir(tmp_path) in (["in", "out"], ["out", "in"])


def test_an_output_stays_locked_while_its_failed_lines_are_removed(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_text(OURS.replace("200", "500"))
    with open_output(target, tmp_path / "in", {"a"}) as (_, done):
        assert done == set()
        assert target.read_bytes() == b""
        with pytest.raises(RequestError, match="another batch"), open_output(target, tmp_path / "in", {"a"}):
            pass


def test_an_unrelated_target_is_not_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "out"
    target.write_text("my notes\nand more")
    assert run(["batch", str(write(tmp_path / "in", request("a"))), str(target)]) == 2
    assert "line 1 is not a batch answer" in capsys.readouterr().err
    assert target.read_text() == "my notes\nand more"


def test_an_unreachable_server_leaves_requests_open(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "out"
    source = write(tmp_path / "in", request("a"))
    assert run(["batch", str(source), str(target), "--url", "http://127.0.0.1:1"]) == 2
    assert "cannot reach http://127.0.0.1:1" in capsys.readouterr().err
    assert target.read_bytes() == b""


# --- files that the user owns --------------------------------------------------------------------------------------

OURS = '{"id": "batch_req_1", "custom_id": "a", "response": {"status_code": 200}, "error": null}\n'


@pytest.mark.parametrize(
    "text",
    [
        "half a note without an end",
        "\n\nhalf a note",
        OURS.replace('"a"', '"of another batch"') + '{"id": "batch_req_2", "cust',
        OURS.replace('"a"', '"of another batch"'),
        OURS + '{"custom_id": "a", "body": {}}\nhalf',
        OURS.replace('"a"', "7"),
        OURS.replace('"a"', "null"),
        OURS.replace('"a"', '"of another batch"').replace("200", "500"),
        OURS.replace("200", "500") + OURS.replace('"a"', '"of another batch"'),
        '{"custom_id": null, "response": {"status_code": 400}}\n',
        "[" * 1000 + "\n",
    ],
)
def test_an_output_with_other_contents_is_refused(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out"
    target.write_text(text)
    assert run(["batch", str(write(tmp_path / "in", request("a"))), str(target)]) == 2
    assert "choose another OUT file" in capsys.readouterr().err
    assert target.read_text() == text


@pytest.mark.parametrize("how", ["itself", "symbolic link", "hard link", "stdin"])
def test_the_input_is_never_the_output(tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "in", request("a"), request("b"))
    source.write_bytes(source.read_bytes()[:-1])  # an incomplete last line
    before = source.read_bytes()
    target = source if how in ("itself", "stdin") else tmp_path / "out"
    if how == "symbolic link":
        target.symlink_to(source)
    elif how == "hard link":
        target.hardlink_to(source)
    if how == "stdin":
        with source.open("rb") as file:
            command = [*PYTHON, "batch", "-", str(target)]
            result = subprocess.run(command, stdin=file, capture_output=True, text=True, check=False)
        code, err = result.returncode, result.stderr
    else:
        code = run(["batch", str(source), str(target)])
        err = capsys.readouterr().err
    assert code == 2
    assert "is IN and OUT" in err
    assert source.read_bytes() == before


def test_the_input_may_be_a_pipe(tmp_path: Path) -> None:
    source = write(tmp_path / "in", request("a", "one"))
    for name in ("-", "/dev/stdin", f"<(cat {source})"):
        target = tmp_path / f"out{len(name)}"
        code = CHILD.replace("time.sleep(0.01)", "0")
        line = f"cat {source} | {sys.executable} -c '{code}' {name} {target}"
        subprocess.run(["bash", "-c", line], check=True)
        assert texts(target) == {"a": "You said: one"}


def test_a_pipe_without_an_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_files, "LARGEST_INPUT", 1 << 20)
    reading, writing = os.pipe()

    def write_forever() -> None:
        with suppress(BrokenPipeError), os.fdopen(writing, "wb") as file:
            while True:
                file.write(b"x" * 4096)

    thread = threading.Thread(target=write_forever)
    thread.start()
    try:
        with pytest.raises(RequestError, match="more than 1,048,576 bytes"):
            read_lines(Path(f"/dev/fd/{reading}"))
    finally:
        os.close(reading)
        thread.join()


def test_two_batches_do_not_share_an_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = write(tmp_path / "in", request("a")), tmp_path / "out"
    with open_output(target, source, set()):
        assert run(["batch", str(source), str(target)]) == 2
        assert "another batch writes to" in capsys.readouterr().err
    assert run(["batch", str(source), str(target)]) == 0


def test_surrogates_in_ids_and_bodies(tmp_path: Path) -> None:
    id = "\ud800x"
    source, target = write(tmp_path / "in", request(id, "a\udfff")), tmp_path / "out"
    code = run(["batch", str(source), str(target)])
    assert code in (0, 2)  # an answer or a refusal, of this request
    assert set(answers(target)) == {id}
    assert run(["batch", str(source), str(target)]) == code
    assert set(answers(target)) == {id}


def test_surrogates_with_another_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In ids, methods, bodies and answers. They reach the other server, and OUT, as they were written."""
    asked: list[str] = []

    def answer(asking: httpx2.Request) -> httpx2.Response:
        asked.append(json.loads(asking.content)["messages"][0]["content"])
        body = json.dumps({"text": asked[-1]}).encode("ascii")
        return httpx2.Response(500 if asked[-1].startswith("fail") else 200, content=body)

    def client(url: str, key: str | None) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(base_url="http://there/v1/", transport=httpx2.MockTransport(answer))

    monkeypatch.setattr("shoestring.client.async_client", client)
    good, failed, method, url, empty = (
        f"{half}{n}" for n, half in enumerate(["\ud800", "\udfff", "é\udc00", "\ud83d", "\ude00"])
    )
    lines = [
        request(good, "a\udfff"),
        request(failed, "fail\ud800"),
        request(method, method="\ud800"),
        request(url, url="/v1/\udfff"),
        {"custom_id": empty},
        request(good, "repeated"),
    ]
    target = tmp_path / "out"
    command = ["batch", str(write(tmp_path / "in", *lines)), str(target), "--url", "http://there"]
    for again in (False, True):
        asked.clear()
        assert run(command) == 2
        assert "5 of 6 requests failed" in capsys.readouterr().err
        assert asked == ["a\udfff", "fail\ud800"][again:]
        found = [json.loads(line) for line in target.read_bytes().splitlines()]
        statuses = {line["custom_id"]: line["response"]["status_code"] for line in found}
        assert statuses == {good: 200, failed: 500, method: 400, url: 400, empty: 400, None: 400}
        assert len(found) == len(lines)
        assert next(line for line in found if line["custom_id"] == good)["response"]["body"] == {"text": "a\udfff"}


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) < 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data[:-10])

    target = tmp_path / "out"
    target.write_text(OURS)
    with open_output(target, tmp_path / "in", {"a"}) as (descriptor, _):
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(CapacityError, match="disk is full"):
            batch_files.append(descriptor, target, {"custom_id": "b" * 50})
    assert target.read_text() == OURS


@pytest.mark.parametrize("content", [b"<html>hello\x1b[2J", b"", b"[1]", b"[" * 100_000, b'"text"'])
def test_a_200_without_an_object_is_a_failed_line(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, content=content))
    there = httpx2.AsyncClient(base_url="http://there/v1/", transport=transport)
    monkeypatch.setattr("shoestring.client.async_client", lambda url, key: there)
    target = tmp_path / "out"
    assert run(["batch", str(write(tmp_path / "in", request("a"))), str(target), "--url", "http://there"]) == 2
    assert "1 of 1 requests failed" in capsys.readouterr().err
    response = answers(target)["a"]["response"]
    assert response["status_code"] == 502
    assert "answered 200 without valid JSON" in response["body"]["error"]["message"]


def test_a_folder_is_answered_file_by_file_and_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in "ab":
        write(source / f"{name}.jsonl", *(request(f"{name}{n}", f"{name} {n}") for n in range(3)))
    (source / "notes.txt").write_text("no batch")
    assert run(["batch", str(source), str(target)]) == 0
    assert {path.name for path in target.iterdir()} == {"a.jsonl", "b.jsonl"}
    assert texts(target / "b.jsonl") == {f"b{n}": f"You said: b {n}" for n in range(3)}
    lines = (target / "a.jsonl").read_bytes().splitlines(keepends=True)
    (target / "a.jsonl").write_bytes(b"".join(lines[:1]) + lines[1][:40])
    assert run(["batch", str(source), str(target)]) == 0
    assert set(answers(target / "a.jsonl")) == {"a0", "a1", "a2"}
    for wrong in ([str(source), str(source)], [str(target / "a.jsonl"), str(target)]):
        assert run(["batch", *wrong]) == 2
    (tmp_path / "empty").mkdir()
    assert run(["batch", str(tmp_path / "empty"), str(target)]) == 2
    assert run(["batch", str(source), str(target), "--on", "slurm"]) == 2
    assert "batch knows only ray" in capsys.readouterr().err


def test_one_file_has_one_number_of_experts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Resuming with another --experts-per-token is refused and changes nothing."""

    def load(name: str, *, loading: Any) -> Any:
        model = scripted_model(context=1024)
        model.changed_experts = None if loading.experts_per_token in (None, 1) else "2 experts a token instead of 1"
        return model

    monkeypatch.setattr(find, "load_model", load)
    bad = request("bad", method="GET")
    source = write(tmp_path / "in", request("a"), request("b"), bad)
    own, two = tmp_path / "own", tmp_path / "two"
    changed = ["--experts-per-token", "2"]
    assert run(["batch", str(source), str(own)]) == 2
    assert run(["batch", str(source), str(two), *changed]) == 2
    assert answers(two)["a"]["response"]["body"]["system_fingerprint"] == "2 experts a token instead of 1"
    for target, other in ((own, changed), (two, []), (two, ["--experts-per-token", "1"])):
        capsys.readouterr()
        before = target.read_bytes()
        assert run(["batch", str(source), str(target), *other]) == 2
        said = capsys.readouterr().err
        assert "2 experts a token instead of 1" in said
        assert "the model's own number of experts a token" in said
        assert "choose another OUT file, or the same --experts-per-token" in said
        assert target.read_bytes() == before
    for target, same in ((own, []), (own, ["--experts-per-token", "1"]), (two, changed)):
        assert run(["batch", str(source), str(target), *same]) == 2, "the bad line alone fails"
        assert len(answers(target)) == 3


def test_one_file_has_one_kv_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Answers of another --kv-type have other bits: resuming with it is refused and changes nothing."""

    def load(name: str, *, loading: Any) -> Any:
        model = scripted_model(context=1024)
        model.engine.kv_type = loading.kv  # what it stores does not depend on it
        return model

    monkeypatch.setattr(find, "load_model", load)
    bad = request("bad", method="GET")
    source, eight, usual = write(tmp_path / "in", request("a"), bad), tmp_path / "eight", tmp_path / "usual"
    assert run(["batch", str(source), str(eight), "--kv-type", "q8_0"]) == 2
    assert run(["batch", str(source), str(usual)]) == 2
    assert answers(eight)["a"]["response"]["body"]["system_fingerprint"] == "keys and values in q8_0"
    assert "system_fingerprint" not in answers(usual)["a"]["response"]["body"]
    for target, other in ((eight, "f16"), (eight, "f32"), (usual, "q8_0")):
        capsys.readouterr()
        before = target.read_bytes()
        assert run(["batch", str(source), str(target), "--kv-type", other]) == 2
        assert "choose another OUT file, or the same --kv-type" in capsys.readouterr().err
        assert target.read_bytes() == before
    both = Identity.said("2 experts a token instead of 1, keys and values in q8_0")
    assert both == Identity("2 experts a token instead of 1", "keys and values in q8_0")


def test_a_server_that_changes_its_experts_is_noticed() -> None:
    def answer(fingerprint: str | None, status: int = 200) -> dict[str, Any]:
        body = {} if fingerprint is None else {"system_fingerprint": fingerprint}
        return {"custom_id": "x", "response": {"status_code": status, "body": body}}

    two, three = "2 experts a token instead of 1", "3 experts a token instead of 1"
    model = OneModel()
    model.check(answer(three, 500), "a")
    model.check(answer(two), "b")
    model.check(answer(None, 400), "c")
    for other in (three, None, "fp_44709d6fcb"):
        with pytest.raises(RequestError, match=r"d has .*, and the other answers 2 experts a token instead of 1"):
            model.check(answer(other), "d")
    plain = OneModel()
    plain.check(answer("fp_1"), "a")
    plain.check(answer("fp_2"), "b")
