"""Memory is that of the shapes, to the byte; state is what the engine allocates; placing loses nothing."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shoestring.catalogue.load import builtin_catalogue
from shoestring.engine.pools import allocate_state
from shoestring.models.families import state_layout
from shoestring.models.layout import Layout
from shoestring.models.shapes import wanted_shapes
from shoestring.models.sizes import parameters
from shoestring.models.state import AttentionPages
from shoestring.planning.candidates.candidates import Candidate, from_row
from shoestring.planning.candidates.formats import BLOCKS, TYPES, bits, gguf_type, sizes, tensor_bytes
from shoestring.planning.candidates.resolve import resolve
from shoestring.planning.candidates.shapes import mtp_shapes, text_shapes, vision_shapes
from shoestring.planning.hardware.machine import Hardware
from shoestring.planning.hardware.parse import parse_hardware
from shoestring.planning.memory import UNUSED, Fit, choose, context_limit, need, place
from shoestring.samples.synthetic import synthetic_bytes

CATALOGUE = builtin_catalogue()
CANDIDATES = [from_row(row) for row in CATALOGUE.models.values()]
QWEN, SCOUT, SMALL = (resolve(name, CATALOGUE) for name in ("qwen3.5", "scout", "qwen3.5:0.8b"))
H100, MAC = CATALOGUE.devices["h100"], CATALOGUE.devices["mac-m3-max"]
GIB = 2**30


def count(shapes: object) -> int:
    return sum(shape.parameters for shape in shapes)  # type: ignore[attr-defined]


# --- parameters ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "total"),
    [
        ("qwen3.5:397b-a17b", 403_397_928_944),
        ("scout", 108_641_793_536),
        ("maverick", 401_583_781_376),
        ("qwen3.5:0.8b", 873_438_784),
    ],
)
def test_totals_are_those_of_the_published_tensors(name: str, total: int) -> None:
    assert resolve(name, CATALOGUE).total == total


@pytest.mark.parametrize(
    ("name", "mtp", "vision"),
    [
        ("qwen3.5:397b-a17b", 6_595_568_128, 456_010_480),
        ("qwen3.5:122b-a10b", 2_523_679_232, 451_290_864),
        ("qwen3.5:35b-a3b", 844_640_768, 446_571_248),
        ("qwen3.5:0.8b", 20_452_864, 100_592_896),
    ],
)
def test_multi_token_prediction_and_vision(name: str, mtp: int, vision: int) -> None:
    shapes = Counter[str]()
    for shape in resolve(name, CATALOGUE).shapes:
        shapes[shape.part] += shape.parameters
    assert shapes["mtp"] == mtp
    assert shapes["vision"] == vision


@pytest.mark.parametrize(("name", "millions"), [("0.8b", 87.4), ("2b", 305.5), ("4b", 305.5), ("9b", 415.0)])
def test_towers_are_as_large_as_timm_counts_them(name: str, millions: float) -> None:
    """timm leaves the projector out and folds the two frames of a patch into one."""
    tower = [s for s in resolve(f"qwen3.5:{name}", CATALOGUE).shapes if s.part == "vision"]
    frames = next(s for s in tower if s.role == "patch_embedding").parameters // 2
    counted = sum(s.parameters for s in tower if not s.role.startswith("merger")) - frames
    assert round(counted / 1e6, 1) == millions


@pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda c: c.id)
def test_text_is_what_the_engine_binds(candidate: Candidate) -> None:
    wanted = sum(shape.rows * shape.columns * shape.count for shape in wanted_shapes(candidate.config).values())
    assert count(text_shapes(candidate.config)) == wanted
    assert parameters(candidate.config).total == candidate.text.total == wanted


def test_a_model_without_the_parts_has_none() -> None:
    assert mtp_shapes(SCOUT.config) == ()
    assert vision_shapes({"model_type": "qwen3_5"}) == ()


# --- types -----------------------------------------------------------------------------------------------------


def test_block_formats_are_those_of_the_gguf_package() -> None:
    gguf = pytest.importorskip("gguf")
    for name, block in BLOCKS.items():
        assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]] == block, name


def test_sixteen_bits_are_two_bytes_a_parameter() -> None:
    for candidate in CANDIDATES:
        assert sizes(candidate.shapes, "BF16", candidate.config.num_hidden_layers).total == 2 * candidate.total


@pytest.mark.parametrize(
    ("name", "gigabytes"), [("qwen3.5:397b-a17b", 406.2), ("qwen3.6:35b-a3b", 37.5), ("qwen3.6:27b", 30.9)]
)
def test_published_fp8_sizes(name: str, gigabytes: float) -> None:
    """What the Hub lists for the vendors' FP8 repositories."""
    assert need(resolve(name, CATALOGUE), "FP8", 1, 1).sizes.total / 1e9 == pytest.approx(gigabytes, abs=0.051)


@pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda c: c.id)
def test_gguf_types_are_those_of_the_writer(candidate: Candidate) -> None:
    """The writer of GGUF files follows llama-quantize tensor by tensor; llama4 files also hold rope_freqs."""
    layers = candidate.config.num_hidden_layers
    divisors = 4 * candidate.config.rotary.dims // 2 if candidate.config.rotary.scaling == "llama3" else 0
    for name in ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0"):
        ours = sizes(text_shapes(candidate.config), name, layers).total
        assert ours + divisors == synthetic_bytes(candidate.config, name), name


def test_scout_at_four_bits_needs_more_than_48_gb() -> None:
    for name in ("GPTQ", "Q4_K_M", "Q4_0", "IQ4_XS"):
        assert need(SCOUT, name, 1, 1).weights_bytes > 48e9


@pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda c: c.id)
def test_fewer_bits_are_fewer_bytes(candidate: Candidate) -> None:
    layers = candidate.config.num_hidden_layers
    order = [
        "BF16",
        "Q8_0",
        "Q6_K",
        "Q5_K_M",
        "Q4_K_M",
        "Q4_0",
        "IQ4_XS",
        "Q3_K",
        "IQ3_XXS",
        "Q2_K",
        "IQ2_XXS",
        "IQ1_M",
    ]
    totals = [sizes(candidate.shapes, name, layers).total for name in order]
    assert totals == sorted(totals, reverse=True)
    for name in TYPES:
        for shape in candidate.shapes:
            assert tensor_bytes(shape, name, layers, tied=False) > 0
            # Nothing is stored in fewer bits than the type's bulk.
            assert 8 * tensor_bytes(shape, name, layers, tied=False) >= bits(name) * shape.rows * shape.columns * 0.99


def test_what_is_sensitive_keeps_more_bits() -> None:
    layers = SCOUT.config.num_hidden_layers
    for shape in SCOUT.shapes:
        kept = gguf_type(shape, "IQ1_M", layers, tied=False)
        if shape.part == "routed_experts":
            assert kept == "IQ1_M"
        elif shape.matrix:
            assert bits(kept) >= 4


# --- state -----------------------------------------------------------------------------------------------------


def test_figures_of_a_sequence() -> None:
    qwen, scout = need(QWEN, "FP8", 2**20, 1), need(SCOUT, "FP8", 2**20, 1)
    assert qwen.kv_bytes_per_token == 30_720
    assert qwen.state_bytes_per_sequence / 2**20 == pytest.approx(186.3, abs=0.05)
    assert qwen.chunked_kv_bytes == 0
    assert scout.kv_bytes_per_token == 49_152
    assert scout.chunked_kv_bytes == 1.125 * GIB
    assert scout.state_bytes_per_sequence == 0


@pytest.mark.parametrize("candidate", [SMALL, SCOUT, resolve("qwen3.5:35b-a3b", CATALOGUE)], ids=lambda c: c.id)
@pytest.mark.parametrize("kv_type", ["f16", "f32", "q8_0"])
@pytest.mark.parametrize("context", [1, 64, 1000, 8192, 9000])
def test_state_is_what_the_engine_allocates(candidate: Candidate, kv_type: str, context: int) -> None:
    layout = Layout(state_layout(candidate.config))
    state = allocate_state(layout, layout.demand(context), kv_type)  # type: ignore[arg-type]
    arrays: list[np.ndarray] = []
    for layer in state.layers:
        arrays += [layer.keys, layer.values] if isinstance(layer, AttentionPages) else [layer.convolution, layer.memory]
    n = need(candidate, "Q4_K_M", context, 1, kv_type)  # type: ignore[arg-type]
    assert n.sequence_bytes == sum(array.nbytes for array in arrays)


# --- placing ---------------------------------------------------------------------------------------------------


def machine(gpus: int = 0, ram: float = 0, disk: float = 0, gpu_gib: int = 80) -> Hardware:
    return Hardware(
        "test",
        replace(H100, memory_bytes=gpu_gib * GIB) if gpus else None,
        gpus,
        int(ram * GIB),
        100e9,
        8,
        1e12,
        disk,
        0,
        disk > 0,
    )


machines = st.builds(
    machine,
    st.integers(0, 16),
    st.floats(0, 2000),
    st.sampled_from([0.0, 7e9]),
    st.sampled_from([8, 24, 32, 80, 141]),
)
types = st.sampled_from(TYPES)
BY_ID = {candidate.id: candidate for candidate in CANDIDATES}
candidates = st.sampled_from(sorted(BY_ID))
contexts = st.sampled_from([1, 8192, 131_072, 262_144])


