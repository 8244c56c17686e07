"""pull: download a checkpoint from the Hugging Face Hub into its standard cache, only the needed files.

huggingface_hub handles the Hub's protocol, the layout of the cache, and HF_ENDPOINT, HF_HUB_CACHE and HF_TOKEN. This
module chooses the files, checks the disk space, resumes downloads of earlier processes and explains errors in one line.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from shoestring.errors import CapacityError, RequestError, ShoestringError

#: organisation/repository, followed by a colon and a quantization if the repository has several GGUF files
NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(:(?P<quant>[\w.-]+))?")

#: Text files of a Hugging Face folder that loading a model needs.
_TEXTS = re.compile(
    r"(config|generation_config|tokenizer|tokenizer_config|chat_template|special_tokens_map|added_tokens"
    r"|model\.safetensors\.index)\.json|chat_template\.jinja"
)
_SHARD = re.compile(r"-\d{5}-of-\d{5}(?=\.gguf$)")
#: Downloads of files from this size on can be resumed by another process.
_RESUMED_BYTES = 16 * 2**20
_PARTIAL = ".shoestring.incomplete"
#: Disk space to leave free after the download.
_SPARE_BYTES = 64 * 2**20


class HubError(ShoestringError):
    """The Hub is unreachable or refuses the request."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository; `size` is in bytes."""

    path: str
    size: int


def split_name(name: str) -> tuple[str, str | None]:
    """("organisation/repository", quantization or None). Raises RequestError for anything else."""
    match = NAME.fullmatch(name)
    if match is None:
        raise RequestError(
            f"{name!r} is not a Hub name: write ORGANISATION/REPOSITORY, with :Q4_K_M for a quantization"
        )
    return match["repo"], match["quant"]


def pull(repo: str, quant: str | None = None, revision: str | None = None) -> Path:
    """Download a checkpoint; skip files that are already there, and resume interrupted downloads.

    repo: "organisation/repository", or with ":quant". quant: which of a repository's GGUF files ("Q4_K_M").
    Returns the folder, or the GGUF file (of a split one the first part).
    Raises RequestError (unknown repository, no matching or several files), CapacityError (disk space), HubError.
    """
    repo, named = split_name(repo)
    quant = quant or named
    from huggingface_hub import HfApi, snapshot_download

    try:
        info = HfApi().model_info(repo, revision=revision, files_metadata=True)
        remote = [RemoteFile(file.rfilename, file.size or 0) for file in info.siblings or []]
        files = choose(remote, repo, quant)
        check_space(repo, files, info.sha)
        for file in files:
            if file.size >= _RESUMED_BYTES:
                _fetch(repo, file, info.sha)
        folder = Path(
            snapshot_download(repo, revision=revision, allow_patterns=[_literal(file.path) for file in files])
        )
    except ShoestringError:
        raise
    except Exception as error:
        raise explain(repo, revision, error) from None
    ggufs = sorted(file.path for file in files if file.path.endswith(".gguf"))
    return folder / ggufs[0] if ggufs else folder


def choose(files: list[RemoteFile], repo: str, quant: str | None) -> list[RemoteFile]:
    """The files to download. Raises RequestError if there are none, or several checkpoints match."""
    models = gguf_models(files)
    weights = [f for f in files if "/" not in f.path and f.path.endswith(".safetensors")]
    if quant is None and weights:
        return [*weights, *(f for f in files if _TEXTS.fullmatch(f.path))]
    if not models:
        if quant is not None and weights:
            raise RequestError(f"{repo} has safetensors and no GGUF file: pull it without :{quant}")
        raise RequestError(f"{repo} has neither safetensors nor GGUF files: choose another repository")
    matching = {name: parts for name, parts in models.items() if quant is None or is_quant(name, quant)}
    if len(matching) == 1:
        return next(iter(matching.values()))
    listed = ", ".join(
        f"{Path(name).name} ({sum(part.size for part in parts) / 1e9:.1f} GB)"
        for name, parts in (matching or models).items()
    )
    if matching:
        which = f":{quant}" if quant else "a name without a quantization"
        raise RequestError(
            f"{repo}: {which} matches several checkpoints; choose one with a suffix like :Q4_K_M: {listed}"
        )
    raise RequestError(f"{repo} has no GGUF file of quantization {quant}: choose one of {listed}")


def gguf_models(files: list[RemoteFile]) -> dict[str, list[RemoteFile]]:
    """GGUF checkpoints by name, each with all its parts; without vision projectors and imatrices."""
    models: dict[str, list[RemoteFile]] = {}
    for file in sorted(files, key=lambda file: file.path):
        base = file.path.rpartition("/")[2].lower()
        if base.endswith(".gguf") and not base.startswith("mmproj") and "imatrix" not in base:
            models.setdefault(_SHARD.sub("", file.path), []).append(file)
    return models


def is_quant(name: str, quant: str) -> bool:
    """Whether a file's name or folder ends in this quantization: Q4_K matches x-Q4_K.gguf, not x-Q4_K_M.gguf."""
    folder, _, base = name.rpartition("/")
    ending = re.compile(rf"(?:^|.*[-._]){re.escape(quant)}", re.IGNORECASE)
    return any(ending.fullmatch(text) is not None for text in (base.removesuffix(".gguf"), folder))


