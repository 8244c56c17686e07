"""State layout and parameter count give the known figures of published models."""

import dataclasses

import pytest

from shoestring.checkpoint.config.types import Config, Llama4Config, Qwen3_5Config, Rotary
from shoestring.models import llama4, qwen3_5
from shoestring.models.families import state_layout
from shoestring.models.layout import Layout
from shoestring.models.sizes import flops_per_token, parameters
from shoestring.models.state import PAGE_TOKENS, AttentionState, DeltaNetState

MIB = 2**20


def qwen(
    hidden: int,
    layers: int,
    heads: int,
    value_heads: int,
    *,
    experts: int = 0,
    chosen: int = 0,
    width: int = 0,
    dense: int = 0,
) -> Qwen3_5Config:
    """A Qwen 3.5 config with the fields that all published sizes share."""
    return Qwen3_5Config(
        vocab_size=248_320,
        hidden_size=hidden,
        num_hidden_layers=layers,
        layer_types=tuple("full_attention" if i % 4 == 3 else "linear_attention" for i in range(layers)),
        num_attention_heads=heads,
        num_key_value_heads=2,
        head_dim=256,
        rotary=Rotary(64, 1e7, sections=(11, 11, 10)),
        rms_norm_eps=1e-6,
        linear_num_key_heads=16,
        linear_num_value_heads=value_heads,
        linear_key_head_dim=128,
        linear_value_head_dim=128,
        linear_conv_kernel_dim=4,
        intermediate_size=dense,
        num_experts=experts,
        num_experts_per_tok=chosen,
        moe_intermediate_size=width,
        shared_expert_intermediate_size=width,
        tie_word_embeddings=dense > 0,
        max_position_embeddings=262_144,
        mtp_num_hidden_layers=1,
        value_head_order="grouped",
    )


def llama(experts: int, every: int) -> Llama4Config:
    """Scout (16 experts, every layer) or Maverick (128, every second)."""
    rope = tuple(i % 4 != 3 for i in range(48))
    return Llama4Config(
        vocab_size=202_048,
        hidden_size=5120,
        num_hidden_layers=48,
        num_attention_heads=40,
        num_key_value_heads=8,
        head_dim=128,
        rotary=Rotary(128, 5e5),
        rms_norm_eps=1e-5,
        rope_layers=rope,
        chunked_layers=rope,
        attention_chunk_size=8192,
        moe_layers=tuple(i % every == every - 1 for i in range(48)),
        use_qk_norm=True,
        attn_temperature_tuning=True,
        floor_scale=8192,
        attn_scale=0.1,
        intermediate_size_mlp=16_384,
        intermediate_size=8192,
        num_local_experts=experts,
        num_experts_per_tok=1,
        tie_word_embeddings=False,
        max_position_embeddings=10_485_760,
    )


QWEN_397B = qwen(4096, 60, 32, 64, experts=512, chosen=10, width=1024)
QWEN_122B = qwen(3072, 48, 32, 64, experts=256, chosen=8, width=1024)
QWEN_35B = qwen(2048, 40, 16, 32, experts=256, chosen=8, width=512)
QWEN_08B = qwen(1024, 24, 8, 16, dense=3584)
SCOUT = llama(16, 1)
MAVERICK = llama(128, 2)


@pytest.mark.parametrize(
    ("config", "total", "active"),
    [
        (QWEN_397B, 396_346_350_336, 16.33e9),
        (QWEN_122B, 122_111_526_912, 9.01e9),
        (QWEN_35B, 34_660_610_688, 2.95e9),
        (QWEN_08B, 752_393_024, 0.75e9),
        (SCOUT, 107_769_861_120, 16.1e9),
    ],
    ids=["397B", "122B", "35B", "0.8B", "Scout"],
)
def test_parameters(config: Config, total: int, active: float) -> None:
    counted = parameters(config)
    assert counted.total == total
    assert counted.active == pytest.approx(active, rel=5e-3)


