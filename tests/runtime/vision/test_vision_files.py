"""A model's tower is found in its folder or beside it, by metadata; each file form gives the same tower."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tiny_models
import vision_models
from vision_models import FAMILIES, Family

from shoestring import ops
from shoestring.checkpoint.config.vision_types import Llama4VisionConfig, Qwen3_5VisionConfig, VisionConfig
from shoestring.checkpoint.formats.gguf import open_gguf
from shoestring.checkpoint.formats.gguf_write import OutgoingTensor, write_gguf
from shoestring.checkpoint.names.vision import hugging_face_names
from shoestring.cli.app import run
from shoestring.errors import CheckpointError, RequestError
from shoestring.media.qwen3_5 import Grid
from shoestring.models import towers
from shoestring.models.tower_weights import load_tower, loaded_bytes
from shoestring.reference import tower as reference
from shoestring.runtime.opening import Opened, open_model
from shoestring.runtime.pictures.tower import vision_bytes
from shoestring.runtime.vision.vision import Tower, Vision, open_vision
from shoestring.samples.synthetic.vision import TYPES, metadata, small, write_mmproj

Float32 = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[Family, Path]:
    """Text models without a tower."""
    folder = tmp_path_factory.mktemp("models")
    return {family: vision_models.write_gguf_model(folder / family, family, tower=False) for family in FAMILIES}


def tiny(family: Family, hidden_size: int) -> VisionConfig:
    """A small tower of one layer, with small tiles."""
    config = replace(small(family, hidden_size), num_hidden_layers=1)
    return replace(config, image_size=56) if isinstance(config, Llama4VisionConfig) else config


def opened(models: dict[Family, Path], family: Family, folder: Path) -> Opened:
    """A text model alone in a folder."""
    path = folder / models[family].name
    shutil.copy(models[family], path)
    return open_model(path)


def seen(model: Opened, mmproj: Path | None = None) -> Vision:
    return open_vision(model.checkpoint, model.config, mmproj)


def some_rows(tower: Tower) -> tuple[Float32, npt.NDArray[np.float64]]:
    """Rows of a small part, the engine's and the twin's."""
    random = np.random.default_rng(2)
    is_qwen = isinstance(tower.config, Qwen3_5VisionConfig)
    grid = Grid(1, 4, 6) if is_qwen else Grid(1, 4, 4)
    pixels = random.uniform(-1, 1, (24, 1536) if is_qwen else (3, 56, 56)).astype(np.float32)
    with ops.Workspace() as ws:
        ours = towers.encode(tower.load(), pixels, grid, ws).copy()
    twin = reference.load_tower(tower.config, tower.binding)
    return ours, reference.encode(twin, pixels, grid.rows, grid.columns)


@pytest.mark.parametrize("kind", TYPES)
def test_an_mmproj_file_of_each_type(kind: str, models: dict[Family, Path], tmp_path: Path) -> None:
    model = opened(models, "qwen3_5", tmp_path)
    write_mmproj(tiny("qwen3_5", model.config.hidden_size), tmp_path / "eyes.gguf", kind)
    tower = seen(model).needed()
    assert tower.path == tmp_path / "eyes.gguf"
    assert tower.kind == ("F16" if kind == "Q8_0" else kind)  # rows of 144 are no whole blocks of 32
    ours, twin = some_rows(tower)
    bound = 2e-2 if kind == "Q8_0" else 1e-5  # activations of Q8_0 are rounded to 8 bits
    assert np.abs(ours - twin).max() < bound * np.abs(twin).max()


def test_llama_s_mmproj_file(models: dict[Family, Path], tmp_path: Path) -> None:
    model = opened(models, "llama4", tmp_path)
    write_mmproj(tiny("llama4", model.config.hidden_size), tmp_path / "m.gguf", "Q8_0")
    tower = seen(model).needed()
    types = {source.tensor.type for source in tower.binding.sources.values()}
    assert types == {"F32", "F16", "Q8_0"}
    ours, twin = some_rows(tower)
    assert np.abs(ours - twin).max() < 2e-2 * np.abs(twin).max()


@pytest.mark.parametrize("family", FAMILIES)
def test_both_forms_are_the_same_tower(family: Family, models: dict[Family, Path], tmp_path: Path) -> None:
    """The same numbers in a folder and in an mmproj file: the same bits."""
    folder = vision_models.write_folder_model(tmp_path / "folder", family, vision=tiny(family, 64))
    whole = open_model(folder)
    first = seen(whole).needed()
    tensors = {name: tensor for name, tensor in whole.checkpoint.tensors.items() if name in used_names(first)}
    outgoing = mmproj_tensors(first, {name: t.data for name, t in tensors.items()})
    write_gguf(tmp_path / "mmproj.gguf", metadata(first.config), outgoing)
    second = seen(whole, tmp_path / "mmproj.gguf").needed()
    eps = np.float32(first.config.layer_norm_eps)  # GGUF has float32, and so have the kernels
    assert np.float32(second.config.layer_norm_eps) == eps
    assert replace(second.config, layer_norm_eps=first.config.layer_norm_eps) == first.config
    assert np.array_equal(some_rows(first)[0], some_rows(second)[0])


def used_names(tower: Tower) -> set[str]:
    return {source.tensor.name for source in tower.binding.sources.values()}


def mmproj_tensors(tower: Tower, data: dict[str, Any]) -> list[OutgoingTensor]:
    """A folder's tower as the tensors of an mmproj file."""
    from shoestring.samples.synthetic.vision import slots

    config, theirs = tower.config, hugging_face_names(tower.config)
    bytes_of: dict[str, bytes] = {}
    for ours, (name, piece) in theirs.items():
        if name in data and (piece is None or piece == 0):
            bytes_of[ours] = data[name].tobytes()
    written = []
    for slot, ours in zip(slots(config), our_names(config), strict=True):
        numbers = bytes_of[ours.removesuffix(":1")]
        if ours.startswith("patch.weight") and isinstance(config, Qwen3_5VisionConfig):
            kernels = np.frombuffer(numbers, np.float32).reshape(config.hidden_size, 3, 2, -1)
            numbers = np.ascontiguousarray(kernels[:, :, int(ours.endswith(":1"))]).tobytes()
        written.append(OutgoingTensor(slot.name, "F32", slot.shape, lambda numbers=numbers: [numbers]))  # type: ignore[misc]
    return written


