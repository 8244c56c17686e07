"""The figures of published models, from tensors of their true shapes that take no memory."""

from pathlib import Path

import numpy as np
import pytest
from published_configs import QWEN_35B, SCOUT

from shoestring.checkpoint.config.parse import parse_config
from shoestring.checkpoint.names.bind import bind
from shoestring.checkpoint.summary import summarize
from shoestring.checkpoint.tensors import Checkpoint, Tensor
from shoestring.models.shapes import wanted_shapes

_FOLDER = Path("/models/m")
_ONE_BYTE = np.zeros(1, np.uint8)


def hollow(name: str, kind: str, *shape: int) -> Tensor:
    size = int(np.prod(shape, dtype=np.int64)) * (1 if kind == "F8_E4M3" else 2)
    data = np.lib.stride_tricks.as_strided(_ONE_BYTE, (size,), (0,), writeable=False)
    return Tensor(name, kind, shape, _FOLDER / "model.safetensors", 0, data)


def scout_tensors() -> list[Tensor]:
    h, q, kv, m, e = 5120, 5120, 1024, 8192, 16
    tensors = [
        hollow("language_model.model.embed_tokens.weight", "BF16", 202048, h),
        hollow("language_model.model.norm.weight", "BF16", h),
        hollow("language_model.lm_head.weight", "BF16", 202048, h),
    ]
    for n in range(48):
        layer = f"language_model.model.layers.{n}."
        shapes: dict[str, tuple[int, ...]] = {
            "input_layernorm.weight": (h,),
            "post_attention_layernorm.weight": (h,),
            "self_attn.q_proj.weight": (q, h),
            "self_attn.k_proj.weight": (kv, h),
            "self_attn.v_proj.weight": (kv, h),
            "self_attn.o_proj.weight": (h, q),
            "feed_forward.router.weight": (e, h),
            "feed_forward.shared_expert.gate_proj.weight": (m, h),
            "feed_forward.shared_expert.up_proj.weight": (m, h),
            "feed_forward.shared_expert.down_proj.weight": (h, m),
            "feed_forward.experts.gate_up_proj": (e, h, 2 * m),
            "feed_forward.experts.down_proj": (e, m, h),
        }
        tensors += [hollow(layer + name, "BF16", *shape) for name, shape in shapes.items()]
    return tensors


def qwen_fp8_tensors() -> list[Tensor]:
    """The 35B model as its FP8 repository has it: experts one by one, with scales."""
    h, m, key, value, heads = 2048, 512, 2048, 4096, 32
    tensors = [
        hollow("model.language_model.embed_tokens.weight", "BF16", 248320, h),
        hollow("model.language_model.norm.weight", "BF16", h),
        hollow("lm_head.weight", "BF16", 248320, h),
        hollow("model.visual.merger.norm.weight", "BF16", 1152),
        hollow("mtp.fc.weight", "BF16", h, 2 * h),
    ]
    for n in range(40):
        layer = f"model.language_model.layers.{n}."
        plain: dict[str, tuple[int, ...]] = {
            "input_layernorm.weight": (h,),
            "post_attention_layernorm.weight": (h,),
            "mlp.gate.weight": (256, h),
            "mlp.shared_expert_gate.weight": (1, h),
        }
        fp8 = {"mlp.shared_expert.gate_proj": (m, h), "mlp.shared_expert.up_proj": (m, h)}
        fp8 |= {"mlp.shared_expert.down_proj": (h, m)}
        for e in range(256):
            fp8 |= {f"mlp.experts.{e}.gate_proj": (m, h), f"mlp.experts.{e}.up_proj": (m, h)}
            fp8 |= {f"mlp.experts.{e}.down_proj": (h, m)}
        if n % 4 == 3:
            plain |= {"self_attn.q_norm.weight": (256,), "self_attn.k_norm.weight": (256,)}
            fp8 |= {"self_attn.q_proj": (8192, h), "self_attn.k_proj": (512, h), "self_attn.v_proj": (512, h)}
            fp8 |= {"self_attn.o_proj": (h, 4096)}
        else:
            plain |= {
                "linear_attn.in_proj_a.weight": (heads, h),
                "linear_attn.in_proj_b.weight": (heads, h),
                "linear_attn.conv1d.weight": (2 * key + value, 1, 4),
                "linear_attn.A_log": (heads,),
                "linear_attn.dt_bias": (heads,),
                "linear_attn.norm.weight": (128,),
            }
            fp8 |= {"linear_attn.in_proj_qkv": (2 * key + value, h), "linear_attn.in_proj_z": (value, h)}
            fp8 |= {"linear_attn.out_proj": (h, value)}
        tensors += [hollow(layer + name, "BF16", *shape) for name, shape in plain.items()]
        for name, (rows, columns) in fp8.items():
            tensors.append(hollow(f"{layer}{name}.weight", "F8_E4M3", rows, columns))
            scales = (-(-rows // 128), -(-columns // 128))
            tensors.append(hollow(f"{layer}{name}.weight_scale_inv", "BF16", *scales))
    return tensors


@pytest.mark.parametrize(
    ("metadata", "tensors", "total", "active_billions"),
    [(SCOUT, scout_tensors, 107_769_861_120, 17.2), (QWEN_35B, qwen_fp8_tensors, 34_660_610_688, 3.45)],
    ids=["scout", "qwen-35b-fp8"],
)
def test_parameters_of_published_models(metadata, tensors, total, active_billions):
    """Totals as counted from the vendors' configs; "17B" and "A3B" on the boxes, embeddings included."""
    checkpoint = Checkpoint(_FOLDER, "safetensors", {t.name: t for t in tensors()}, metadata, ())
    config = parse_config(checkpoint)
    summary = summarize(config, checkpoint, bind(config, checkpoint, wanted_shapes(config)))
    assert summary.parameters_total == total
    assert summary.parameters_active / 1e9 == pytest.approx(active_billions, rel=0.005)
    fp8 = sum(t.nbytes for t in checkpoint.tensors.values() if t.type == "F8_E4M3")
    assert summary.widened_bytes == 4 * fp8
    used = sum(t.nbytes for t in checkpoint.tensors.values()) - summary.ignored_bytes
    assert summary.total_bytes == used
