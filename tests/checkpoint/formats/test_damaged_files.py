"""Damaged checkpoints: whatever the bytes, a checkpoint or one CheckpointError is the answer, in little memory."""

import json
import os
import struct
import tempfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_checkpoints import (
    KINDS,
    gguf_metadata,
    gguf_tensors,
    hugging_face_config,
    hugging_face_tensors,
    tiny,
    write_gguf_file,
    write_hugging_face,
)

from shoestring.checkpoint.config.parse import parse_config
from shoestring.checkpoint.names.bind import bind
from shoestring.checkpoint.open import open_checkpoint
from shoestring.errors import CheckpointError
from shoestring.models.shapes import wanted_shapes

#: More than any of the small files here needs; a size that a header claims is far above.
_MEMORY = 32 << 20

_EXAMPLES = settings(
    max_examples=int(os.environ.get("SHOESTRING_TEST_EXAMPLES", "150")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

#: Numbers that arithmetic on sizes trips over, and bytes of every kind.
_numbers = st.sampled_from([0, 1, 2, 3, 7, 8, 9, 31, 32, 255, 1 << 16, 1 << 31, (1 << 32) - 1, 1 << 62, (1 << 64) - 1])
_patches = st.one_of(
    st.binary(min_size=1, max_size=8),
    _numbers.map(lambda n: struct.pack("<Q", n)),
    _numbers.map(lambda n: struct.pack("<I", n & 0xFFFFFFFF)),
)
_where = st.floats(0, 1, exclude_max=True)
_edits = st.lists(st.tuples(st.sampled_from(["set", "insert", "delete", "cut"]), _where, _patches), max_size=4)


def damaged(data: bytes, header: int, edits) -> bytes:
    """Edits lie in the header, where they matter, but for cuts."""
    for kind, place, patch in edits:
        at = int(place * min(header, len(data)))
        if kind == "set":
            data = data[:at] + patch + data[at + len(patch) :]
        elif kind == "insert":
            data = data[:at] + patch + data[at:]
        elif kind == "delete":
            data = data[:at] + data[at + len(patch) :]
        else:
            data = data[: int(place * len(data))]
    return data


def assert_opens_or_refuses(path: Path) -> None:
    refusal = ""
    tracemalloc.start()
    try:
        checkpoint = open_checkpoint(path)
        config = parse_config(checkpoint)
        binding = bind(config, checkpoint, wanted_shapes(config))
        for source in binding.sources.values():
            # What is bound lies inside its tensor: kernels read it without asking again.
            last = source.offset + (source.rows - 1) * source.row_stride
            assert 0 <= source.offset <= last < source.tensor.nbytes
            assert last + (source.columns - 1) * source.column_stride < source.tensor.nbytes
    except CheckpointError as error:
        refusal = str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < _MEMORY
    # A name of a file must not reach the terminal as more than text.
    assert refusal.isprintable()
    assert len(refusal) < 4000


def _gguf_bytes(kind: str) -> tuple[bytes, int]:
    with tempfile.TemporaryDirectory() as folder:
        model = tiny(kind)
        metadata = gguf_metadata(model) | {"tokenizer.ggml.tokens": [f"t{n}" for n in range(40)]}
        path = write_gguf_file(Path(folder) / "m.gguf", metadata, gguf_tensors(model))
        header = min(tensor.offset for tensor in open_checkpoint(path).tensors.values())
        return path.read_bytes(), header


def _folder_bytes(kind: str) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as name:
        model = tiny(kind)
        folder = write_hugging_face(Path(name), hugging_face_config(model), hugging_face_tensors(model), shards=2)
        return {path.name: path.read_bytes() for path in folder.iterdir()}


_GGUF = {kind: _gguf_bytes(kind) for kind in KINDS}
_FOLDERS = {kind: _folder_bytes(kind) for kind in KINDS}


@_EXAMPLES
@given(kind=st.sampled_from(KINDS), edits=_edits)
def test_damaged_gguf(tmp_path, kind, edits):
    data, header = _GGUF[kind]
    path = tmp_path / "m.gguf"
    path.write_bytes(damaged(data, header, edits))
    assert_opens_or_refuses(path)


@_EXAMPLES
@given(kind=st.sampled_from(KINDS), which=st.integers(0, 3), edits=_edits)
def test_damaged_folder(tmp_path, kind, which, edits):
    files = _FOLDERS[kind]
    target = sorted(files)[which]
    for name, data in files.items():
        header = 8 + int.from_bytes(data[:8], "little") if name.endswith(".safetensors") else len(data)
        (tmp_path / name).write_bytes(damaged(data, header, edits) if name == target else data)
    assert_opens_or_refuses(tmp_path)


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@_EXAMPLES
@given(
    header=st.dictionaries(
        st.text(max_size=4),
        st.fixed_dictionaries({}, optional={"dtype": _json, "shape": _json, "data_offsets": _json}) | _json,
        max_size=4,
    ),
    size=st.integers(0, 64),
)
def test_any_json_as_a_header(tmp_path, header, size):
    text = json.dumps(header).encode()
    (tmp_path / "config.json").write_text('{"model_type": "llama4"}')
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(size))
    assert_opens_or_refuses(tmp_path)


@_EXAMPLES
@given(kind=st.sampled_from(KINDS), data=st.data())
def test_any_json_in_a_config(tmp_path, kind, data):
    """One field of a config becomes any JSON."""
    files = _FOLDERS[kind]
    config = json.loads(files["config.json"])
    inner = config["text_config"]
    table = data.draw(st.sampled_from([config, inner, inner.get("rope_parameters", inner)]))
    table[data.draw(st.sampled_from(sorted(table)))] = data.draw(_json)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert_opens_or_refuses(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_the_undamaged_files_open(tmp_path, kind):
    """Without this the tests above could pass by refusing everything."""
    (tmp_path / "m.gguf").write_bytes(_GGUF[kind][0])
    checkpoint = open_checkpoint(tmp_path / "m.gguf")
    config = parse_config(checkpoint)
    assert bind(config, checkpoint, wanted_shapes(config)).sources
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, content in _FOLDERS[kind].items():
        (folder / name).write_bytes(content)
    checkpoint = open_checkpoint(folder)
    config = parse_config(checkpoint)
    assert bind(config, checkpoint, wanted_shapes(config)).sources
