"""Everything here needs torch, which is no part of the test tools: without it these tests are skipped."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="torch, of the group train, is not installed")

import torch

from shoestring.checkpoint.formats.gguf import open_gguf
from shoestring.errors import CheckpointError
from shoestring.samples import smollm_as_llama4
from train_demo.teacher import Teacher, read_teacher


@pytest.fixture(scope="session")
def whole_teacher() -> Teacher:
    try:
        return read_teacher(open_gguf(smollm_as_llama4.source_path()), torch.device("cpu"))
    except CheckpointError as error:
        pytest.skip(str(error))
