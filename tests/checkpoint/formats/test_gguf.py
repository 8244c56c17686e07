"""The GGUF reader: round trips with the `gguf` package, and one clear error for each thing a header can get wrong."""

import itertools
import os
import struct
import subprocess
import sys
import time
import tracemalloc

import gguf
import numpy as np
import pytest
from machine_speed import slowness
from raw_gguf import ARRAY, BOOL, F32, STRING, U8, U32, U64, array, pair, raw_gguf, tensor, text
from tiny_checkpoints import gguf_metadata, gguf_tensors, tiny, write_gguf_file

from shoestring.checkpoint.formats.gguf import GGML_TYPE_NAMES, open_gguf, read_architecture
from shoestring.checkpoint.formats.mapping import map_file
from shoestring.checkpoint.open import check_unchanged, open_checkpoint
from shoestring.checkpoint.tensors import TENSOR_TYPES
from shoestring.errors import CheckpointError


def test_round_trip(tmp_path):
    values = {
        "general.architecture": "llama4",
        "a.text": "naïve 😀",
        "a.flag": True,
        "a.count": 7,
        "a.share": 0.25,
        "a.words": ["", "ab", "日本"],
        "a.numbers": [1, -2, 3],
        "a.flags": [True, False],
    }
    arrays = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "y": np.ones(5, np.float16)}
    checkpoint = open_gguf(write_gguf_file(tmp_path / "m.gguf", values, arrays))
    assert {key: checkpoint.metadata[key] for key in values} == values
    assert list(checkpoint.tensors) == ["x", "y"]
    for name, numbers in arrays.items():
        found = checkpoint.tensors[name]
        assert (found.shape, found.nbytes) == (numbers.shape, numbers.nbytes)
        assert found.data.tobytes() == numbers.tobytes()
        assert not found.data.flags.writeable
    assert checkpoint.tensors["y"].type == "F16"


def test_every_block_type_has_ggmls_name_and_size(tmp_path):
    names = {number: kind.name for kind in gguf.GGMLQuantizationType for number in [kind.value]}
    assert {number: name for number, name in GGML_TYPE_NAMES.items() if number in names} == {
        number: name for number, name in names.items() if number in GGML_TYPE_NAMES
    }
    for name, kind in TENSOR_TYPES.items():
        if name != "F8_E4M3":
            assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]] == (kind.block_size, kind.block_bytes)


def test_a_vocabulary_is_read_fast(tmp_path):
    """A quarter of a million tokens and as many merges are part of every start: 0.3 s, once."""
    tokens = [f"Ġtoken{n}" for n in range(248_320)]
    items = b"".join(map(text, tokens))
    pairs = [pair(key, ARRAY, array(STRING, len(tokens), items)) for key in ("tokens", "merges")]
    path = tmp_path / "m.gguf"
    path.write_bytes(raw_gguf(pairs))
    seconds, before = [], slowness()
    for _ in range(5):
        start = time.process_time()
        checkpoint = open_gguf(path)
        seconds.append(time.process_time() - start)
    assert checkpoint.metadata["tokens"] == tokens
    assert min(seconds) < 0.3 * max(before, slowness())


def test_a_header_longer_than_the_first_read(tmp_path):
    long = "x" * (40 << 20)
    path = tmp_path / "m.gguf"
    path.write_bytes(raw_gguf([pair("a", STRING, text(long)), pair("b", U32, struct.pack("<I", 9))]))
    assert open_gguf(path).metadata == {"a": long, "b": 9}


