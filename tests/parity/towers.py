"""A random vision tower built by `transformers`, saved, opened by us; their rows and ours side by side."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tiny_models
import torch
import transformers
from transformers.models.llama4.modeling_llama4 import Llama4MultiModalProjector, Llama4VisionModel
from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5VisionModel

from shoestring.checkpoint.config.vision import parse_vision_config
from shoestring.checkpoint.config.vision_types import VisionConfig
from shoestring.checkpoint.names.regions import Binding
from shoestring.checkpoint.names.vision import bind_vision
from shoestring.checkpoint.open import open_checkpoint
from shoestring.models.towers import wanted_shapes

Float32 = npt.NDArray[np.float32]

transformers.logging.set_verbosity_error()

PLAIN = {"attn_implementation": "eager"}
#: The real widths of heads, rows and patches; fewer layers, and narrower feed-forwards than the real ones.
QWEN_72 = {"depth": 2, "hidden_size": 1152, "num_heads": 16, "intermediate_size": 1076, "out_hidden_size": 320}
QWEN_64 = {"depth": 2, "hidden_size": 768, "num_heads": 12, "intermediate_size": 3072, "out_hidden_size": 256}
LLAMA_88: dict[str, Any] = {
    "num_hidden_layers": 2, "hidden_size": 1408, "num_attention_heads": 16, "intermediate_size": 5632,
    "image_size": 336, "patch_size": 14, "vision_output_dim": 512, "projector_input_dim": 512,
    "projector_output_dim": 512, "norm_eps": 1e-5,
}  # fmt: skip


@dataclass(frozen=True)
class Tower:
    """theirs: of patches and a grid, or of tiles, the rows of the text model in float64 arithmetic."""

    config: VisionConfig
    binding: Binding
    module: torch.nn.Module
    projector: torch.nn.Module | None = None

    def theirs(self, pixels: Float32, grid: list[list[int]] | None = None) -> npt.NDArray[np.float64]:
        with torch.no_grad():
            values = torch.from_numpy(pixels).double()
            if self.projector is None:
                rows = self.module(values, grid_thw=torch.tensor(grid)).pooler_output
            else:
                hidden = self.module(values).last_hidden_state
                rows = self.projector(hidden.reshape(-1, hidden.shape[-1]))
        return rows.numpy()  # type: ignore[no-any-return]


def randomize(module: torch.nn.Module, seed: int) -> None:
    """Weights under which nothing vanishes: deviation 1.2 / sqrt(inner), norms around 1, biases and tables of size."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in module.named_parameters():
            norm = "norm" in name and name.endswith("weight")
            inner = p[0].numel() if p.ndim > 1 and "pos" not in name else 0
            deviation = 0.2 if norm else 1.2 * inner**-0.5 if inner else 0.5
            p.copy_(float(norm) + deviation * torch.randn(p.shape, generator=generator))


@cache
def qwen(folder: Path, sizes: tuple[tuple[str, int], ...]) -> Tower:
    config = transformers.AutoConfig.for_model("qwen3_5").vision_config
    for key, value in sizes:
        setattr(config, key, value)
    config._attn_implementation = "eager"
    module = Qwen3_5VisionModel(config)
    randomize(module, 22)
    tensors = {f"model.visual.{name}": p.detach().numpy() for name, p in module.named_parameters()}
    text = {"hidden_size": config.out_hidden_size}
    return saved(folder, "qwen3_5", config.to_dict(), text, tensors, module)


@cache
def llama(folder: Path, sizes: tuple[tuple[str, Any], ...]) -> Tower:
    vision = dict(sizes)
    config = transformers.AutoConfig.for_model("llama4", vision_config=vision)
    config.text_config.hidden_size = 320
    config.vision_config._attn_implementation = "eager"
    module, projector = Llama4VisionModel(config.vision_config), Llama4MultiModalProjector(config)
    randomize(module, 4)
    randomize(projector, 5)
    tensors = {f"vision_model.{name}": p.detach().numpy() for name, p in module.named_parameters()}
    tensors |= {f"multi_modal_projector.{name}": p.detach().numpy() for name, p in projector.named_parameters()}
    return saved(folder, "llama4", config.vision_config.to_dict(), {"hidden_size": 320}, tensors, module, projector)


def saved(
    folder: Path,
    kind: str,
    vision: dict[str, Any],
    text: dict[str, Any],
    tensors: dict[str, Any],
    module: torch.nn.Module,
    projector: torch.nn.Module | None = None,
) -> Tower:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": kind, "text_config": text, "vision_config": vision}))
    tiny_models.write_safetensors(folder / "model.safetensors", tensors)
    checkpoint = open_checkpoint(folder)
    ours = parse_vision_config(checkpoint)
    assert ours is not None
    binding = bind_vision(ours, checkpoint, wanted_shapes(ours))
    return Tower(ours, binding, module.double().eval(), None if projector is None else projector.double().eval())
