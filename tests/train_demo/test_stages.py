"""A tiny run: it can be stopped after any step and goes on to the same bits; the loss falls."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shoestring.checkpoint.formats.gguf import open_gguf
from shoestring.checkpoint.text.chat_template import ChatTemplate
from shoestring.checkpoint.text.tokenizer import Tokenizer
from shoestring.errors import CheckpointError
from shoestring.samples import smollm_as_llama4
from train_demo import checkpoint, convert, data, endtoend, layerwise, products, stages, teacher
from train_demo.checkpoint import Run
from train_demo.student import CHUNK, Parameters
from train_demo.workplace import Workplace


@pytest.fixture(scope="module")
def taught_by(whole_teacher: teacher.Teacher) -> teacher.Teacher:
    """Its first four layers: one of them is full attention in the student."""
    return dataclasses.replace(whole_teacher, layers=whole_teacher.layers[:4])


@pytest.fixture(scope="module")
def first(taught_by: teacher.Teacher) -> list[Parameters]:
    chance = torch.Generator().manual_seed(2)
    return convert.convert(taught_by, torch.randint(100, 9000, (8, CHUNK), generator=chance))


WINDOWS = np.random.default_rng(3).integers(100, 9000, (4, CHUNK)).astype(np.uint16)
ORDER = np.tile(np.arange(4), 4)


@pytest.mark.parametrize(("name", "stage"), [("layers", layerwise), ("whole", endtoend)])
def test_a_stopped_run_goes_on_to_the_same_bits(
    name: str, stage: object, taught_by: teacher.Teacher, first: list[Parameters], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(products, "can_compile", lambda: False)

    def run(folder: Path, until: int) -> Run:
        """Two windows a step; the schedule is that of three steps."""
        folder.mkdir(exist_ok=True)
        layers = [{n: value.detach().clone() for n, value in p.items()} for p in first]
        made = Run(folder, name, layers, [{} for _ in layers])
        stage.start(made)  # type: ignore[attr-defined]
        made.resume()
        original = Run.save_sometimes

        def stopped(self: Run) -> None:
            original(self)
            if self.step == until:
                self.save()
                raise KeyboardInterrupt

        monkeypatch.setattr(Run, "save_sometimes", stopped)
        try:
            stage.train(made, taught_by, data.Lesson(WINDOWS, ORDER, 2, 3), lambda *_: None)  # type: ignore[attr-defined]
        except KeyboardInterrupt:
            pass
        finally:
            monkeypatch.setattr(Run, "save_sometimes", original)
        return made

    whole = run(tmp_path / "whole", 99)
    run(tmp_path / "parts", 1)
    parts = run(tmp_path / "parts", 99)
    assert (whole.step, whole.tokens) == (parts.step, parts.tokens) == (3, 3 * 2 * CHUNK)
    for one, other in zip(whole.layers, parts.layers, strict=True):
        for key in one:
            assert torch.equal(one[key], other[key]), key
    curve = checkpoint.read_curve(tmp_path / "parts", name)
    assert curve["step"] == [1, 2, 3]
    assert curve["loss"] == checkpoint.read_curve(tmp_path / "whole", name)["loss"]
    assert curve["loss"][2] < curve["loss"][0]  # the windows of the first step again


def test_a_folder_belongs_to_one_plan(tmp_path: Path, taught_by: teacher.Teacher) -> None:
    def work(seed: int) -> Workplace:
        nothing: Any = None
        return Workplace(tmp_path, tmp_path, seed, torch.device("cpu"), taught_by, nothing, nothing)

    stages.check_plan(work(1), stages.Plan())
    stages.check_plan(work(1), stages.Plan(whole_steps=5))
    with pytest.raises(CheckpointError, match="was started with chats 2880, not 9: choose another --folder"):
        stages.check_plan(work(1), stages.Plan(chats=9))
    with pytest.raises(CheckpointError, match="was started with seed 1, not 2"):
        stages.check_plan(work(2), stages.Plan())


def test_a_run_goes_on_from_trained_weights_only(tmp_path: Path, taught_by: teacher.Teacher) -> None:
    nothing: Any = None
    work = Workplace(tmp_path, tmp_path, 1, torch.device("cpu"), taught_by, nothing, nothing)
    with pytest.raises(CheckpointError, match=r"is not a trained\.gguf: give the one"):
        stages.run(work, stages.Plan(), smollm_as_llama4.source_path())
    with pytest.raises(CheckpointError, match=r"missing\.gguf"):
        stages.run(work, stages.Plan(), tmp_path / "missing.gguf")
    assert not list(tmp_path.iterdir())


def test_chats_are_the_same_for_a_seed_and_end_where_they_should(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "LONGEST_ANSWER", 12)
    source = open_gguf(smollm_as_llama4.source_path())
    template = ChatTemplate.from_checkpoint(source, Tokenizer.from_checkpoint(source), "qwen3_5")

    def written(name: str, seed: int) -> data.Chats:
        (tmp_path / name).mkdir()
        return data.write_chats(tmp_path / name, template, ["water", "house"] * 8, seed, False, 7, lambda *_: None)

    one, again, other = written("one", 1), written("again", 1), written("other", 2)
    for field in ("tokens", "answered", "starts"):
        assert np.array_equal(getattr(one, field), getattr(again, field))
    assert not np.array_equal(one.tokens, other.tokens)
    for tokens, answered in zip(
        np.split(one.tokens, one.starts[1:]), np.split(one.answered, one.starts[1:]), strict=True
    ):
        answer = tokens[answered]
        assert 1 <= len(answer) <= 13
        assert data.END not in answer[:-1]
        assert answered[-len(answer) :].all()
        assert len(answer) == 12 or answer[-1] == data.END


def test_no_text_is_read_twice() -> None:
    plan = stages.Plan(layer_steps=3, layer_batch=4, whole_steps=5, whole_batch=8, long_steps=6, short=64, long=256)
    text = stages.Text(np.arange(40 * 256, dtype=np.uint16).reshape(40, 256), 20)  # 3 + 10 + 12 of them are read

    def lessons(plan: stages.Plan) -> tuple[data.Lesson, ...]:
        return stages.lessons(plan, text, stages.read_in_order(plan, text, 1), 1)

    layers, whole, long = lessons(plan)
    read = [lesson.at(step) for lesson in (layers, whole, long) for step in range(lesson.steps)]
    assert [part.shape for part in read] == [(4, 64)] * 3 + [(8, 64)] * 5 + [(2, 256)] * 6
    tokens = np.concatenate([part.reshape(-1) for part in read])
    assert len(set(tokens.tolist())) == len(tokens) == 25 * 256
    assert np.array_equal(whole.at(0), lessons(dataclasses.replace(plan, long_steps=9))[1].at(0))


def test_no_steps_are_an_order_too() -> None:
    assert len(data.mixed(10, 5, 4, 0, 1)) == 0
    assert sorted(data.mixed(4, 4, 4, 8, 1)) == list(range(8))
