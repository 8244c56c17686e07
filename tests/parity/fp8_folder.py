"""Rewrites a saved folder as FP8 repositories have it: e4m3 matrices, a scale for each 128 × 128 block.

The reference's own loader takes edge blocks for something else (shared out evenly), so it is given the
weights multiplied out.
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

#: What such repositories leave as it is.
KEPT = ("embed_tokens", "lm_head", "norm", "mlp.gate.", "shared_expert_gate", "in_proj_a", "in_proj_b", "conv1d")
BLOCK = 128


def to_fp8(folder: Path) -> Path:
    """The folder becomes FP8; returned: another that holds the products as float32."""
    wide_folder = Path(shutil.copytree(folder, folder / "multiplied-out"))
    stored: dict[str, torch.Tensor] = {}
    wide: dict[str, torch.Tensor] = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        if tensor.ndim == 2 and not any(kept in name for kept in KEPT):
            codes, scale, wide[name] = quantize(tensor)
            stored[name], stored[f"{name}_scale_inv"] = codes, scale
        else:
            wide[name] = stored[name] = tensor
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
    save_file(wide, wide_folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {
        "quant_method": "fp8",
        "fmt": "e4m3",
        "activation_scheme": "dynamic",
        "weight_block_size": [BLOCK, BLOCK],
    }
    (folder / "config.json").write_text(json.dumps(config))
    return wide_folder


def quantize(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Codes, scales, and their product."""
    rows, columns = matrix.shape
    scale = torch.empty(-(-rows // BLOCK), -(-columns // BLOCK))
    codes = torch.empty(rows, columns, dtype=torch.float8_e4m3fn)
    wide = torch.empty(rows, columns)
    for i in range(scale.shape[0]):
        for j in range(scale.shape[1]):
            at = (slice(i * BLOCK, (i + 1) * BLOCK), slice(j * BLOCK, (j + 1) * BLOCK))
            scale[i, j] = matrix[at].abs().max() / 448
            codes[at] = (matrix[at] / scale[i, j]).to(torch.float8_e4m3fn)
            wide[at] = codes[at].float() * scale[i, j]
    return codes, scale, wide
