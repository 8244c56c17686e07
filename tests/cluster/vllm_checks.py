"""What tests of vLLM on the CPU share: small models, a front door before it, and the checks of what it answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from questions import SCHEMA, TOOL

import shoestring
from shoestring.testing import Family

SMALL = Path(__file__).with_name("small_models.py")
#: vLLM on a CPU: a small cache, and its threads where the system puts them.
ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "TOKENIZERS_PARALLELISM": "false",
}
ARGUMENTS = (
    "--enforce-eager",
    '--limit-mm-per-prompt={"image": 0, "video": 0}',
    "--return-tokens-as-token-ids",
)
#: "CPU GDN attention requires BF16", says vLLM 0.32 of Qwen 3.5's recurrent layers.
DTYPES = {"qwen3_5": "bfloat16", "llama4": "float32"}
ASKED = [{"role": "user", "content": "What does a harbour need?"}]
START_SECONDS = 240


def written(family: Family, parent: Path) -> Path:
    """The folder of the family's small model."""
    folder = parent / family
    subprocess.run([sys.executable, str(SMALL), family, str(folder)], check=True, timeout=180)
    return folder


def arguments(folder: Path, *more: str) -> list[str]:
    """Options of `serve` for vLLM with this model."""
    words = (f"--dtype={DTYPES[folder.name]}", *ARGUMENTS, *more)
    return ["--context", "1024", "--parallel", "4", *(f"--vllm-arg={word}" for word in words)]


@contextmanager
def front_door(log: Path, *options: str) -> Iterator[str]:
    """The address of `serve` with these options, once it is open. log: where its lines go."""
    command = [sys.executable, "-m", "shoestring", "serve", *options, "--port", "0"]
    with log.open("w") as file, subprocess.Popen(command, stderr=file, env=environment()) as process:
        try:
            until = time.monotonic() + START_SECONDS
            while "\n  open " not in log.read_text():
                assert process.poll() is None, log.read_text()[-4000:]
                assert time.monotonic() < until, log.read_text()[-4000:]
                time.sleep(0.2)
            yield log.read_text().split("\n  open ")[1].split()[0]
        finally:
            process.terminate()
            process.wait(60)


def environment() -> dict[str, str]:
    return {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(Path(shoestring.__file__).parents[1])}


def post(url: str, path: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{url}{path}", json=body, timeout=120)


def check_apis(url: str, folder: Path, counts: bool = True) -> None:
    """Chat, a stream, tools, a schema and refusals on all our APIs. counts: the server counts tokens."""
    model = folder.name
    plain = {"model": model, "messages": ASKED, "max_tokens": 16, "temperature": 0, "ignore_eos": True}
    whole = post(url, "/v1/chat/completions", **plain)
    assert whole.status_code == 200, whole.text
    assert whole.json()["usage"]["completion_tokens"] == 16, whole.text
    streamed = post(url, "/v1/chat/completions", **plain, stream=True, stream_options={"include_usage": True}).text
    chunks = [json.loads(line[6:]) for line in streamed.splitlines() if line.startswith("data: {")]
    message = whole.json()["choices"][0]["message"]
    for name in ("content", "reasoning_content"):
        parts = [choice["delta"].get(name) or "" for chunk in chunks for choice in chunk["choices"]]
        assert "".join(parts) == (message.get(name) or "")
    assert chunks[-1]["usage"] == whole.json()["usage"]
    format = {"type": "json_schema", "json_schema": {"name": "c", "schema": SCHEMA}}
    off = {**plain, "max_tokens": 200, "ignore_eos": False, "chat_template_kwargs": {"enable_thinking": False}}
    formed = post(url, "/v1/chat/completions", **off, response_format=format).json()["choices"][0]
    if formed["finish_reason"] == "stop":
        assert set(json.loads(formed["message"]["content"])) == {"colour", "sure"}
    called = post(url, "/v1/chat/completions", **off, tools=[TOOL], tool_choice="required")
    assert called.status_code == 200, called.text
    choice = called.json()["choices"][0]
    if choice["finish_reason"] == "tool_calls":
        assert choice["message"]["tool_calls"][0]["function"]["name"] == "look"
    anthropic = post(url, "/v1/messages", model=model, messages=ASKED, max_tokens=8)
    assert anthropic.status_code == 200, anthropic.text
    usage = anthropic.json()["usage"]
    counted = post(url, "/v1/messages/count_tokens", model=model, messages=ASKED)
    if counts:
        assert usage["input_tokens"] + usage["cache_read_input_tokens"] == counted.json()["input_tokens"]
    else:
        assert counted.status_code == 400
        assert "count_tokens is not supported" in counted.text
    ollama = post(url, "/api/chat", model=model, messages=ASKED, stream=False, options={"num_predict": 8})
    assert 0 < ollama.json()["eval_count"] <= 8
    refused = post(url, "/v1/chat/completions", **plain, repeat_last_n=3, repetition_penalty=1.1)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "unsupported_field")
    long = post(url, "/v1/chat/completions", **{**plain, "messages": [{"role": "user", "content": "y" * 2000}]})
    assert (long.status_code, long.json()["error"]["code"]) == (400, "context_length_exceeded")


def check_tokens(url: str, folder: Path, rows: int = 48) -> None:
    """Teacher-forced over random tokens: each prefix is a prompt, and its next token is greedy."""
    ids = [int(id) for id in np.random.default_rng(3).integers(32, 127, 80)]
    with shoestring.load(folder, kv_type="f32", context=512) as model:
        logits = model.logits(ids).astype(np.float64)
    ours = (
        logits
        - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1, keepdims=True))
        - logits.max(1, keepdims=True)
    )
    differences, found = [], {}
    for length in range(len(ids) - rows, len(ids)):
        body = {"prompt": ids[:length], "max_tokens": 1, "temperature": 0, "logprobs": 5, "ignore_eos": True}
        answer = post(url, "/v1/completions", **body)
        assert answer.status_code == 200, answer.text
        logprobs = answer.json()["choices"][0]["logprobs"]
        top = {int(name.removeprefix("token_id:")): value for name, value in logprobs["top_logprobs"][0].items()}
        found[length - 1] = int(logprobs["tokens"][0].removeprefix("token_id:"))
        differences += [abs(ours[length - 1, id] - value) for id, value in top.items()]
    largest, clear = max(differences), 0
    for row, token in found.items():
        second, first = np.sort(ours[row])[-2:]
        if first - second > 4 * largest:
            clear += 1
            assert token == int(ours[row].argmax())
    print(f"{folder.name}: largest log-probability difference {largest:.2g}, clear in {clear} of {len(found)} rows")
    assert clear > (len(found) / 2 if DTYPES[folder.name] == "float32" else 0)
