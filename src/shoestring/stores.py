"""list: find checkpoints of both families that other programs have stored on this machine, and use them in place.

Searches the stores of Hugging Face, llama.cpp, LM Studio and Ollama. Reads only the architecture of a GGUF file, and
only the model_type in a folder's config.json.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import platformdirs

from shoestring.checkpoint.config.types import GGUF_ARCHITECTURES, MODEL_TYPES
from shoestring.checkpoint.formats.gguf import read_architecture
from shoestring.checkpoint.formats.json_file import read_json
from shoestring.errors import CheckpointError, RequestError
from shoestring.files import read_text

Store = Literal["Hugging Face", "llama.cpp", "LM Studio", "Ollama", "embedded"]

#: GGUF architecture or model_type → family
FAMILIES = {name: "llama4" if name.startswith("llama4") else "qwen3_5" for name in (*GGUF_ARCHITECTURES, *MODEL_TYPES)}

#: Bytes of a file that contains one path
_LARGEST_POINTER = 1 << 16
#: A manifest is below host, then perhaps a namespace, then model, and is named by its tag.
_MANIFEST_DEPTH = 3
_OLLAMA_MODEL = "application/vnd.ollama.image.model"


@dataclass(frozen=True)
class Found:
    """A checkpoint in a store.

    name: a MODEL for commands, or the store's own name. path: what to load. size_bytes: size of the weights.
    """

    name: str
    store: Store
    family: str
    path: Path
    size_bytes: int


def find_checkpoints() -> list[Found]:
    """All checkpoints of both families in the four stores, by store and name. Skips unreadable files."""
    checkpoints = [*_hugging_face(), *_llama_cpp(), *_lm_studio(), *_ollama()]
    return sorted(checkpoints, key=lambda item: (item.store, item.name.lower(), str(item.path)))


def find_checkpoint(name: str) -> Path | None:
    """The local path of a Hub name ("org/repo", "org/repo:Q4_K_M") or of a store's own name; None if absent.

    Uses no network. Raises RequestError if a name matches several checkpoints.
    """
    from shoestring import hub

    if hub.NAME.fullmatch(name):
        repo, quant = hub.split_name(name)
        path = hub.cached(repo, quant)
        if path is not None:
            return path
    return next((item.path for item in find_checkpoints() if item.name == name), None)


# ---- the stores


def _hugging_face() -> Iterator[Found]:
    from huggingface_hub import constants

    from shoestring import hub

    for folder in _folders(Path(constants.HF_HUB_CACHE)):
        if not folder.name.startswith("models--"):
            continue
        repo = folder.name.removeprefix("models--").replace("--", "/")
        for snapshot in hub.snapshots(folder):  # of several revisions, use the one that a Hub name means
            ggufs = list(_gguf_tree(snapshot, "Hugging Face"))
            checkpoints = [
                replace(item, name=repo if len(ggufs) == 1 else f"{repo}:{_ending(item.path.name)}") for item in ggufs
            ]
            checkpoints += _folder(snapshot, repo, "Hugging Face")
            if checkpoints:
                yield from checkpoints
                break


def _ending(file: str) -> str:
    """The quantization at the end of a file's name, for a Hub name."""
    stem = file.removesuffix(".gguf").partition("-00001-of-")[0]
    return stem.rpartition("-")[2] or stem


def _llama_cpp() -> Iterator[Found]:
    folder = os.environ.get("LLAMA_CACHE")
    yield from _gguf_tree(Path(folder) if folder else platformdirs.user_cache_path() / "llama.cpp", "llama.cpp")


def _lm_studio() -> Iterator[Found]:
    homes = [Path.home() / ".lmstudio", Path.home() / ".cache" / "lm-studio"]
    with suppress(OSError, ValueError, RequestError):
        homes.insert(0, Path(read_text(Path.home() / ".lmstudio-home-pointer", _LARGEST_POINTER).strip()))
    seen = set()
    for home in homes:
        models = home / "models"
        if _is_folder(models) and models.resolve() not in seen:
            seen.add(models.resolve())
            yield from _gguf_tree(models, "LM Studio")
            for config in _files(models, "config.json"):
                folder = config.parent
                yield from _folder(folder, folder.relative_to(models).as_posix(), "LM Studio")


def _ollama() -> Iterator[Found]:
    override = os.environ.get("OLLAMA_MODELS")
    roots = [Path(override)] if override else [Path.home() / ".ollama/models", Path("/usr/share/ollama/.ollama/models")]
    for root in roots:
        manifests = root / "manifests"
        for manifest in _files(manifests, ""):
            try:
                layers = read_json(manifest)["layers"]
                digests = [str(layer["digest"]) for layer in layers if layer["mediaType"] == _OLLAMA_MODEL]
                blobs = [root / "blobs" / digest.replace(":", "-", 1) for digest in digests if "/" not in digest]
                size = sum(blob.stat().st_size for blob in blobs)
            except (OSError, ValueError, TypeError, KeyError, CheckpointError):
                continue
            family = FAMILIES.get(read_architecture(blobs[0]) or "") if blobs else None
            parts = manifest.relative_to(manifests).parts
            if family and len(parts) >= _MANIFEST_DEPTH:
                host, *middle, model, tag = parts
                short = [part for part in (host, *middle) if part not in ("registry.ollama.ai", "library")]
                yield Found("/".join([*short, f"{model}:{tag}"]), "Ollama", family, blobs[0], size)


def _gguf_tree(root: Path, store: Store) -> Iterator[Found]:
    """GGUF checkpoints below a folder, named by their path in it."""
    from shoestring.hub import RemoteFile, complete_split, gguf_models

    files = {path.relative_to(root).as_posix(): path for path in _files(root, ".gguf")}
    for name, parts in gguf_models([RemoteFile(name, path.stat().st_size) for name, path in files.items()]).items():
        first = files[parts[0].path]
        family = FAMILIES.get(read_architecture(first) or "")
        if family and complete_split([part.path for part in parts]):
            yield Found(name, store, family, first, sum(part.size for part in parts))


def _folder(folder: Path, name: str, store: Store) -> Iterator[Found]:
    """A folder with config.json and safetensors, if we support its family and format."""
    from shoestring.hub import complete_folder

    try:
        config = read_json(folder / "config.json")
        family = FAMILIES.get(str(config["model_type"])) if "quantization" not in config else None  # MLX's format
    except (KeyError, CheckpointError):
        return
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors") if path.is_file())
    if family and size and complete_folder(folder):
        yield Found(name, store, family, folder, size)


def _files(root: Path, ending: str) -> list[Path]:
    """Files below `root` whose names end in `ending`, sorted. Skips broken links and unreadable folders."""
    paths = []
    for folder, _, names in os.walk(root):
        paths += [Path(folder, name) for name in names if name.endswith(ending)]
    return sorted(path for path in paths if path.is_file())


def _is_folder(path: Path) -> bool:
    """Whether it is a folder. A path that another program wrote may be no path at all."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _folders(root: Path) -> list[Path]:
    try:
        return sorted(path for path in root.iterdir() if path.is_dir())
    except OSError:
        return []
