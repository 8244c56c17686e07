"""A binding finds every number of a model where each format has put it, and accounts for every tensor."""

import gguf
import numpy as np
import pytest
from tiny_checkpoints import (
    KINDS,
    LAYERS,
    D,
    E,
    H,
    M,
    gguf_metadata,
    gguf_tensors,
    hugging_face_config,
    hugging_face_tensors,
    tiny,
    write_gguf_file,
    write_hugging_face,
)

from shoestring.checkpoint.config.parse import parse_config
from shoestring.checkpoint.names import tables
from shoestring.checkpoint.names.bind import Source, bind
from shoestring.checkpoint.open import open_checkpoint
from shoestring.checkpoint.summary import source_bytes, summarize
from shoestring.errors import CheckpointError
from shoestring.models.shapes import wanted_shapes

_FLOATS = {"F32": np.float32, "F16": np.float16}


def numbers(source: Source):
    """The region of a float tensor that a source describes, [rows, columns]."""
    dtype = np.dtype(_FLOATS[source.tensor.type])
    assert source.offset % dtype.itemsize == 0
    last = source.offset + (source.rows - 1) * source.row_stride + (source.columns - 1) * source.column_stride
    assert last + dtype.itemsize <= source.tensor.nbytes
    return np.lib.stride_tricks.as_strided(
        source.tensor.data[source.offset :].view(dtype),
        (source.rows, source.columns),
        (source.row_stride, source.column_stride),
    )


def load(path):
    checkpoint = open_checkpoint(path)
    config = parse_config(checkpoint)
    return checkpoint, config, bind(config, checkpoint, wanted_shapes(config))


def assert_all_found(model, binding):
    assert binding.sources.keys() == model.weights.keys()
    for name, values in model.weights.items():
        found = numbers(binding.sources[name])
        assert np.array_equal(found, np.atleast_2d(values)), name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_gguf_has_every_number(tmp_path, kind, tied, fused):
    model = tiny(kind, tied=tied)
    path = write_gguf_file(tmp_path / "m.gguf", gguf_metadata(model), gguf_tensors(model, fused=fused))
    _, config, binding = load(path)
    assert_all_found(model, binding)
    assert config.tie_word_embeddings == tied
    assert not binding.ignored
    # The converter has folded what there is to fold.
    assert {source.fold for source in binding.sources.values()} == {"none"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("multimodal", [False, True])
@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("shards", [1, 3])
def test_hugging_face_has_every_number(tmp_path, kind, multimodal, single, shards):
    model = tiny(kind)
    tensors = hugging_face_tensors(model, single_experts=single, multimodal=multimodal)
    load_path = write_hugging_face(tmp_path / "m", hugging_face_config(model, multimodal), tensors, shards)
    _, _, binding = load(load_path)
    assert_all_found(model, binding)


def test_folds_of_hugging_face_qwen(tmp_path):
    """The +1 is added once, to every norm but the delta-net's gated one; A_log becomes −exp(A_log)."""
    model = tiny("qwen-mixture")
    _, _, binding = load(write_hugging_face(tmp_path / "m", hugging_face_config(model), hugging_face_tensors(model)))
    for name, source in binding.sources.items():
        if name.endswith("decay"):
            assert source.fold == "negative_exp"
        elif name.endswith("norm") and not name.endswith("delta.norm"):
            assert source.fold == "add_one", name
        else:
            assert source.fold == "none", name


@pytest.mark.parametrize("kind", ["scout", "maverick"])
def test_llama_norms_are_stored_as_meant(tmp_path, kind):
    model = tiny(kind)
    _, _, binding = load(write_hugging_face(tmp_path / "m", hugging_face_config(model), hugging_face_tensors(model)))
    assert {source.fold for source in binding.sources.values()} == {"none"}


@pytest.mark.parametrize("kind", KINDS)
def test_both_formats_give_the_same_config(tmp_path, kind):
    model = tiny(kind)
    _, from_gguf, _ = load(write_gguf_file(tmp_path / "m.gguf", gguf_metadata(model), gguf_tensors(model)))
    _, from_folder, _ = load(
        write_hugging_face(tmp_path / "m", hugging_face_config(model), hugging_face_tensors(model))
    )
    different = {
        name for name, value in vars(from_gguf).items() if value != getattr(from_folder, name) and name != "notes"
    }
    assert different == ({"value_head_order"} if model.is_qwen else set())


@pytest.mark.parametrize(
    ("arch", "rows"),
    [
        ("QWEN35", tables.QWEN_LAYER + tables.QWEN_ATTENTION + tables.QWEN_DENSE),
        ("QWEN35", tables.QWEN_DELTA_NET),
        ("QWEN35MOE", tables.QWEN_MIXTURE),
        ("LLAMA4", tables.LLAMA_LAYER + tables.LLAMA_DENSE + tables.LLAMA_MIXTURE),
    ],
)
def test_the_tables_agree_with_the_converters_own(arch, rows):
    """The `gguf` package maps Hugging Face names to those of llama.cpp: the same pairs stand in our rows."""
    names = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, arch), LAYERS)
    for row in rows:
        # The converter renames this one before it looks it up.
        foreign = row.hugging_face.replace(".dt_bias", ".dt_proj.bias")
        assert names.get_name("model.layers.2." + foreign, (".weight", ".bias")) == "blk.2." + row.gguf, row.ours


