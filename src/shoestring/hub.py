"""pull: download a checkpoint from the Hugging Face Hub into its standard cache, only the needed files.

huggingface_hub handles the Hub's protocol, HF_ENDPOINT, HF_HUB_CACHE and HF_TOKEN. This module chooses the files,
checks the disk space, resumes downloads of earlier processes, verifies every file before the cache has it, and explains
errors in one line. It trusts no path and no contents that the Hub sends.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

from shoestring.checkpoint.formats.json_file import read_json
from shoestring.errors import CapacityError, CheckpointError, RequestError, ShoestringError
from shoestring.files import check_writable, open_locked, read_text, remove_unlocked, write_whole
from shoestring.printable import shortened
from shoestring.sizes import human

#: organisation/repository, followed by a colon and a quantization if the repository has several GGUF files
NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(:(?P<quant>[\w.-]+))?")

#: Text files of a Hugging Face folder that loading a model needs.
_TEXTS = re.compile(
    r"(config|generation_config|tokenizer|tokenizer_config|chat_template|special_tokens_map|added_tokens"
    r"|preprocessor_config|video_preprocessor_config|processor_config"
    r"|model\.safetensors\.index)\.json|chat_template\.jinja"
)
#: Vision towers of GGUF models are files of their own, which begin so. Their types, the wanted one first.
_TOWER, _TOWER_TYPES = "mmproj", ("BF16", "F16", "F32", "Q8_0")
_SHARD = re.compile(r"-\d{5}-of-\d{5}(?=\.gguf$)")
#: SHA-256, or git's SHA-1
_IDENTITY = re.compile("[0-9a-f]{64}|[0-9a-f]{40}")
_PARTIAL = ".shoestring.incomplete"
#: Disk space to leave free after the download.
_SPARE_BYTES = 64 * 2**20


class HubError(ShoestringError):
    """The Hub is unreachable or refuses the request."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository; `size` is in bytes, 0 if unknown."""

    path: str
    size: int
    #: SHA-256 of a large file, git's blob id of a small one; "" if the Hub's list has none
    identity: str = ""


def split_name(name: str) -> tuple[str, str | None]:
    """("organisation/repository", quantization or None). Raises RequestError for anything else."""
    match = NAME.fullmatch(name)
    if match is None:
        raise RequestError(
            f"{name!r} is not a Hub name: write ORGANISATION/REPOSITORY, with :Q4_K_M for a quantization"
        )
    return match["repo"], match["quant"]