def our_names(config: Any) -> list[str]:
    """Our names of `slots`, in their order; a fused tensor by its first part."""
    from shoestring.checkpoint.names.vision import LAYER_ROWS, MODEL_ROWS

    shapes, is_qwen = towers.wanted_shapes(config), isinstance(config, Qwen3_5VisionConfig)
    names = ["patch.weight", "patch.weight:1", "patch.bias"] if is_qwen else ["patch.weight", "class_row"]
    names.append("positions")
    rows = [row.ours for row in MODEL_ROWS[config.family]]
    for layer in range(config.num_hidden_layers):
        inside = ["query"] * is_qwen + [row.ours for row in LAYER_ROWS[config.family]]
        rows += [f"layers.{layer}.{name}" for name in inside]
    return names + [row + end for row in rows for end in (".weight", ".bias") if row + end in shapes]


def test_metadata_decides_what_belongs_together(models: dict[Family, Path], tmp_path: Path) -> None:
    model = opened(models, "qwen3_5", tmp_path)
    size = model.config.hidden_size
    write_mmproj(small("qwen3_5", size + 32), tmp_path / "mmproj-F32.gguf", "F32")
    write_mmproj(small("llama4", size), tmp_path / "mmproj-BF16.gguf", "BF16")
    (tmp_path / "broken.gguf").write_bytes(b"GGUF clip")
    vision = seen(model)
    assert vision.tower is None
    with pytest.raises(RequestError, match=r"qwen3_5\.gguf reads text alone.*mmproj-….gguf.*mmproj-BF16.gguf is the"):
        vision.needed()
    write_mmproj(small("qwen3_5", size), tmp_path / "right.gguf", "F16")
    assert seen(model).needed().path.name == "right.gguf"
    write_mmproj(small("qwen3_5", size), tmp_path / "better.gguf", "BF16")
    vision = seen(model)
    assert vision.needed().path.name == "better.gguf"
    assert vision.notes == ("better.gguf is used, not right.gguf: mmproj chooses",)
    assert seen(model, tmp_path / "right.gguf").needed().path.name == "right.gguf"


def test_a_repository_s_tower_serves_its_subfolders(models: dict[Family, Path], tmp_path: Path) -> None:
    """In the Hub's cache; elsewhere, a file of the folder above belongs to another model."""
    for parent in ("snapshots", "models"):
        folder = tmp_path / parent / "0123"
        (folder / "Q8_0").mkdir(parents=True)
        model = opened(models, "qwen3_5", folder / "Q8_0")
        write_mmproj(tiny("qwen3_5", model.config.hidden_size), folder / "mmproj-BF16.gguf", "BF16")
        assert (seen(model).tower is not None) == (parent == "snapshots")


