"""demo-qwen3.5: what is frozen is moved and not changed, what was trained arrives, and nothing depends on a library."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors import serialize_file

from shoestring.checkpoint.config.parse import parse_config
from shoestring.checkpoint.config.types import Qwen3_5Config
from shoestring.checkpoint.formats.gguf import open_gguf
from shoestring.checkpoint.formats.gguf_write import OutgoingTensor, write_gguf
from shoestring.checkpoint.names.bind import bind
from shoestring.checkpoint.open import open_checkpoint
from shoestring.checkpoint.tensors import Checkpoint
from shoestring.errors import CapacityError, CheckpointError, RequestError, ShoestringError
from shoestring.models.shapes import wanted_shapes
from shoestring.reference.dequantize import q4_1, q5_0, q8_0
from shoestring.samples import demo_qwen3_5, smollm_as_llama4
from shoestring.samples.demo_qwen3_5 import hugging_face, layout
from shoestring.samples.demo_qwen3_5.blocks import doubled_q4_1, to_q5_0, to_q8_0
from shoestring.samples.demo_qwen3_5.join import join, numbers, product

Float32 = np.ndarray[tuple[int, ...], np.dtype[np.float32]]

blocks = arrays.arrays(
    np.float32, (4, 32), elements=st.floats(-100, 100, width=32).filter(lambda x: x == 0 or abs(x) > 1e-3)
)


# --- blocks ----------------------------------------------------------------------------------------------------


@given(blocks)
def test_q8_0_is_near_and_as_the_gguf_package_has_it(values: Float32) -> None:
    ours = q8_0(to_q8_0(values))
    step = np.abs(values).max(axis=1, keepdims=True) / 127
    assert (np.abs(ours - values) <= 0.51 * step + np.abs(ours) / 1024).all()
    theirs = gguf.quants.dequantize(
        gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0), gguf.GGMLQuantizationType.Q8_0
    )
    assert np.square(ours - values).sum() <= np.square(theirs - values).sum() * 1.05 + 1e-6


@given(blocks)
def test_q5_0_is_near_and_as_the_gguf_package_has_it(values: Float32) -> None:
    kind = gguf.GGMLQuantizationType.Q5_0
    theirs = gguf.quants.dequantize(gguf.quants.quantize(values, kind), kind)
    ours = q5_0(to_q5_0(values))
    step = np.abs(values).max(axis=1, keepdims=True) / 16
    assert (np.abs(ours - values) <= 1.01 * step).all()
    one_sided = values.max(axis=1) != -values.min(axis=1)  # else either end may be the widest
    assert np.square(ours - values)[one_sided].sum() <= np.square(theirs - values)[one_sided].sum() * 1.02 + 1e-6


def test_a_block_of_zeros_stays_one() -> None:
    zeros = np.zeros((1, 32), np.float32)
    assert not q8_0(to_q8_0(zeros)).any()
    assert not q5_0(to_q5_0(zeros)).any()


def test_doubling_is_exact() -> None:
    chance = np.random.default_rng(0)
    stored = chance.integers(0, 256, (64, 20), np.uint8)
    stored[:, :4] = chance.normal(0, 1, (64, 2)).astype(np.float16).view(np.uint8)
    assert np.array_equal(q4_1(doubled_q4_1(stored)), 2 * q4_1(stored))


@settings(max_examples=20)
@given(st.integers(0, 100))
def test_the_product_is_the_sum_in_order(seed: int) -> None:
    chance = np.random.default_rng(seed)
    outer, inner = chance.normal(size=(8, 5)).astype(np.float32), chance.normal(size=(8, 7)).astype(np.float32)
    total = np.zeros((5, 7), np.float32)
    for r in range(8):
        for i in range(5):
            for j in range(7):
                total[i, j] = np.float32(total[i, j] + np.float32(outer[r, i] * inner[r, j]))
    assert np.array_equal(product(outer, inner), total)


# --- the join --------------------------------------------------------------------------------------------------


def trained_tensors(chance: np.random.Generator) -> Iterator[OutgoingTensor]:
    """Random numbers under every name of a trained file, as small as weights are."""
    H, D, E, r = layout.HIDDEN, layout.HEAD_DIM, layout.EXPERTS, layout.RANK
    N, KV, W = layout.HEADS, layout.KV_HEADS, layout.HEADS * layout.HEAD_DIM

    def tensor(name: str, kind: str, *shape: int, around: float = 0.0) -> OutgoingTensor:
        values = (around + 0.02 * chance.normal(size=shape)).astype(np.float32)
        data = {"F32": lambda v: v.view(np.uint8), "Q8_0": to_q8_0, "Q5_0": to_q5_0}[kind](values)
        return OutgoingTensor(name, kind, shape, lambda: [data])

    for n in range(layout.LAYERS):
        b = f"blk.{n}."
        yield tensor(b + "attn_norm.weight", "F32", H, around=1)
        yield tensor(b + "post_attention_norm.weight", "F32", H, around=1)
        yield tensor(b + "ffn_gate_inp.weight", "F32", E, H)
        yield tensor(b + "ffn_gate_inp_shexp.weight", "F32", H)
        yield tensor(b + "experts.gate_up_in", "Q5_0", 2 * E * r, H)
        yield tensor(b + "experts.gate_up_out", "Q5_0", 2 * E * r, layout.ROUTED)
        yield tensor(b + "experts.down_in", "Q5_0", E * r, layout.ROUTED)
        yield tensor(b + "experts.down_out", "Q5_0", E * r, H)
        if n in layout.FULL_LAYERS:
            yield tensor(b + "attn_query", "Q8_0", N * layout.USED, H)
            yield tensor(b + "attn_query_gate", "Q8_0", W, H)
            yield tensor(b + "attn_key", "Q8_0", KV * layout.USED, H)
            yield tensor(b + "attn_value", "Q8_0", KV * D, H)
            yield tensor(b + "attn_output", "Q8_0", H, W)
            yield tensor(b + "attn_q_norm.weight", "F32", layout.WIDE, around=1)
            yield tensor(b + "attn_k_norm.weight", "F32", layout.WIDE, around=1)
        else:
            yield tensor(b + "attn_qkv.weight", "Q5_0", 3 * W, H)
            yield tensor(b + "attn_gate.weight", "Q5_0", W, H)
            yield tensor(b + "ssm_out.weight", "Q5_0", H, W)
            yield tensor(b + "ssm_alpha.weight", "Q8_0", N, H)
            yield tensor(b + "ssm_beta.weight", "Q8_0", N, H)
            yield tensor(b + "ssm_conv1d.weight", "F32", 3 * W, layout.CONVOLUTION)
            yield tensor(b + "ssm_a", "F32", N, around=-0.1)
            yield tensor(b + "ssm_dt.bias", "F32", N)
            yield tensor(b + "ssm_norm.weight", "F32", D, around=1)


@pytest.fixture(scope="module")
def source() -> Checkpoint:
    try:
        return open_gguf(smollm_as_llama4.source_path())
    except CheckpointError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    path = tmp_path_factory.mktemp("trained") / "trained.gguf"
    write_gguf(path, {"general.architecture": "none"}, list(trained_tensors(np.random.default_rng(1))))
    return open_gguf(path)


@pytest.fixture(scope="module")
def joined(source: Checkpoint, trained: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkpoint]:
    path = tmp_path_factory.mktemp("joined") / "joined.gguf"
    join(source, trained, path)
    yield open_checkpoint(path)
    path.unlink()


def test_every_tensor_is_bound(joined: Checkpoint) -> None:
    config = parse_config(joined)
    assert isinstance(config, Qwen3_5Config)
    assert config.layer_types.count("full_attention") == 7
    assert (config.num_experts, config.num_experts_per_tok, config.rotary.dims) == (4, 2, 64)
    assert bind(config, joined, wanted_shapes(config)).ignored == ()


def test_what_is_frozen_is_moved(source: Checkpoint, joined: Checkpoint) -> None:
    for name in ("token_embd.weight", "output_norm.weight"):
        assert np.array_equal(source.tensors[name].data, joined.tensors[name].data)
    old, new = source.tensors["blk.7.ffn_up.weight"], joined.tensors["blk.7.ffn_up_shexp.weight"]
    assert np.array_equal(numbers(old)[: layout.SHARED], numbers(new))
    old, new = source.tensors["blk.7.ffn_down.weight"], joined.tensors["blk.7.ffn_down_shexp.weight"]
    assert np.array_equal(2 * numbers(old)[:, : layout.SHARED], numbers(new))
    for key in ("tokenizer.ggml.tokens", "tokenizer.chat_template", "general.license"):
        assert joined.metadata[key] == source.metadata[key]


def test_experts_differ_by_what_was_trained(source: Checkpoint, trained: Checkpoint, joined: Checkpoint) -> None:
    base = numbers(source.tensors["blk.4.ffn_up.weight"])[layout.SHARED :]
    inner = numbers(trained.tensors["blk.4.experts.gate_up_in"]).reshape(2, 4, 8, -1)
    outer = numbers(trained.tensors["blk.4.experts.gate_up_out"]).reshape(2, 4, 8, -1)
    experts = numbers(joined.tensors["blk.4.ffn_up_exps.weight"])
    for expert in range(4):
        wanted = base + outer[1, expert].T @ inner[1, expert]
        assert np.abs(experts[expert] - wanted).max() <= np.abs(wanted).max() / 127
    assert not np.array_equal(experts[0], experts[1])


def test_head_dims_are_put_back_as_zeros(trained: Checkpoint, joined: Checkpoint) -> None:
    both = numbers(joined.tensors["blk.3.attn_q.weight"]).reshape(layout.HEADS, 2, layout.WIDE, -1)
    query = numbers(trained.tensors["blk.3.attn_query"]).reshape(layout.HEADS, layout.USED, -1)
    gate = numbers(trained.tensors["blk.3.attn_query_gate"]).reshape(layout.HEADS, layout.HEAD_DIM, -1)
    assert np.array_equal(both[:, 0, : layout.USED], query)
    assert np.array_equal(both[:, 1, : layout.HEAD_DIM], gate)
    assert not both[:, 0, layout.USED :].any()
    assert not both[:, 1, layout.HEAD_DIM :].any()
    output = numbers(joined.tensors["blk.3.attn_output.weight"]).reshape(-1, layout.HEADS, layout.WIDE)
    assert not output[:, :, layout.HEAD_DIM :].any()


def test_a_second_join_writes_the_same_bytes(
    source: Checkpoint, trained: Checkpoint, joined: Checkpoint, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    join(source, trained, tmp_path / "again.gguf", lambda done, total: seen.append((done, total)))
    assert filecmp.cmp(tmp_path / "again.gguf", joined.path, shallow=False)
    assert seen[-1][0] == seen[-1][1] == joined.path.stat().st_size


def test_another_source_is_refused(source: Checkpoint, trained: Checkpoint, tmp_path: Path) -> None:
    other = Checkpoint(
        source.path, source.format, source.tensors, {**source.metadata, "llama.block_count": 32}, source.files
    )
    with pytest.raises(CheckpointError, match=r"llama\.block_count is 32, not 30"):
        join(other, trained, tmp_path / "demo.gguf")
    assert list(tmp_path.iterdir()) == []


def test_without_trained_weights_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_qwen3_5, "demo_path", lambda: tmp_path / "demo.gguf")
    monkeypatch.setattr(demo_qwen3_5, "trained_path", lambda: tmp_path / "trained.gguf")
    with pytest.raises(CheckpointError, match="no trained weights in this installation: use demo-llama4"):
        demo_qwen3_5.ensure_demo()


# --- as a folder -----------------------------------------------------------------------------------------------


def test_the_folder_holds_the_same_numbers(joined: Checkpoint, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    hugging_face.export(joined, tmp_path / "folder", lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]
    assert len({path.stat().st_mode for path in (tmp_path / "folder").iterdir()}) == 1
    folder = open_checkpoint(tmp_path / "folder")
    config = parse_config(folder)
    assert isinstance(config, Qwen3_5Config)
    joined_config = parse_config(joined)
    ours = bind(joined_config, joined, wanted_shapes(joined_config))
    theirs = bind(config, folder, wanted_shapes(config))
    assert set(ours.sources) == set(theirs.sources)
    assert theirs.ignored == ()

    def stored(name: str) -> Float32:
        tensor = folder.tensors[name]
        if tensor.type == "F32":
            return tensor.data.view("<f4").reshape(tensor.shape)
        return (tensor.data.view("<u2").astype(np.uint32) << 16).view(np.float32).reshape(tensor.shape)

    near = {"rtol": 1 / 128, "atol": 1e-6}
    layer = "model.layers.4."
    np.testing.assert_allclose(
        stored(layer + "input_layernorm.weight") + 1, numbers(joined.tensors["blk.4.attn_norm.weight"]), rtol=1e-5
    )
    np.testing.assert_allclose(
        -np.exp(stored(layer + "linear_attn.A_log")), numbers(joined.tensors["blk.4.ssm_a"]), rtol=1e-5
    )
    np.testing.assert_allclose(
        stored(layer + "mlp.experts.gate_up_proj")[2, layout.ROUTED :],
        numbers(joined.tensors["blk.4.ffn_up_exps.weight"])[2],
        **near,
    )
    with pytest.raises(RequestError, match="is not an empty folder"):
        hugging_face.export(joined, tmp_path / "folder")


def test_a_full_disk_is_said_before_anything_is_written(
    joined: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=9, used=9, free=1))
    with pytest.raises(
        CapacityError, match=r"model\.safetensors needs [\d.]+ [MG]iB: free [\d.]+ [MG]iB more on its disk"
    ):
        hugging_face.export(joined, tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_no_weights(joined: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(tensors: object, path: Path, metadata: object) -> None:
        serialize_file({}, path / "no folder", metadata=None)

    monkeypatch.setattr(hugging_face, "serialize_file", fails)
    with pytest.raises(ShoestringError, match=r"model\.safetensors cannot be written .*: choose a folder"):
        hugging_face.export(joined, tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []


def test_only_this_model_is_exported(source: Checkpoint, tmp_path: Path) -> None:
    smollm_as_llama4.convert(source, tmp_path / "llama4.gguf")
    with pytest.raises(CheckpointError, match=r"is no Qwen 3\.5 mixture"):
        hugging_face.export(open_checkpoint(tmp_path / "llama4.gguf"), tmp_path / "folder")