@dataclass(frozen=True)
class Selection:
    """A checkpoint on the Hub: the files to download of one commit. revision: the branch or tag that was asked for.

    tower: the mmproj file among them, of a GGUF model that sees. listed: all files of the repository.
    """

    repo: str
    revision: str | None
    commit: str
    files: tuple[RemoteFile, ...]
    listed: tuple[RemoteFile, ...]
    tower: RemoteFile | None = None

    @property
    def size_bytes(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def missing_bytes(self) -> int:
        """Bytes that are not yet in the cache, without what interrupted downloads left."""
        return sum(file.size for file in self.files if not _is_cached(self.repo, file, self.commit))

    @property
    def folder(self) -> Path:
        """Where the files are in the cache."""
        return _cache(self.repo) / "snapshots" / self.commit

    @property
    def path(self) -> Path:
        """The folder, or the GGUF file (of a split one the first part)."""
        ggufs = sorted(file.path for file in self.files if file.path.endswith(".gguf") and file != self.tower)
        return self.folder / ggufs[0] if ggufs else self.folder


def select(repo: str, quant: str | None = None, revision: str | None = None, *, sees: bool = True) -> Selection:
    """Ask the Hub which files a checkpoint has. Downloads nothing.

    repo: "organisation/repository", or with ":quant". quant: which of a repository's GGUF files ("Q4_K_M"). revision:
    a branch, a tag or a commit; None: main. sees: with the vision tower of a GGUF model. Raises RequestError (unknown
    repository or revision, no matching or several files), HubError.
    """
    repo, named = split_name(repo)
    from huggingface_hub import HfApi

    try:
        info = HfApi().model_info(repo, revision=revision, files_metadata=True)
        listed = [
            RemoteFile(f.rfilename, f.size or 0, (f.lfs.sha256 if f.lfs else f.blob_id) or "")
            for f in info.siblings or []
        ]
        files = choose(listed, repo, quant or named)
        tower = tower_of(files, listed) if sees else None
        files = files if tower is None else [*files, tower]
        commit = _checked_commit(repo, info.sha)
        for path in (*(file.path for file in files), revision or "main"):
            _check_path(repo, path)
    except ShoestringError:
        raise
    except Exception as error:
        raise explain(repo, revision, error) from None
    return Selection(repo, revision, commit, tuple(files), tuple(listed), tower)


def download(selection: Selection) -> Path:
    """Download a checkpoint; skip files that are already there, and resume interrupted downloads.

    Returns its path. Raises CapacityError (disk space), HubError.
    """
    repo, commit = selection.repo, selection.commit
    cache = _cache(repo)
    try:
        check_space(repo, list(selection.files), commit)
        for file in selection.files:
            _fetch(repo, file, commit, cache)
        _name_revision(cache, selection.revision or "main", commit)
        _remove_stale(cache / "blobs", list(selection.listed))
    except ShoestringError:
        raise
    except Exception as error:
        raise explain(repo, selection.revision, error) from None
    return selection.path


def pull(repo: str, quant: str | None = None, revision: str | None = None) -> Path:
    """`select`, then `download`. Raises the errors of both."""
    return download(select(repo, quant, revision))


def _cache(repo: str) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"


def _is_cached(repo: str, file: RemoteFile, commit: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(repo, file.path, revision=commit), str)


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
        if base.endswith(".gguf") and not base.startswith(_TOWER) and "imatrix" not in base:
            models.setdefault(_SHARD.sub("", file.path), []).append(file)
    return models


def tower_of(chosen: list[RemoteFile], listed: list[RemoteFile]) -> RemoteFile | None:
    """The best mmproj file (`_TOWER_TYPES`) of a chosen GGUF model: beside it, else at the repository's top."""
    folder = chosen[0].path.rpartition("/")[0]
    ranked: list[tuple[bool, int, str, RemoteFile]] = []
    for file in listed if chosen[0].path.endswith(".gguf") else ():
        where, _, base = file.path.rpartition("/")
        if where in (folder, "") and base.lower().startswith(_TOWER) and base.lower().endswith(".gguf"):
            types = [at for at, kind in enumerate(_TOWER_TYPES) if is_quant(base, kind)]
            ranked.append((where != folder, types[0] if types else len(_TOWER_TYPES), base, file))
    return min(ranked)[3] if ranked else None


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
            f"{repo} needs {human(missing, 'up')} and {existing} has {human(free, 'down')} free: "
            f"free {human(short, 'up')} more, "
            "or set HF_HUB_CACHE to a folder on a larger disk"
        )


def _checked_commit(repo: str, commit: object) -> str:
    if not isinstance(commit, str) or not re.fullmatch("[0-9a-f]{40}", commit):
        raise HubError(
            f"the Hub's revision of {repo} is {shortened(repr(commit), 100)}, which is no commit: pull nothing from it"
        )
    return commit


def _check_path(repo: str, path: str) -> None:
    """Raise HubError unless a name from the Hub stays inside the folder that it is joined to, on any system."""
    parts = path.split("/")
    if not path.isprintable() or any(part in ("", ".", "..") for part in parts) or set(path) & set("\\:"):
        raise HubError(
            f"{repo} names {shortened(repr(path), 100)}, which is no path inside a folder: pull nothing from it"
        )