def test_a_file_that_does_not_fit_is_refused(models: dict[Family, Path], tmp_path: Path) -> None:
    model = opened(models, "llama4", tmp_path)
    with pytest.raises(CheckpointError, match="does not exist"):
        seen(model, tmp_path / "none.gguf")
    with pytest.raises(CheckpointError, match="is no mmproj file, but a model"):
        seen(model, model.checkpoint.path)
    write_mmproj(small("qwen3_5", model.config.hidden_size), tmp_path / "m.gguf", "F16")
    with pytest.raises(CheckpointError, match="tower of another model"):
        seen(model, tmp_path / "m.gguf")


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("clip.projector_type", "gemma3", "only 'qwen3vl_merger' or 'llama4' is supported"),
        ("clip.vision.is_deepstack_layers", [True, False, False], "a tower of Qwen3-VL"),
        ("clip.vision.attention.head_count", 5, "heads of a multiple of 4"),
        ("clip.vision.block_count", 2, "is not used by the tower"),
        ("clip.vision.block_count", 4, "is missing"),
        ("clip.vision.window", 7, "unknown fields could change the answer"),
        ("clip.has_vision_encoder", False, "has no vision tower"),
    ],
)
def test_damaged_mmproj_files(key: str, value: Any, why: str, tmp_path: Path, models: dict[Family, Path]) -> None:
    model = opened(models, "qwen3_5", tmp_path)
    config = small("qwen3_5", model.config.hidden_size)
    write_mmproj(config, tmp_path / "m.gguf", "F32")
    good = open_gguf(tmp_path / "m.gguf")
    outgoing = [
        OutgoingTensor(t.name, t.type, t.shape, lambda t=t: [t.data])
        for t in good.tensors.values()  # type: ignore[misc]
    ]
    write_gguf(tmp_path / "bad.gguf", {**metadata(config), key: value}, outgoing)
    with pytest.raises(CheckpointError, match=why):
        seen(model, tmp_path / "bad.gguf")


def test_fp8_towers_of_community_repositories(tmp_path: Path) -> None:
    """The type of each tensor counts, not the list of what was quantized."""
    folder = vision_models.write_folder_model(tmp_path / "m", "qwen3_5", vision=tiny("qwen3_5", 64))
    checkpoint = open_model(folder).checkpoint
    tensors: dict[str, Any] = {}
    for name, tensor in checkpoint.tensors.items():
        numbers = tensor.data.view(np.float32).reshape(tensor.shape).copy()
        tensors[name] = numbers
        if name.startswith("model.visual.") and name.endswith("linear_fc1.weight"):
            rows, columns = tensor.shape
            tensors[name] = np.random.default_rng(1).integers(0, 0x40, tensor.shape, dtype=np.uint8)
            tensors[name + "_scale_inv"] = np.full((-(-rows // 128), -(-columns // 128)), 0.25, np.float32)
    tiny_models.write_safetensors(folder / "model.safetensors", tensors)
    tower = seen(open_model(folder)).needed()
    assert tower.source_bytes["F8_E4M3"] > 0
    ours, twin = some_rows(tower)
    assert np.abs(ours - twin).max() < 1e-5 * np.abs(twin).max()


@pytest.mark.parametrize("family", FAMILIES)
def test_loaded_bytes_are_those_of_the_weights(family: Family, tmp_path: Path) -> None:
    tower = seen(open_model(vision_models.write_folder_model(tmp_path / "m", family))).needed()
    sizes: list[int] = []
    weights = load_tower(tower.config, tower.binding)
    towers.build_weights(
        tower.config, lambda name, rows, columns: sizes.append(64 * -(-rows // 16) * columns),
        lambda name, *shape: sizes.append(4 * int(np.prod(shape))), lambda dims, theta: np.zeros(0),
    )  # fmt: skip
    assert loaded_bytes(tower.config, tower.binding) == sum(sizes)
    assert weights.config == tower.config


def test_a_folder_without_a_tower(tmp_path: Path) -> None:
    folder = vision_models.write_folder_model(tmp_path / "m", "llama4", tower=False)
    with pytest.raises(RequestError, match="has no vision tower, so it reads text alone"):
        seen(open_model(folder)).needed()


def test_inspect_tells_what_a_model_sees(
    models: dict[Family, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = opened(models, "qwen3_5", tmp_path)
    path = str(model.checkpoint.path)
    assert run(["inspect", path]) == 0
    out = capsys.readouterr().out
    assert "reads          text\n" in out
    assert "missing        qwen3_5.gguf reads text alone" in out
    write_mmproj(small("qwen3_5", model.config.hidden_size), tmp_path / "m.gguf", "F16")
    assert run(["inspect", path]) == 0
    out = capsys.readouterr().out
    assert "reads          text, pictures, video\n" in out
    assert "3 layers of 144" in out
    assert run(["inspect", path, "--mmproj", str(tmp_path / "m.gguf"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["vision"]
    assert facts["path"] == str(tmp_path / "m.gguf")
    assert facts["weight_bytes"] > 4 * facts["hidden_size"] ** 2 * facts["layers"]
    assert run(["inspect", path, "--mmproj", path]) == 2


def test_inspect_counts_the_tower_s_memory(
    models: dict[Family, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = opened(models, "llama4", tmp_path)
    path = str(model.checkpoint.path)
    write_mmproj(small("llama4", model.config.hidden_size), tmp_path / "m.gguf", "F16")
    assert run(["inspect", path, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["streaming"]
    pictures = vision_bytes(seen(model).tower)
    assert facts["least_bytes_with_pictures"] == facts["least_bytes"] + pictures > facts["least_bytes"]
    assert run(["inspect", path]) == 0
    assert "on it reads pictures too" in capsys.readouterr().out
    budget = str(facts["least_bytes_with_pictures"] + (4 << 20))
    assert run(["inspect", path, "--memory", budget, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["streaming"]["resident"]["vision"] == pictures