@pytest.mark.parametrize(
    ("config", "bytes_per_token"),
    [(QWEN_397B, 30_720), (QWEN_122B, 24_576), (QWEN_35B, 20_480), (QWEN_08B, 12_288), (SCOUT, 49_152)],
    ids=["397B", "122B", "35B", "0.8B", "Scout"],
)
def test_bytes_of_a_token(config: Config, bytes_per_token: int) -> None:
    assert Layout(state_layout(config)).bytes_per_token("f16") == bytes_per_token
    assert Layout(state_layout(config)).bytes_per_token("f32") == 2 * bytes_per_token


@pytest.mark.parametrize(
    ("config", "memory_mib", "convolution_mib"),
    [(QWEN_397B, 180, 6.3), (QWEN_122B, 144, 5.1), (QWEN_35B, 60, 2.8), (QWEN_08B, 18, 1.3)],
    ids=["397B", "122B", "35B", "0.8B"],
)
def test_recurrent_state(config: Qwen3_5Config, memory_mib: int, convolution_mib: float) -> None:
    linear = [layer for layer in qwen3_5.state_layout(config) if isinstance(layer, DeltaNetState)]
    assert len(linear) == config.num_hidden_layers * 3 // 4
    memory = sum(4 * layer.memory[0] * layer.memory[1] * layer.memory[2] for layer in linear)
    assert memory == memory_mib * MIB
    everything = sum(layer.bytes_per_sequence() for layer in linear)
    assert (everything - memory) / MIB == pytest.approx(convolution_mib, abs=0.051)


def test_chunked_layers_stay_bounded() -> None:
    """Scout at its full context: 36 chunked layers never need more than 1.125 GiB, 12 global layers grow."""
    layout = Layout(llama4.state_layout(SCOUT))
    chunked = [layer for layer in layout.layers if isinstance(layer, AttentionState) and layer.chunk_size]
    assert len(chunked) == 36
    bounds = {sum(layer.pages(n) * layer.bytes_per_page("f16") for layer in chunked) for n in (8192, 10_485_760)}
    assert bounds == {1.125 * 2**30}
    growth = layout.sequence_bytes(10_485_760, "f16") - layout.sequence_bytes(8192, "f16")
    assert growth == (10_485_760 - 8192) * 49_152


def test_a_sequence_is_counted_in_whole_pages() -> None:
    layout = Layout(qwen3_5.state_layout(QWEN_08B))
    recurrent = layout.sequence_bytes(0, "f16")
    assert recurrent == sum(layer.bytes_per_sequence() for layer in layout.layers if isinstance(layer, DeltaNetState))
    assert layout.sequence_bytes(1, "f16") == recurrent + PAGE_TOKENS * 12_288
    assert layout.sequence_bytes(PAGE_TOKENS, "f16") == layout.sequence_bytes(1, "f16")
    assert layout.sequence_bytes(PAGE_TOKENS + 1, "f16") == recurrent + 2 * PAGE_TOKENS * 12_288


def test_maverick_alternates() -> None:
    assert [layer.layer for layer in llama4.expert_layers(MAVERICK)] == list(range(1, 48, 2))
    assert parameters(MAVERICK).total == pytest.approx(400e9, rel=0.01)


def test_flops_follow_what_is_attended_to() -> None:
    matrices = 2 * parameters(SCOUT).active
    at_chunk, beyond = flops_per_token(SCOUT, 8192), flops_per_token(SCOUT, 16_384)
    assert at_chunk - matrices == 4 * 48 * 5120 * 8192
    assert beyond - at_chunk == 4 * 12 * 5120 * 8192


@pytest.mark.parametrize(("order", "expected"), [("grouped", [0, 0, 1, 1, 2, 2]), ("tiled", [0, 1, 2, 0, 1, 2])])
def test_key_head_of_a_value_head(order: str, expected: list[int]) -> None:
    config = dataclasses.replace(
        QWEN_08B,
        linear_num_key_heads=3,
        linear_num_value_heads=6,
        value_head_order=order,  # type: ignore[arg-type]
    )
    assert qwen3_5.key_head_index(config).tolist() == expected