def _fetch(repo: str, file: RemoteFile, commit: str, cache: Path) -> None:
    """Download one file into the cache, verify it, then name it. Resumes the download of an earlier process.

    huggingface_hub resumes only within a process, names a blob after any ETag ("../…" included), and verifies nothing.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.file_download import _create_symlink, http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    if isinstance(try_to_load_from_cache(repo, file.path, revision=commit), str):
        return
    url = hf_hub_url(repo, file.path, revision=commit)
    remote = get_hf_file_metadata(url)
    identity = file.identity or remote.etag or ""
    if not _IDENTITY.fullmatch(identity):
        raise HubError(
            f"{repo} has no SHA-256 or git blob id of {file.path}, so it cannot be verified: set another HF_ENDPOINT"
        )
    size = file.size or remote.size or 0
    headers = build_hf_headers()
    if urlsplit(remote.location).netloc != urlsplit(url).netloc:
        headers.pop("authorization", None)
    blob, partial = cache / "blobs" / identity, cache / "blobs" / (identity + _PARTIAL)
    pointer = cache / "snapshots" / commit / file.path
    for folder in (blob.parent, pointer.parent):
        folder.mkdir(parents=True, exist_ok=True)
    if not pointer.is_symlink():
        check_writable(pointer)
    with os.fdopen(open_locked(partial), "r+b") as out:  # waits for another process that downloads it
        check_writable(blob)
        if blob.exists():
            partial.unlink()
        else:
            receiver = _Receiver(out, identity, size)
            if receiver.tell() < size:
                http_get(
                    remote.location,
                    cast(BinaryIO, receiver),
                    resume_size=receiver.tell(),
                    headers=headers,
                    expected_size=size,
                    displayed_filename=file.path,
                )
            out.flush()
            if receiver.hexdigest() != identity:
                partial.unlink()
                raise HubError(f"{repo}: the download of {file.path} was damaged and has been removed: pull again")
            os.fsync(out.fileno())
            partial.replace(blob)
    _create_symlink(str(blob), str(pointer), new_blob=True)


class _Receiver:
    """A file of a known size that computes the identity of what is written, beginning with what it has already."""

    def __init__(self, file: BinaryIO, identity: str, size: int) -> None:
        self._file, self._identity, self._size = file, identity, size
        self._digest = self._new_digest()
        while block := file.read(1 << 22):
            self._digest.update(block)
        if file.tell() > size:
            self.seek(0)
            self.truncate()

    def _new_digest(self) -> Any:
        if len(self._identity) == 64:
            return hashlib.sha256()
        return hashlib.sha1(b"blob %d\0" % self._size, usedforsecurity=False)

    def write(self, data: bytes) -> int:
        if self._file.tell() + len(data) > self._size:
            raise HubError(f"the Hub sends more than the {self._size:,} bytes that it announced: pull nothing from it")
        self._digest.update(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, position: int) -> None:
        """Only to the beginning, before `truncate`: where a server does not resume, all is sent again."""
        if position:
            raise HubError("the download cannot go on inside a file: pull again")
        self._file.seek(0)

    def truncate(self) -> None:
        self._file.truncate()
        self._digest = self._new_digest()

    def hexdigest(self) -> str:
        return str(self._digest.hexdigest())


def _name_revision(cache: Path, revision: str, commit: str) -> None:
    """Record which commit a branch or tag means."""
    if revision == commit:
        return
    name = cache / "refs" / revision
    name.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(name) as file:
        file.write(commit.encode("ascii"))


def _remove_stale(blobs: Path, remote: list[RemoteFile]) -> None:
    """Remove partial downloads of files that the repository has no more, unless another process downloads them."""
    identities = {file.identity for file in remote}
    if "" in identities:
        return
    for partial in blobs.glob(f"*{_PARTIAL}"):
        if partial.name.removesuffix(_PARTIAL) not in identities:
            remove_unlocked(partial)


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
    text = shortened(" ".join(str(error).split()), 200) or type(error).__name__
    if isinstance(error, errors.OfflineModeIsEnabled | ConnectionError | TimeoutError | errors.LocalEntryNotFoundError):
        return HubError(f"cannot reach {constants.ENDPOINT} for {repo}: {text}")
    if type(error).__module__.startswith(("httpx", "httpcore", "requests", "urllib3")):
        return HubError(f"cannot reach {constants.ENDPOINT} for {repo}: {text}")
    return HubError(f"cannot download {repo} from {constants.ENDPOINT}: {text}")


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
        main = read_text(folder / "refs" / "main", 1 << 10).strip()
    except (OSError, RequestError):
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
        names = set(read_json(index)["weight_map"].values()) if index.exists() else set()
        return (folder / "config.json").is_file() and all((folder / name).is_file() for name in names)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, CheckpointError):
        return False
