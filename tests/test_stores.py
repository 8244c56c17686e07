"""Checkpoints in other programs' stores: found by what they are, used where they lie, nothing else listed."""

import json
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from platformdirs.macos import MacOS
from platformdirs.unix import Unix
from platformdirs.windows import Windows

from shoestring import stores
from shoestring.checkpoint.formats.gguf import read_architecture
from shoestring.errors import RequestError


def gguf(path: Path, architecture: str = "qwen35", before: bytes = b"", size: int = 500) -> Path:
    """A GGUF header with its architecture, behind other keys, padded to `size` bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name = architecture.encode()
    key = struct.pack("<Q", 20) + b"general.architecture" + struct.pack("<IQ", 8, len(name)) + name
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 2 if before else 1) + before + key
    path.write_bytes(head.ljust(size, b"\0"))
    return path


def folder(path: Path, model_type: str = "llama4", **more: object) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps({"model_type": model_type, **more}))
    (path / "model.safetensors").write_bytes(b"x" * 300)
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder in which all four stores lie at their usual places."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("LLAMA_CACHE", "OLLAMA_MODELS", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / ".cache/huggingface/hub"))
    monkeypatch.setattr("platformdirs.PlatformDirs", Unix)
    return tmp_path


def snapshot(home: Path, repo: str, revision: str = "abc") -> Path:
    return home / ".cache/huggingface/hub" / f"models--{repo.replace('/', '--')}" / "snapshots" / revision


def listed() -> dict[str, tuple[str, str, Path, int]]:
    return {item.name: (item.store, item.family, item.path, item.size_bytes) for item in stores.find_checkpoints()}


def test_no_store_at_all(home: Path) -> None:
    assert stores.find_checkpoints() == []
    assert stores.find_checkpoint("a/b") is None


def test_hugging_face(home: Path) -> None:
    one = folder(snapshot(home, "org/folder"))
    single = gguf(snapshot(home, "org/single") / "m-Q8_0.gguf")
    many = snapshot(home, "org/many")
    small, large = gguf(many / "m-Q4_K_M.gguf"), gguf(many / "m-BF16-00001-of-00002.gguf")
    gguf(many / "m-BF16-00002-of-00002.gguf", size=700)
    gguf(many / "mmproj-F16.gguf", "clip")
    folder(snapshot(home, "org/other"), "gemma3")
    gguf(snapshot(home, "org/others") / "m.gguf", "qwen3")
    assert listed() == {
        "org/folder": ("Hugging Face", "llama4", one, 300),
        "org/single": ("Hugging Face", "qwen3_5", single, 500),
        "org/many:Q4_K_M": ("Hugging Face", "qwen3_5", small, 500),
        "org/many:BF16": ("Hugging Face", "qwen3_5", large, 1200),
    }
    for name, (_, _, path, _) in listed().items():
        assert stores.find_checkpoint(name) == path
    with pytest.raises(RequestError, match=r"several checkpoints.*m-BF16\.gguf.*m-Q4_K_M\.gguf"):
        stores.find_checkpoint("org/many")
    assert stores.find_checkpoint("org/many:Q2_K") is None


def test_of_several_revisions_that_of_main_counts(home: Path) -> None:
    folder(snapshot(home, "org/m", "old"))
    current = folder(snapshot(home, "org/m", "new"))
    folder(snapshot(home, "org/m", "newest"))
    refs = current.parents[1] / "refs"
    refs.mkdir()
    (refs / "main").write_text("new")
    assert listed()["org/m"][2] == current == stores.find_checkpoint("org/m")
    assert len(stores.find_checkpoints()) == 1


def test_what_was_not_downloaded_to_its_end_has_no_name(home: Path) -> None:
    broken = folder(snapshot(home, "org/m"))
    (broken / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "model-2.safetensors"}}))
    gguf(snapshot(home, "org/g") / "m-00001-of-00003.gguf")
    gguf(home / ".cache/llama.cpp/m-00002-of-00002.gguf")
    assert listed() == {}
    assert stores.find_checkpoint("org/m") is None
    assert stores.find_checkpoint("org/g") is None


def test_llama_cpp(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = gguf(home / ".cache/llama.cpp/org_m_m-Q4_K_M.gguf", "llama4")
    assert listed() == {"org_m_m-Q4_K_M.gguf": ("llama.cpp", "llama4", path, 500)}
    assert stores.find_checkpoint("org_m_m-Q4_K_M.gguf") == path
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "xdg"))
    assert listed() == {}
    monkeypatch.setenv("LLAMA_CACHE", str(home / ".cache/llama.cpp"))
    assert list(listed()) == ["org_m_m-Q4_K_M.gguf"]


@pytest.mark.parametrize(("platform", "where"), [(MacOS, "Library/Caches"), (Windows, "AppData/Local")])
def test_llama_cpp_elsewhere(home: Path, monkeypatch: pytest.MonkeyPatch, platform: type, where: str) -> None:
    monkeypatch.setattr("platformdirs.PlatformDirs", platform)
    folders = {"CSIDL_LOCAL_APPDATA": str(home / "AppData/Local")}
    monkeypatch.setattr("platformdirs.windows.get_win_folder", folders.__getitem__)
    path = gguf(home / where / "llama.cpp" / "m.gguf")
    assert listed()["m.gguf"][2] == path


def test_lm_studio(home: Path) -> None:
    path = gguf(home / ".lmstudio/models/org/repo/m-Q4_K_M.gguf")
    old = gguf(home / ".cache/lm-studio/models/org/old/m.gguf", "llama4")
    whole = folder(home / ".lmstudio/models/org/whole", "qwen3_5_moe")
    folder(home / ".lmstudio/models/org/mlx", "qwen3_5", quantization={"bits": 4})
    moved = gguf(home / "elsewhere/models/org/moved/m.gguf")
    (home / ".lmstudio-home-pointer").write_text(f"{home / 'elsewhere'}\n")
    assert listed() == {
        "org/repo/m-Q4_K_M.gguf": ("LM Studio", "qwen3_5", path, 500),
        "org/old/m.gguf": ("LM Studio", "llama4", old, 500),
        "org/whole": ("LM Studio", "qwen3_5", whole, 300),
        "org/moved/m.gguf": ("LM Studio", "qwen3_5", moved, 500),
    }
    assert stores.find_checkpoint("org/whole") == whole


def manifest(root: Path, name: str, digest: str, media: str = "application/vnd.ollama.image.model") -> None:
    path = root / "manifests" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    layers = [{"mediaType": "application/vnd.ollama.image.license", "digest": "sha256:1"}]
    path.write_text(json.dumps({"layers": [*layers, {"mediaType": media, "digest": digest}]}))


def test_ollama(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = home / ".ollama/models"
    blob = gguf(root / "blobs/sha256-aa", "qwen35moe")
    gguf(root / "blobs/sha256-bb", "mistral")
    manifest(root, "registry.ollama.ai/library/qwen3.5/35b", "sha256:aa")
    manifest(root, "hf.co/org/repo/Q8_0", "sha256:aa")
    manifest(root, "registry.ollama.ai/library/other/7b", "sha256:bb")
    manifest(root, "registry.ollama.ai/library/gone/7b", "sha256:cc")
    manifest(root, "registry.ollama.ai/library/escape/7b", "sha256:../../x")
    (root / "manifests/junk").write_bytes(b"\xff{")
    assert listed() == {
        "qwen3.5:35b": ("Ollama", "qwen3_5", blob, 500),
        "hf.co/org/repo:Q8_0": ("Ollama", "qwen3_5", blob, 500),
    }
    assert stores.find_checkpoint("qwen3.5:35b") == blob
    monkeypatch.setenv("OLLAMA_MODELS", str(home / "moved"))
    assert listed() == {}


def key(name: bytes, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(name)) + name + struct.pack("<I", kind) + value


@pytest.mark.parametrize(
    "before",
    [
        key(b"a", 4, b"1234"),
        key(b"a", 7, b"\x01"),
        key(b"a", 12, b"12345678"),
        key(b"a", 8, struct.pack("<Q", 3) + b"xyz"),
        key(b"a", 9, struct.pack("<IQ", 4, 2) + b"12345678"),
        key(b"a", 9, struct.pack("<IQ", 8, 2) + (struct.pack("<Q", 1) + b"x") * 2),
    ],
)
def test_the_architecture_is_found_behind_other_keys(tmp_path: Path, before: bytes) -> None:
    assert read_architecture(gguf(tmp_path / "m.gguf", "llama4", before)) == "llama4"


@pytest.mark.parametrize("before", [key(b"a", 7, b"1"), key(b"a", 9, struct.pack("<IQ", 9, 0))])
def test_a_header_that_loading_refuses_has_no_architecture(tmp_path: Path, before: bytes) -> None:
    assert read_architecture(gguf(tmp_path / "m.gguf", "llama4", before)) is None


@settings(deadline=None)  # the machine may be busy
@given(st.binary(max_size=80), st.integers(0, 120))
def test_damaged_files_are_passed_by(tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int) -> None:
    path = gguf(tmp_path_factory.mktemp("damaged") / "m.gguf")
    good = path.read_bytes()
    path.write_bytes(good[:at] + noise)
    assert read_architecture(path) in (None, "qwen35") or noise
    path.write_bytes(b"GGUF" + noise)
    read_architecture(path)


DEEP = "[" * 100_000 + "]" * 100_000
ODD = [
    "", "[]", "3", "null", "{}", DEEP, f'{{"layers": {DEEP}}}', '{"layers": null}', '{"layers": 3}', '{"layers": {}}',
    '{"layers": "ab"}', '{"layers": [3, null, []]}', '{"layers": [{}]}', '{"layers": [{"mediaType": 3, "digest": 4}]}',
    '{"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:\\u0000"}]}',
    '{"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": null}]}',
    '{"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": ".."}]}',
    '{"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:\\ud800"}]}',
    '{"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": "' + "a" * 5000 + '"}]}',
    '{"model_type": ' + DEEP + "}", '{"model_type": {"a": 1}}', '{"weight_map": 3}', '{"weight_map": {"a": 3}}',
    '{"model_type": "llama4", "weight_map": {"a": "\\u0000"}}', '{"layers": 1' + "0" * 5000 + "}",
]  # fmt: skip


@pytest.mark.parametrize("text", ODD, ids=lambda text: text[:40])
def test_odd_files_in_stores_are_passed_by(home: Path, text: str) -> None:
    """Each where the four stores have JSON; what is whole beside them is listed."""
    good = gguf(home / ".ollama/models/blobs/sha256-aa")
    root = home / ".ollama/models"
    manifest(root, "registry.ollama.ai/library/good/1b", "sha256:aa")
    odd = [
        root / "manifests/registry.ollama.ai/library/odd/1b",
        root / "manifests/odd",
        root / "manifests/host/odd",
        snapshot(home, "org/odd") / "config.json",
        folder(snapshot(home, "org/index")) / "model.safetensors.index.json",
        folder(home / ".lmstudio/models/org/odd") / "config.json",
        home / ".lmstudio-home-pointer",
    ]
    for path in odd:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for depth in ("bare", "host2/model"):  # a manifest of a model, at a depth that has no name
        manifest(root, depth, "sha256:aa")
    found = listed()
    assert found["good:1b"] == ("Ollama", "qwen3_5", good, 500)
    assert set(found) <= {"good:1b", "org/index", "org/odd"}
    assert stores.find_checkpoint("odd:1b") is None
