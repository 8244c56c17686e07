"""The planner's parameter counts against the classes of transformers, built without memory on torch's meta device."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
import transformers

from shoestring.catalogue.load import FOLDER, builtin_catalogue
from shoestring.planning.candidates.candidates import from_row

ROWS = list(builtin_catalogue().models.values())
CLASSES = {
    "qwen3_5": "Qwen3_5ForConditionalGeneration",
    "qwen3_5_moe": "Qwen3_5MoeForConditionalGeneration",
    "qwen3_5_moe_text": "Qwen3_5MoeForCausalLM",
    "llama4": "Llama4ForConditionalGeneration",
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_parameters_are_those_of_the_reference_class(row: Any) -> None:
    """Multi-token prediction is in no class of transformers; a vision tower that no config describes is left out."""
    metadata = json.loads((FOLDER / "configs" / row.config).read_text(encoding="utf-8"))
    config = transformers.AutoConfig.for_model(**metadata)
    with torch.device("meta"):
        model = getattr(transformers, CLASSES[metadata["model_type"]])(config)
    model.tie_weights()
    reference = sum(
        p.numel() for name, p in model.named_parameters() if not _is_vision(name) or "vision_config" in metadata
    )
    candidate = from_row(row)
    ours = sum(shape.parameters for shape in candidate.shapes if shape.part != "mtp")
    assert ours == reference


def _is_vision(name: str) -> bool:
    return any(piece in name for piece in ("visual.", "vision_model.", "multi_modal_projector."))
