"""Hostile tokenizer files: refused in one line with exit code 2, in little time and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import hostile_tokenizers
import pytest
import tiny_checkpoints
from hostile_tokenizers import CHANGES, HARMLESS, TEXTS
from thorough import some
from tiny_checkpoints import hugging_face_config, hugging_face_tensors, tiny, write_hugging_face

SAYS = (
    {name: CHANGES[name][1] for name in some(CHANGES, 3)}
    | {name: says for name, (_, says) in TEXTS.items()}
    | {"pipe": "a pipe", "device": "a device"}
)
Result = dict[str, Any]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    root = tmp_path_factory.mktemp("hostile")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_checkpoints, "V", 320)  # as many as the tokenizer has, and more
        model = tiny("scout")
        config, tensors = hugging_face_config(model), hugging_face_tensors(model)
    hostile_tokenizers.write(root, {*SAYS, *HARMLESS}, lambda folder: write_hugging_face(folder, config, tensors))
    lines = subprocess.run(
        [sys.executable, hostile_tokenizers.__file__, str(root)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        check=True,
        timeout=280,
    ).stdout.splitlines()
    return {result["name"]: result for result in map(json.loads, lines)}


@pytest.mark.parametrize("name", SAYS)
def test_it_is_refused_in_one_line(name: str, results: dict[str, Result]) -> None:
    healthy, result = results["healthy"], results[name]
    assert result["code"] == 2, result["error"]
    assert result["error"].startswith("error: ")
    assert result["error"].count("\n") == 1
    assert SAYS[name] in result["error"]
    assert "tokenizer.json" in result["error"]
    assert len(result["error"]) < 600
    assert result["megabytes"] < healthy["megabytes"] + 256
    assert result["seconds"] < healthy["seconds"] + 2


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_never_built_does_no_harm(name: str, results: dict[str, Result]) -> None:
    assert results[name]["code"] == 0, results[name]["error"]
    for one in (name, "healthy"):
        assert results[one]["error"].startswith("[1 prompt tokens")
        assert results[one]["error"].count("\n") == 1