def test_quantized_rows_and_stacks_keep_whole_blocks(tmp_path):
    """An expert's blocks are cut from a stack by rows; a row's bytes are the quantizer's."""
    model = tiny("scout")
    tensors = gguf_tensors(model, fused=True)
    types, packed = {}, dict(tensors)
    for name, values in tensors.items():
        if values.ndim > 1 and values.shape[-1] % 32 == 0:
            types[name] = gguf.GGMLQuantizationType.Q8_0
            packed[name] = gguf.quants.quantize(values, types[name])
    _, _, binding = load(write_gguf_file(tmp_path / "m.gguf", gguf_metadata(model), packed, types))
    source = binding.sources["layers.1.experts.2.up"]
    assert (source.rows, source.columns, source.row_stride, source.column_stride) == (M, H, 34, 0)
    expected = gguf.quants.quantize(model.weights["layers.1.experts.2.up"], gguf.GGMLQuantizationType.Q8_0)
    assert source.tensor.data[source.offset : source.offset + M * 34].tobytes() == expected.tobytes()
    query, key, value = (binding.sources[f"layers.0.attention.{name}"] for name in ("query", "key", "value"))
    assert key.offset == query.offset + query.rows * 34
    assert value.offset == key.offset + key.rows * 34


def test_fp8_needs_its_scales_and_short_edge_blocks(tmp_path):
    model = tiny("qwen-dense")
    tensors = hugging_face_tensors(model)
    name = "model.language_model.layers.0.mlp.gate_proj.weight"
    folder = write_hugging_face(tmp_path / "m", hugging_face_config(model), tensors)
    _retype(folder, name, "F8_E4M3", 1)
    with pytest.raises(CheckpointError, match=r"gate_proj\.weight_scale_inv is missing"):
        load(folder)
    tensors[name + "_scale_inv"] = np.ones((1, 1), np.float32)
    folder = write_hugging_face(tmp_path / "n", hugging_face_config(model), tensors)
    _retype(folder, name, "F8_E4M3", 1)
    checkpoint, config, binding = load(folder)
    source = binding.sources["layers.0.mlp.gate"]
    assert source.scale.name == name + "_scale_inv"
    assert (source.row_stride, source.column_stride) == (H, 1)
    assert summarize(config, checkpoint, binding).widened_bytes == 4 * source.rows * source.columns
    tensors[name + "_scale_inv"] = np.ones((2, 1), np.float32)
    folder = write_hugging_face(tmp_path / "o", hugging_face_config(model), tensors)
    _retype(folder, name, "F8_E4M3", 1)
    with pytest.raises(CheckpointError, match=r"scale_inv has shape \[2, 1\], the config needs \[1, 1\]"):
        load(folder)


def _retype(folder, name, dtype, element_bytes):
    """Rewrite a safetensors file with one tensor of another type, its data cut to fit."""
    import json

    path = folder / "model.safetensors"
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    parts, position = [], 0
    for key, entry in sorted(
        ((k, v) for k, v in header.items() if k != "__metadata__"), key=lambda item: item[1]["data_offsets"]
    ):
        chunk = body[slice(*entry["data_offsets"])]
        if key == name:
            entry["dtype"] = dtype
            chunk = chunk[: int(np.prod(entry["shape"])) * element_bytes]
        entry["data_offsets"] = [position, position + len(chunk)]
        position += len(chunk)
        parts.append(chunk)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts))