def test_version_2_is_read(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(raw_gguf([pair("a", U32, struct.pack("<I", 9))], version=2))
    assert open_gguf(path).metadata == {"a": 9}


def test_unknown_types_keep_their_names(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(raw_gguf([], [tensor("a", [256], 16, 0), tensor("b", [8], 99, 96)], bytes(128)))
    tensors = open_gguf(path).tensors
    assert (tensors["a"].type, tensors["a"].nbytes) == ("IQ2_XXS", 96)
    assert (tensors["b"].type, tensors["b"].nbytes) == ("GGML_TYPE_99", 32)


_PAIR = pair("k", U32, struct.pack("<I", 1))
_F32X8 = tensor("t", [8], 0, 0)
_HUGE = 1 << 62


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"GG", "ends inside its header: it is truncated"),
        (raw_gguf(magic=b"GGML"), "does not begin with GGUF"),
        (raw_gguf(version=1), "is GGUF version 1, supported are"),
        (raw_gguf(version=3 << 24), "is big-endian GGUF"),
        (raw_gguf([_PAIR], num_pairs=_HUGE), f"claims {_HUGE} keys, more than"),
        (raw_gguf([], [_F32X8], bytes(32), num_tensors=_HUGE), f"claims {_HUGE} tensors, more than"),
        (raw_gguf([_PAIR, _PAIR]), "metadata k appears twice"),
        (raw_gguf([struct.pack("<Q", 1 << 40), b"k" * 20]), "key 0 claims 1099511627776 bytes of text"),
        (raw_gguf([pair(b"\xff\xfe", U32, bytes(4))]), "key 0 is not UTF-8"),
        (raw_gguf([pair("k", STRING, text(b"\xc3("))]), "metadata k is not UTF-8"),
        (raw_gguf([pair("k", STRING, struct.pack("<Q", _HUGE))]), f"metadata k claims {_HUGE} bytes of text"),
        (raw_gguf([pair("k", 13, bytes(8))]), "metadata k has value type 13"),
        (raw_gguf([pair("k", BOOL, b"\2")]), "metadata k has a boolean that is neither 0 nor 1"),
        (raw_gguf([pair("k", ARRAY, array(BOOL, 2, b"\1\3"))]), "metadata k has a boolean that is neither"),
        (raw_gguf([pair("k", ARRAY, array(U8, _HUGE, b""))]), f"metadata k claims {_HUGE} values"),
        (raw_gguf([pair("k", ARRAY, array(ARRAY, 1, array(U8, 1, b"x")))]), "metadata k is an array of arrays"),
        (raw_gguf([pair("k", ARRAY, array(STRING, 2, text("a") + text(b"\xff")))]), r"metadata k\[1\] is not UTF-8"),
        (
            raw_gguf([pair("k", ARRAY, array(STRING, 1, struct.pack("<Q", _HUGE)))]),
            rf"metadata k\[0\] claims {_HUGE} bytes of text",
        ),
        (raw_gguf([pair("k", ARRAY, array(STRING, 3, text("a")))]), "ends inside its header"),
        (raw_gguf([pair("k", ARRAY, array(F32, 3, bytes(8)))]), "ends inside its header"),
        (raw_gguf([], [tensor("t", [], 0, 0)], bytes(32)), "tensor t has 0 dimensions: 1 to 4"),
        (raw_gguf([], [tensor("t", [1] * 5, 0, 0)], bytes(32)), "tensor t has 5 dimensions: 1 to 4"),
        (raw_gguf([], [tensor("t", [8, 0], 0, 0)], bytes(32)), r"tensor t has sizes \(8, 0\)"),
        (raw_gguf([], [tensor("t", [1 << 33, 1 << 33], 0, 0)], bytes(32)), "tensor t has sizes .* not valid"),
        (raw_gguf([], [tensor("t", [33], 8, 0)], bytes(64)), "tensor t has rows of 33, not whole Q8_0 blocks of 32"),
        (raw_gguf([], [tensor("t", [8], 0, 8)], bytes(64)), "tensor t has offset 8, not a multiple of .* 32"),
        (
            raw_gguf([], [tensor("t", [9], 0, 0)], bytes(32)),
            r"tensor t ends at byte \d+, the file has \d+: it is trunc",
        ),
        (raw_gguf([], [tensor("t", [8], 0, 1 << 63)], bytes(32)), "tensor t ends at byte .* it is truncated"),
        (raw_gguf([], [tensor("t", [8], 99, 1 << 63)], bytes(32)), "tensor t ends at byte .* it is truncated"),
        (raw_gguf([], [_F32X8, _F32X8], bytes(64)), "tensor t overlaps t|tensor t appears twice"),
        (raw_gguf([], [tensor("t", [9], 0, 0), tensor("u", [8], 0, 32)], bytes(64)), "tensor t overlaps u"),
        (raw_gguf([], [_F32X8, tensor("t", [8], 0, 32)], bytes(64)), "tensor t appears twice"),
        (raw_gguf([], [tensor(b"\xff", [8], 0, 0)], bytes(32)), "the name of tensor 0 is not UTF-8"),
        (raw_gguf([pair("general.alignment", U32, struct.pack("<I", 24))]), "general.alignment is 24, not a power"),
        (raw_gguf([pair("general.alignment", U32, bytes(4))]), "general.alignment is 0, not a power of two"),
        (raw_gguf([pair("general.alignment", STRING, text("x"))]), "general.alignment is 'x', not a power of two"),
        (raw_gguf([pair("general.alignment", U64, struct.pack("<Q", 1 << 62))]), "general.alignment is 4611"),
    ],
    ids=itertools.count(),
)
def test_what_a_header_gets_wrong_is_said(tmp_path, data, message):
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=message) as caught:
            open_gguf(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_alignment_of_the_file_is_followed(tmp_path):
    path = tmp_path / "m.gguf"
    pairs = [pair("general.alignment", U32, struct.pack("<I", 64))]
    path.write_bytes(raw_gguf(pairs, [_F32X8, tensor("u", [8], 0, 64)], bytes(range(96)), alignment=64))
    tensors = open_gguf(path).tensors
    assert tensors["u"].data.tobytes() == bytes(range(64, 96))
    path.write_bytes(raw_gguf(pairs, [_F32X8, tensor("u", [8], 0, 32)], bytes(96), alignment=64))
    with pytest.raises(CheckpointError, match="tensor u has offset 32, not a multiple of the alignment 64"):
        open_gguf(path)


def test_every_truncation_is_refused(tmp_path):
    pairs = {"general.architecture": "x", "k": ["a", "b"]}
    whole = write_gguf_file(tmp_path / "m.gguf", pairs, {"t": np.ones(8, np.float32)})
    data = whole.read_bytes()
    end = open_gguf(whole).tensors["t"].offset + 32
    cut = tmp_path / "cut.gguf"
    for size in range(end):
        cut.write_bytes(data[:size])
        with pytest.raises(CheckpointError, match=r"truncated|is empty"):
            open_gguf(cut)


# --- splits ----------------------------------------------------------------------------------------------------


@pytest.fixture
def parts(tmp_path):
    model = tiny("scout")
    write_gguf_file(tmp_path / "m.gguf", gguf_metadata(model), gguf_tensors(model), split=20)
    paths = sorted(tmp_path.glob("m-*-of-*.gguf"))
    assert len(paths) > 2
    return paths


def test_any_part_of_a_split_opens_the_whole(parts):
    wanted = {name: values.tobytes() for name, values in gguf_tensors(tiny("scout")).items()}
    for path in parts:
        checkpoint = open_checkpoint(path)
        assert {name: t.data.tobytes() for name, t in checkpoint.tensors.items()} == wanted
        assert checkpoint.metadata["general.architecture"] == "llama4"
        assert checkpoint.files == tuple(parts)
    assert open_checkpoint(parts[0].parent).files == tuple(parts)


def test_a_missing_part_is_named(parts):
    parts[1].unlink()
    for path in (parts[0], parts[-1]):
        with pytest.raises(CheckpointError, match=f"1 of {len(parts)} parts are missing, first {parts[1].name}"):
            open_checkpoint(path)


def test_parts_of_the_wrong_number_are_refused(parts):
    other = parts[1].read_bytes()
    parts[2].write_bytes(other)
    with pytest.raises(CheckpointError, match=r"metadata split\.no is 1 but its name says 2"):
        open_checkpoint(parts[0])


def test_a_renamed_part_is_refused(parts):
    renamed = parts[0].rename(parts[0].with_name("model.gguf"))
    with pytest.raises(CheckpointError, match=r"is one part of .* restore the original names of all parts"):
        open_checkpoint(renamed)


def test_a_tensor_in_two_parts_is_refused(tmp_path):
    for n in (0, 1):
        pairs = [
            pair("split.no", U32, struct.pack("<I", n)),
            pair("split.count", U32, struct.pack("<I", 2)),
            pair("split.tensors.count", U32, struct.pack("<I", 2)),
        ]
        (tmp_path / f"m-0000{n + 1}-of-00002.gguf").write_bytes(raw_gguf(pairs, [_F32X8], bytes(32)))
    with pytest.raises(CheckpointError, match=r"tensor t is also in .*m-00001-of-00002\.gguf"):
        open_gguf(tmp_path / "m-00001-of-00002.gguf")


def test_a_part_number_past_the_count_is_refused(tmp_path):
    path = tmp_path / "m-00003-of-00002.gguf"
    path.write_bytes(raw_gguf())
    with pytest.raises(CheckpointError, match="says it is part 3 of 2"):
        open_gguf(path)


def test_a_header_has_a_bound_whatever_the_size_of_the_file(tmp_path):
    """Of a file with a hole: what its header claims would fit into it."""
    for header, says in (
        (raw_gguf([], num_pairs=1 << 20), "claims 1048576 keys: at most"),
        (raw_gguf([], num_tensors=1 << 20), "claims 1048576 tensors: at most"),
        (raw_gguf([pair("k", ARRAY, struct.pack("<IQ", STRING, 1 << 20))], num_pairs=5), "key 1 is"),
        (raw_gguf([pair("k", ARRAY, struct.pack("<IQ", STRING, 5 << 20))]), "claims 5242880 values: at most"),
        (b"", "does not begin with GGUF"),
    ):
        path = tmp_path / "m.gguf"
        path.write_bytes(header)
        os.truncate(path, 1 << 40)
        with pytest.raises(CheckpointError, match=says):
            open_gguf(path)
        assert read_architecture(path) is None


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (ARRAY, struct.pack("<IQ", STRING, (1 << 22) - 1)),
        (ARRAY, struct.pack("<IQ", U8, 1 << 22)),
        (ARRAY, struct.pack("<IQ", U8, 1 << 30)),
        (STRING, struct.pack("<Q", (1 << 26) - 1)),
        (STRING, struct.pack("<Q", 900 << 20)),
    ],
)
def test_the_header_of_a_file_with_a_hole_takes_little_memory(tmp_path, kind, value):
    path = tmp_path / "m.gguf"
    path.write_bytes(raw_gguf([pair("k", kind, value)]))
    os.truncate(path, 1 << 30)
    code = """if True:
        import resource, sys
        from pathlib import Path
        from shoestring.checkpoint.formats.gguf import open_gguf
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            open_gguf(Path(sys.argv[1]))
        except Exception:
            pass
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    result = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert int(result.stdout) < 400 << 10  # KiB; 3 GiB before headers were bounded


# --- files that change -----------------------------------------------------------------------------------------


def _opened(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(raw_gguf([], [_F32X8], bytes(range(32))))
    return path, open_checkpoint(path)


def test_an_unchanged_file_passes_and_an_unlinked_one_goes_on(tmp_path):
    path, checkpoint = _opened(tmp_path)
    check_unchanged(checkpoint)
    path.unlink()
    check_unchanged(checkpoint)
    assert checkpoint.tensors["t"].data.tobytes() == bytes(range(32))


@pytest.mark.parametrize("how", ["replaced", "touched", "grown"])
def test_a_changed_file_is_refused(tmp_path, how):
    path, checkpoint = _opened(tmp_path)
    status = path.stat()
    if how == "replaced":
        other = tmp_path / "other"
        other.write_bytes(path.read_bytes())
        other.replace(path)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif how == "touched":
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))
    else:
        with path.open("ab") as file:
            file.write(b"x")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(CheckpointError, match="has changed since it was loaded"):
        check_unchanged(checkpoint)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "m.gguf")
    with pytest.raises(CheckpointError, match="is a pipe, not a file"):
        open_checkpoint(tmp_path / "m.gguf")


def test_a_file_that_is_replaced_while_it_is_opened(tmp_path):
    """Header and map must be of one file."""
    path = tmp_path / "m.gguf"
    path.write_bytes(raw_gguf([], [_F32X8], bytes(32)))
    mapped = map_file(path)
    path.unlink()
    (tmp_path / "other").write_bytes(raw_gguf([], [], bytes(64)))
    (tmp_path / "other").rename(path)
    with pytest.raises(CheckpointError, match="changed while it was being opened"):
        mapped.head(8)