@settings(deadline=None, max_examples=80)
@given(candidates, types, contexts, st.integers(1, 8), machines)
@example("llama-4-maverick", "BF16", 1, 1, machine(1, 17.0, 7e9, 32))
@example("llama-4-maverick", "BF16", 1, 1, machine(1, 3.0, 7e9, 32))
def test_placing_loses_and_invents_nothing(id: str, type_: str, context: int, users: int, m: Hardware) -> None:
    candidate = BY_ID[id]
    n = need(candidate, type_, context, users)
    p = place(n, m)
    if p.fit == "no":
        assert p.missing > 0
        return
    held = sum(sum(sizes.values()) for sizes in (p.gpu, p.ram, p.disk)) - n.sizes.of(*UNUSED)
    assert held == pytest.approx(n.total_bytes, abs=len(p.gpu) + len(p.ram))
    assert sum(p.gpu.values()) <= m.gpu_usable
    assert sum(p.ram.values()) <= m.ram_usable
    assert p.free >= 0
    assert 0 <= p.expert_layers_in_ram <= candidate.config.num_hidden_layers


@settings(deadline=None, max_examples=80)
@given(candidates, st.one_of(st.none(), types), contexts, machines, st.integers(0, 8), st.floats(0, 500))
@example("llama-4-maverick", "BF16", 1, machine(1, 0.0, 7e9, 8), 3, 0.0)
def test_more_memory_never_makes_the_fit_worse(
    id: str, type_: str | None, context: int, m: Hardware, gpus: int, ram: float
) -> None:
    candidate = BY_ID[id]
    larger = replace(m, gpus=m.gpus + gpus if m.gpu else 0, ram_bytes=m.ram_bytes + int(ram * GIB))
    _, before = choose(candidate, m, context, 1, type_)
    _, after = choose(candidate, larger, context, 1, type_)
    in_memory = {"gpu": 0, "gpu+ram": 0, "ram": 0, "disk": 1, "no": 2}
    assert in_memory[after.fit] <= in_memory[before.fit]
    if type_ is not None:
        assert get_args(Fit).index(after.fit) <= get_args(Fit).index(before.fit)


@settings(deadline=None, max_examples=100)
@given(candidates, contexts, st.integers(1, 32), st.integers(0, 10**12))
def test_the_longest_context_is_the_longest(id: str, context: int, users: int, free: int) -> None:
    candidate = BY_ID[id]
    n = need(candidate, "Q4_K_M", context, users)
    longest = n.longest_context(free)
    assert 0 <= longest <= context_limit(candidate)
    if longest:
        assert need(candidate, "Q4_K_M", longest, users).sequences_bytes <= free
    if longest < context_limit(candidate):
        assert need(candidate, "Q4_K_M", longest + 1, users).sequences_bytes > free


def test_experts_in_ram_are_as_few_as_the_gpu_allows() -> None:
    """-ncmoe N: with one layer more on the GPU it would no longer fit."""
    m = machine(1, 128, gpu_gib=32)
    n = need(SCOUT, "Q4_K_M", 8192, 1)
    p = place(n, m)
    assert p.fit == "gpu+ram"
    per_layer = n.routed_bytes / SCOUT.config.num_hidden_layers
    assert sum(p.gpu.values()) <= m.gpu_usable < sum(p.gpu.values()) + per_layer
    assert p.expert_layers_in_ram == SCOUT.config.num_hidden_layers - round(p.gpu["routed_experts"] / per_layer)


def test_maverick_counts_its_dense_layers_for_ncmoe() -> None:
    """Every second layer routes; llama.cpp counts layers, not mixtures."""
    maverick = resolve("maverick", CATALOGUE)
    p = place(need(maverick, "Q4_K_M", 8192, 1), machine(1, 512, gpu_gib=80))
    on_gpu = p.gpu["routed_experts"] / need(maverick, "Q4_K_M", 8192, 1).routed_bytes
    routing = maverick.config.num_hidden_layers // 2
    assert p.expert_layers_in_ram == 2 * (routing - math.floor(on_gpu * routing + 1e-6))


def test_eight_h100_hold_qwen_in_eight_bits_and_not_in_sixteen() -> None:
    m = parse_hardware("8xh100", CATALOGUE)
    assert place(need(QWEN, "FP8", 8192, 1), m).fit == "gpu"
    assert place(need(QWEN, "BF16", 8192, 1), m).fit == "no"


def test_only_gguf_engines_split() -> None:
    assert place(need(SCOUT, "GPTQ", 8192, 1), machine(1, 512, gpu_gib=32)).fit == "no"
    assert place(need(SCOUT, "FP8", 8192, 1), machine(0, 512)).fit == "no"


def test_without_a_disk_nothing_streams() -> None:
    assert place(need(QWEN, "Q6_K", 8192, 1), machine(0, 64)).fit == "no"
    streamed = place(need(QWEN, "Q6_K", 8192, 1), machine(0, 64, 7e9))
    assert streamed.fit == "disk"
    assert set(streamed.disk) == {"routed_experts", "mtp"}