def test_everything_wrong_is_in_one_error(tmp_path):
    model = tiny("scout")
    tensors = gguf_tensors(model)
    del tensors["blk.0.attn_k.weight"]
    tensors["blk.1.attn_norm.weight"] = np.ones(H + 1, np.float32)
    tensors["blk.9.attn_norm.weight"] = np.ones(H, np.float32)
    types = {"blk.2.attn_v.weight": gguf.GGMLQuantizationType.IQ4_NL}
    tensors["blk.2.attn_v.weight"] = np.zeros((2 * D, 18), np.uint8)
    path = write_gguf_file(tmp_path / "m.gguf", gguf_metadata(model), tensors, types)
    with pytest.raises(CheckpointError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "blk.0.attn_k.weight is missing" in message
    assert f"blk.1.attn_norm.weight has shape [{H + 1}], the config needs [{H}]" in message
    assert "blk.2.attn_v.weight in m.gguf has type IQ4_NL, supported are F32" in message
    assert "blk.9.attn_norm.weight is not used by the model" in message
    assert "\n" not in message


def test_a_wrong_config_gives_a_short_error(tmp_path):
    """Hundreds of faults are counted, a dozen spelled out."""
    model = tiny("scout")
    metadata = gguf_metadata(model) | {"llama4.block_count": 200}
    with pytest.raises(CheckpointError, match=r"and \d\d\d\d? more$") as caught:
        load(write_gguf_file(tmp_path / "m.gguf", metadata, gguf_tensors(model)))
    assert len(str(caught.value)) < 1500


def test_vocabulary_of_another_size_is_refused(tmp_path):
    model = tiny("qwen-dense")
    tensors = gguf_tensors(model)
    tensors["token_embd.weight"] = np.ones((48, H), np.float32)
    with pytest.raises(CheckpointError, match=r"token_embd\.weight has shape \[48, 32\], the config needs \[40, 32\]"):
        load(write_gguf_file(tmp_path / "m.gguf", gguf_metadata(model), tensors))


def test_vectors_and_transposed_stacks_are_floats(tmp_path):
    model = tiny("qwen-dense")
    tensors = gguf_tensors(model)
    types = {"blk.0.attn_norm.weight": gguf.GGMLQuantizationType.Q8_0}
    tensors["blk.0.attn_norm.weight"] = np.zeros(34, np.uint8)
    with pytest.raises(CheckpointError, match=r"attn_norm\.weight .* has type Q8_0, supported are F32, F16"):
        load(write_gguf_file(tmp_path / "m.gguf", gguf_metadata(model), tensors, types))


def test_vision_and_mtp_are_listed_with_the_reason(tmp_path):
    model = tiny("qwen-mixture")
    extra = {"model.visual.patch_embed.proj.weight": np.ones(3, np.float32), "mtp.fc.weight": np.ones(5, np.float32)}
    config = hugging_face_config(model)
    config["text_config"]["mtp_num_hidden_layers"] = 1
    checkpoint, parsed, binding = load(write_hugging_face(tmp_path / "m", config, hugging_face_tensors(model) | extra))
    assert dict(binding.ignored) == {
        "model.visual.patch_embed.proj.weight": "vision: images are not read yet",
        "mtp.fc.weight": "multi-token prediction: not used yet",
    }
    assert parsed.mtp_num_hidden_layers == 1
    assert summarize(parsed, checkpoint, binding).ignored_bytes == 32

    metadata = gguf_metadata(model) | {"qwen35moe.block_count": LAYERS + 1, "qwen35moe.nextn_predict_layers": 1}
    tensors = gguf_tensors(model) | {f"blk.{LAYERS}.nextn.eh_proj.weight": np.ones((H, 2 * H), np.float32)}
    _, parsed, binding = load(write_gguf_file(tmp_path / "m.gguf", metadata, tensors))
    assert (parsed.num_hidden_layers, parsed.mtp_num_hidden_layers) == (LAYERS, 1)
    assert dict(binding.ignored) == {f"blk.{LAYERS}.nextn.eh_proj.weight": "multi-token prediction: not used yet"}
    with pytest.raises(CheckpointError, match=r"blk\.4\.nextn\.eh_proj\.weight is not used by the model"):
        load(write_gguf_file(tmp_path / "n.gguf", gguf_metadata(model), tensors))


def test_a_tied_head_in_the_file_is_listed(tmp_path):
    model = tiny("qwen-dense", tied=True)
    tensors = hugging_face_tensors(model) | {"lm_head.weight": model.weights["embedding"]}
    _, _, binding = load(write_hugging_face(tmp_path / "m", hugging_face_config(model), tensors))
    assert dict(binding.ignored) == {"lm_head.weight": "the head is tied to the embedding"}


def test_one_expert_whose_dimension_was_dropped(tmp_path):
    """ggml's own writer drops outer dimensions of 1: a stack of one expert is a matrix in the file."""
    model = tiny("scout")
    weights = {n: w[:1] if n.endswith("router") else w for n, w in model.weights.items() if ".experts." not in n}
    weights |= {n: w for n, w in model.weights.items() if ".experts.0." in n}
    tensors = {
        name: values[0] if "_exps" in name else values[0] if name.endswith("ffn_gate_inp.weight") else values
        for name, values in gguf_tensors(model).items()
    }
    metadata = gguf_metadata(model) | {"llama4.expert_count": 1}
    _, _, binding = load(write_gguf_file(tmp_path / "m.gguf", metadata, tensors))
    assert_all_found(type(model)(model.kind, weights), binding)


@pytest.mark.parametrize("kind", KINDS)
def test_summary_counts_the_weights(tmp_path, kind):
    model = tiny(kind)
    checkpoint, config, binding = load(write_gguf_file(tmp_path / "m.gguf", gguf_metadata(model), gguf_tensors(model)))
    summary = summarize(config, checkpoint, binding)
    assert summary.parameters_total == sum(w.size for w in model.weights.values())
    used = 2 if model.is_qwen else 1
    idle = sum(w.size for n, w in model.weights.items() if ".experts." in n) * (E - used) // E
    assert summary.parameters_active == summary.parameters_total - idle
    assert (
        summary.total_bytes
        == sum(map(source_bytes, binding.sources.values()))
        == sum(t.nbytes for t in checkpoint.tensors.values())
    )
    assert summary.widened_bytes == summary.ignored_bytes == 0