def check_space(repo: str, files: list[RemoteFile], revision: str | None) -> None:
    """Raise CapacityError if the cache's disk has no space for the missing part of `files`."""
    from huggingface_hub import constants, try_to_load_from_cache

    cache = Path(constants.HF_HUB_CACHE)
    missing = sum(
        file.size for file in files if not isinstance(try_to_load_from_cache(repo, file.path, revision=revision), str)
    )
    blobs = cache / f"models--{repo.replace('/', '--')}" / "blobs"
    partial_size = sum(part.stat().st_size for part in blobs.glob(f"*{_PARTIAL}")) if blobs.is_dir() else 0
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    short = missing - min(partial_size, missing) + _SPARE_BYTES - free
    if missing and short > 0:
        raise CapacityError(
            f"{repo} needs {missing:,} bytes and {existing} has {free:,} free: free {short:,} more bytes, "
            "or set HF_HUB_CACHE to a folder on a larger disk"
        )


def _fetch(repo: str, file: RemoteFile, revision: str | None) -> None:
    """Download one file into the cache's blobs, and resume the download of an earlier process.

    huggingface_hub resumes only within a process: it discards the partial download of an earlier one.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import WeakFileLock, build_hf_headers  # type: ignore[attr-defined]

    if isinstance(try_to_load_from_cache(repo, file.path, revision=revision), str):
        return
    url = hf_hub_url(repo, file.path, revision=revision)
    remote = get_hf_file_metadata(url)
    if remote.etag is None or not re.fullmatch(r"[\w.-]+", remote.etag):
        return  # no identity to resume by: huggingface_hub downloads it
    blobs = Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}" / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    blob, partial = blobs / remote.etag, blobs / (remote.etag + _PARTIAL)
    headers = build_hf_headers()
    if urlsplit(remote.location).netloc != urlsplit(url).netloc:
        headers.pop("authorization", None)
    with WeakFileLock(partial.with_suffix(".lock")):
        if blob.exists():
            return
        partial_size = partial.stat().st_size if partial.exists() else 0
        if partial_size > file.size:
            partial.unlink()
            partial_size = 0
        if partial_size < file.size:
            with partial.open("ab") as out:
                http_get(
                    remote.location,
                    out,
                    resume_size=partial_size,
                    headers=headers,
                    expected_size=file.size,
                    displayed_filename=file.path,
                )
        if partial_size and len(remote.etag) == 64 and _sha256(partial) != remote.etag:
            partial.unlink()
            raise HubError(f"{repo}: the download of {file.path} was damaged and has been removed: pull again")
        partial.replace(blob)
    partial.with_suffix(".lock").unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def explain(repo: str, revision: str | None, error: Exception) -> ShoestringError:
    """Convert an error of huggingface_hub to one line for the user."""
    from huggingface_hub import constants, errors

    if isinstance(error, errors.GatedRepoError):
        return HubError(f"{repo} requires you to accept its terms: accept them on its page, then run `hf auth login`")
    if isinstance(error, errors.RepositoryNotFoundError):
        return RequestError(f"{constants.ENDPOINT} has no repository {repo}, or it is private: check the name")
    if isinstance(error, errors.RevisionNotFoundError):
        return RequestError(f"{repo} has no revision {revision}: check the name")
    if isinstance(error, OSError) and error.errno == 28:
        return CapacityError(
            f"the disk filled up during the download of {repo}: free some space and pull again to resume"
        )
    text = " ".join(str(error).split())[:200] or type(error).__name__
    if isinstance(error, errors.OfflineModeIsEnabled | ConnectionError | TimeoutError | errors.LocalEntryNotFoundError):
        return HubError(f"cannot reach {constants.ENDPOINT} for {repo}: {text}")
    if type(error).__module__.startswith(("httpx", "httpcore", "requests", "urllib3")):
        return HubError(f"cannot reach {constants.ENDPOINT} for {repo}: {text}")
    return HubError(f"cannot download {repo} from {constants.ENDPOINT}: {text}")


def _literal(path: str) -> str:
    """An fnmatch pattern that matches only this path."""
    return re.sub(r"([*?[])", r"[\1]", path)


def cached(repo: str, quant: str | None = None) -> Path | None:
    """The newest snapshot of a repository in the local cache, or its GGUF file; None if absent. Uses no network.

    Only snapshots with all parts of their weights count. Raises RequestError if several checkpoints match.
    """
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"
    for snapshot in snapshots(folder):
        files = [
            RemoteFile(path.relative_to(snapshot).as_posix(), path.stat().st_size)
            for path in snapshot.rglob("*")
            if path.is_file()
        ]
        try:
            chosen = choose(files, repo, quant)
        except RequestError as error:
            if "several" in str(error):
                raise
            continue
        ggufs = sorted(file.path for file in chosen if file.path.endswith(".gguf"))
        if ggufs:
            if complete_split(ggufs):
                return snapshot / ggufs[0]
        elif complete_folder(snapshot):
            return snapshot
    return None


def snapshots(folder: Path) -> list[Path]:
    """Snapshots of a cached repository: `main` first, then the newest."""
    try:
        snapshots = sorted((folder / "snapshots").iterdir(), key=lambda path: -path.stat().st_mtime)
    except OSError:
        return []
    try:
        main = (folder / "refs" / "main").read_text().strip()
    except OSError:
        main = ""
    return sorted(snapshots, key=lambda path: path.name != main)


def complete_split(parts: list[str]) -> bool:
    """Whether all parts of a split GGUF file, sorted, are there."""
    match = re.search(r"-of-(\d{5})\.gguf$", parts[0])
    return match is None or len(parts) == int(match[1])


def complete_folder(folder: Path) -> bool:
    """Whether a folder has its config and every shard in its index."""
    index = folder / "model.safetensors.index.json"
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()) if index.exists() else set()
        return (folder / "config.json").is_file() and all((folder / name).is_file() for name in names)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return False
