"""The safetensors reader: round trips with the `safetensors` package, and one clear error for each fault."""

import itertools
import json
import tracemalloc

import numpy as np
import pytest
from safetensors.numpy import save_file
from tiny_checkpoints import hugging_face_config, hugging_face_tensors, tiny, write_gguf_file, write_hugging_face

from shoestring.checkpoint.open import check_unchanged, open_checkpoint
from shoestring.errors import CheckpointError


def raw(header, data=b"", length=None):
    """A safetensors file; `header` a dict, or the bytes themselves."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def folder_with(path, data, config='{"model_type": "llama4"}'):
    (path / "config.json").write_text(config)
    (path / "model.safetensors").write_bytes(data)
    return path


def test_round_trip(tmp_path):
    arrays = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.ones((4, 1, 2), np.float16),
        "c": np.zeros((0, 3), np.float32),
        "d": np.array(2.5, np.float32),
        "e": np.arange(5, dtype=np.uint8),
    }
    (tmp_path / "config.json").write_text('{"k": [1, {"x": null}]}')
    (tmp_path / "generation_config.json").write_text('{"temperature": 0.6}')
    save_file(arrays, tmp_path / "model.safetensors", metadata={"format": "pt"})
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.metadata == {"k": [1, {"x": None}]}
    assert checkpoint.generation_config == {"temperature": 0.6}
    assert checkpoint.tensors.keys() == arrays.keys()
    for name, numbers in arrays.items():
        found = checkpoint.tensors[name]
        assert (found.shape, found.data.tobytes()) == (numbers.shape, numbers.tobytes())
        assert not found.data.flags.writeable
    assert checkpoint.tensors["b"].type == "F16"
    check_unchanged(checkpoint)


def test_a_single_file_of_another_name(tmp_path):
    folder_with(tmp_path, raw({"a": entry()}, bytes(8)))
    (tmp_path / "model.safetensors").rename(tmp_path / "weights.safetensors")
    assert list(open_checkpoint(tmp_path).tensors) == ["a"]


_TWO = {"a": entry(), "b": entry(offsets=(8, 16))}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"1234567", "has 7 bytes, too few for a header"),
        (raw({}, length=1 << 60), r"claims a header of \d+ bytes, the file has 10"),
        (raw({}, length=3), "claims a header of 3 bytes"),
        (raw(b"\xff\xff"), "its header is not valid JSON"),
        (raw(b"{"), "its header is not valid JSON"),
        (raw(b"[" * 100_000), "its header is not valid JSON"),
        (raw(b"[]"), "its header is not a JSON object"),
        (raw(b'{"a": {}, "a": {}}'), "a appears twice"),
        (raw(b'{"a": ' + b"9" * 5000 + b"}"), "its header is not valid JSON"),
        (raw({"a": 3}), "tensor a is not described by dtype, shape and data_offsets"),
        (raw({"a": {"dtype": "F32"}}), "tensor a is not described by"),
        (raw({"a": entry() | {"extra": 1}}, bytes(8)), "tensor a is not described by"),
        (raw({"a": entry(dtype=3)}, bytes(8)), "tensor a has dtype 3"),
        (raw({"a": entry(shape=(2.0,))}, bytes(8)), r"tensor a has shape \[2\.0\]"),
        (raw({"a": entry(shape=(True,))}, bytes(8)), r"tensor a has shape \[True\]"),
        (raw({"a": entry(shape=(-1,))}, bytes(8)), r"tensor a has shape \[-1\]"),
        (raw({"a": entry(shape=[1] * 9)}, bytes(8)), "tensor a has shape"),
        (raw({"a": entry(shape=(1 << 62, 1 << 62))}, bytes(8)), r"tensor a of F32 .* needs \d+ bytes"),
        (raw({"a": entry(shape=(3,))}, bytes(8)), r"tensor a of F32 \(3,\) needs 12 bytes, its range has 8"),
        (raw({"a": entry(offsets=(8, 0))}, bytes(8)), r"tensor a has data_offsets \[8, 0\]"),
        (raw({"a": entry(offsets=(0, 8, 9))}, bytes(8)), "tensor a has data_offsets"),
        (raw({"a": entry(offsets=(-8, 0))}, bytes(8)), "tensor a has data_offsets"),
        (raw({"a": entry()}, bytes(7)), "tensor a ends at data byte 8, the file has 7: it is truncated"),
        (raw({"a": entry()}, bytes(9)), "tensors take 8 bytes of data, the file has 9"),
        (raw({"a": entry(), "b": entry()}, bytes(8)), "tensor b at data offset 0 overlaps"),
        (raw({"a": entry(), "b": entry(offsets=(4, 12))}, bytes(12)), "tensor b at data offset 4 overlaps"),
        (raw({"a": entry(), "b": entry(offsets=(12, 20))}, bytes(20)), "tensor b .* leaves bytes from 8 unused"),
        (raw({"a": entry(offsets=(4, 12))}, bytes(12)), "tensor a .* leaves bytes from 0 unused"),
    ],
    ids=itertools.count(),
)
def test_what_a_header_gets_wrong_is_said(tmp_path, data, message):
    folder = folder_with(tmp_path, data)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=message) as caught:
            open_checkpoint(folder)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(str(folder / "model.safetensors"))
    assert "\n" not in str(caught.value)


def test_every_truncation_is_refused(tmp_path):
    data = raw(_TWO, bytes(16))
    for size in range(len(data)):
        with pytest.raises(CheckpointError):
            open_checkpoint(folder_with(tmp_path, data[:size]))


@pytest.fixture
def sharded(tmp_path):
    model = tiny("qwen-dense")
    return write_hugging_face(tmp_path / "m", hugging_face_config(model), hugging_face_tensors(model), shards=3)


def _edit_index(folder, change):
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    change(index["weight_map"])
    path.write_text(json.dumps(index))


def test_a_missing_shard_is_named(sharded):
    (sharded / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"1 of 3 files of .* are missing, first model-00002-of-00003"):
        open_checkpoint(sharded)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "a\\b.safetensors", 3, "x.bin"])
def test_an_index_stays_in_its_folder(sharded, name):
    _edit_index(sharded, lambda weight_map: weight_map.update({"evil": name}))
    with pytest.raises(CheckpointError, match=r"puts evil into .*, which is not a file name"):
        open_checkpoint(sharded)


def test_an_index_that_lists_too_much_or_too_little(sharded):
    name = "model.language_model.norm.weight"
    _edit_index(sharded, lambda weight_map: weight_map.update({"ghost": weight_map[name]}))
    with pytest.raises(CheckpointError, match=r"lists 1 tensors that is not in .*, first ghost"):
        open_checkpoint(sharded)
    _edit_index(sharded, lambda weight_map: [weight_map.pop(key) for key in ("ghost", name)])
    with pytest.raises(CheckpointError, match=f"does not list 1 tensors of .*, first {name}"):
        open_checkpoint(sharded)


def test_a_tensor_in_the_wrong_shard(sharded):
    name = "model.language_model.norm.weight"

    def move(weight_map):
        weight_map[name] = next(file for file in weight_map.values() if file != weight_map[name])

    _edit_index(sharded, move)
    with pytest.raises(CheckpointError, match=f"lists 1 tensors .*, first {name}"):
        open_checkpoint(sharded)


def test_what_is_not_a_checkpoint(tmp_path):
    folder = tmp_path / "m"
    with pytest.raises(CheckpointError, match="does not exist"):
        open_checkpoint(folder)
    folder.mkdir()
    with pytest.raises(CheckpointError, match="neither a GGUF file nor safetensors"):
        open_checkpoint(folder)
    (folder / "a.safetensors").write_bytes(raw({"a": entry()}, bytes(8)))
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        open_checkpoint(folder)
    with pytest.raises(CheckpointError, match="has no config: give its folder"):
        open_checkpoint(folder / "a.safetensors")
    (folder / "config.json").write_text("{}")
    (folder / "b.safetensors").write_bytes(raw({"b": entry()}, bytes(8)))
    with pytest.raises(CheckpointError, match="contains 2 safetensors files but no model"):
        open_checkpoint(folder)
    (folder / "c.gguf").write_bytes(b"GGUF")
    with pytest.raises(CheckpointError, match=r"contains both safetensors and c\.gguf"):
        open_checkpoint(folder)
    with pytest.raises(CheckpointError, match="is not a path"):
        open_checkpoint("a\0b")
    (folder / "d.gguf").mkdir()
    with pytest.raises(CheckpointError, match=r"contains neither|cannot be read"):
        open_checkpoint(folder / "d.gguf")


def test_a_vision_part_beside_its_model_is_passed_over(tmp_path):
    for name, architecture in (("a.gguf", "clip"), ("b.gguf", "llama4")):
        write_gguf_file(tmp_path / name, {"general.architecture": architecture}, {})
    assert open_checkpoint(tmp_path).files == (tmp_path / "b.gguf",)


def test_two_models_in_a_folder_are_refused(tmp_path):
    for name in ("a.gguf", "b.gguf"):
        write_gguf_file(tmp_path / name, {"general.architecture": "llama4"}, {})
    with pytest.raises(CheckpointError, match=r"contains 2 GGUF models \(a\.gguf, b\.gguf…\): give one file"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"a": 1, "a": 2}', "\ufeff{}"])
def test_a_config_that_is_not_an_object(tmp_path, text):
    folder = folder_with(tmp_path, raw({"a": entry()}, bytes(8)), config=text)
    with pytest.raises(CheckpointError, match=r"config\.json is not"):
        open_checkpoint(folder)


def test_an_index_beside_a_single_file_is_ambiguous(sharded):
    (sharded / "model.safetensors").write_bytes(raw({"a": entry()}, bytes(8)))
    with pytest.raises(CheckpointError, match=r"contains both model\.safetensors and model\.safetensors\.index\.json"):
        open_checkpoint(sharded)
