"""EleutherAI's lm-evaluation-harness (of the group "clients") scores a task through /v1/completions.

Everything it reads is local: the tokenizer of the exported demo folder, a task and its questions in files.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from running import running

import shoestring
from shoestring.checkpoint.open import open_checkpoint
from shoestring.errors import CheckpointError
from shoestring.runtime.model import Model
from shoestring.runtime.perplexity import log_softmax_at
from shoestring.samples import demo_qwen3_5
from shoestring.samples.demo_qwen3_5 import hugging_face

if importlib.util.find_spec("lm_eval") is None:
    pytest.skip("lm_eval is not installed: make clients", allow_module_level=True)

QUESTIONS = [
    {"question": "The capital of France is", "choices": ["Paris", "Rome", "a small boat"], "answer": 0},
    {"question": "Two and two make", "choices": ["seven", "four", "a whale"], "answer": 1},
    {"question": "Water is made of hydrogen and", "choices": ["oxygen", "gold", "naïveté 你"], "answer": 0},
    {"question": "Bees make", "choices": ["cars", "wine", "honey"], "answer": 2},
]
TASK = """task: facts
dataset_path: json
dataset_kwargs: {data_files: {test: DATA}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
metric_list: [{metric: acc}]
"""


@pytest.fixture(scope="module")
def demo() -> Model:
    try:
        path = demo_qwen3_5.ensure_demo()
    except CheckpointError as error:
        pytest.skip(str(error))
    return shoestring.load(path, threads=2, context=512, parallel=4)


@pytest.fixture
def samples(demo: Model, tmp_path: Path) -> list[dict[str, Any]]:
    """The harness's record of each question, and what it asked and got for each choice."""
    from shoestring.server.http.app import create_app
    from shoestring.server.service import Service

    hugging_face.export(open_checkpoint(demo_qwen3_5.demo_path()), tmp_path / "demo", lambda done, total: None)
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(q) + "\n" for q in QUESTIONS))
    (tmp_path / "facts.yaml").write_text(TASK.replace("DATA", str(tmp_path / "data.jsonl")))
    with running(create_app(Service(demo))) as address:
        options = {
            "model": "scripted",
            "base_url": f"{address}/v1/completions",
            "tokenizer": tmp_path / "demo",
            "tokenizer_backend": "huggingface",
            "tokenized_requests": True,
            "max_length": 512,
            "num_concurrent": 2,
            "max_retries": 1,
        }
        command = [sys.executable, "-m", "lm_eval", "run", "--model", "local-completions", "--tasks", "facts"]
        command += ["--model_args", ",".join(f"{name}={value}" for name, value in options.items())]
        command += ["--include_path", tmp_path, "--output_path", tmp_path / "out", "--log_samples", "--batch_size", "2"]
        offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache")}
        result = subprocess.run(command, env={**os.environ, **offline}, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    (found,) = (tmp_path / "out").rglob("samples_facts_*.jsonl")
    return [json.loads(line) for line in found.read_text().splitlines()]


def test_the_harness_gets_the_models_log_likelihoods(demo: Model, samples: list[dict[str, Any]]) -> None:
    assert len(samples) == len(QUESTIONS)
    for sample in samples:
        question = QUESTIONS[sample["doc_id"]]
        expected = []
        for choice, asked, response in zip(
            question["choices"], sample["arguments"].values(), sample["resps"], strict=True
        ):
            context, continuation = asked["arg_0"], asked["arg_1"]
            assert (context, continuation) == (question["question"], f" {choice}")
            ids, start = demo.encode(context + continuation), len(demo.encode(context))
            rows = demo.logits(ids)[start - 1 : -1]
            expected.append(sum(log_softmax_at(row, id) for row, id in zip(rows, ids[start:], strict=True)))
            greedy = all(row.argmax() == id for row, id in zip(rows, ids[start:], strict=True))
            ((loglikelihood, is_greedy),) = response
            assert float(loglikelihood) == pytest.approx(expected[-1], abs=1e-4)
            assert str(is_greedy) == str(greedy)
        best = expected.index(max(expected))
        assert sample["acc"] == (best == question["answer"])
