"""pull against a stand-in endpoint: which files, resumed, refused, and each failure on one line."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hub_stand_in import SHA, StandIn, git_blob_id

from shoestring import files, hub
from shoestring.errors import RequestError
from shoestring.hub import RemoteFile

PULL = """
import sys
from shoestring.errors import ShoestringError
from shoestring.hub import pull
try:
    print(pull(*sys.argv[1:]))
except ShoestringError as error:
    print(type(error).__name__, "|", error)
    sys.exit(2)
"""
SHARD = bytes(range(256)) * 4096  # 1 MiB
LARGE = SHARD * 24
FOLDER = {
    "config.json": b"{}",
    "preprocessor_config.json": b"{}",
    "video_preprocessor_config.json": b"{}",
    "processor_config.json": b"{}",
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b"{}",
    "chat_template.jinja": b"x",
    "generation_config.json": b"{}",
    "model.safetensors.index.json": json.dumps(
        {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    ).encode(),
    "model-1.safetensors": SHARD,
    "model-2.safetensors": SHARD[::-1],
    "README.md": b"no",
    "original/consolidated.safetensors": b"no",
    "pytorch_model.bin": b"no",
}
GGUFS = {
    "m-Q4_K_M.gguf": b"four",
    "m-Q4_K_S.gguf": b"small",
    "Q8_0/m-Q8_0-00001-of-00002.gguf": b"one",
    "Q8_0/m-Q8_0-00002-of-00002.gguf": b"two",
    "mmproj-F16.gguf": b"vision",
    "imatrix.gguf": b"no",
    "README.md": b"no",
}


@pytest.fixture
def endpoint() -> Iterator[StandIn]:
    stand_in = StandIn()
    stand_in.repositories = {"org/folder": dict(FOLDER), "org/ggufs": dict(GGUFS)}
    with stand_in.serving():
        yield stand_in


def pull(endpoint: StandIn, home: Path, *arguments: str, code: int = 0, url: str | None = None) -> str:
    """`hub.pull` in a process of its own, as the endpoint is read when huggingface_hub is imported."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    environment |= {"HF_ENDPOINT": url or endpoint.url, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
    environment |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-c", PULL, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout.strip()


def fetched(endpoint: StandIn) -> list[str]:
    return sorted(
        path.split("/", 5)[5] for method, path, _ in endpoint.requests if method == "GET" and "/resolve/" in path
    )


def test_a_folder_comes_without_what_is_not_needed(endpoint: StandIn, tmp_path: Path) -> None:
    folder = Path(pull(endpoint, tmp_path, "org/folder"))
    wanted = {name for name in FOLDER if "/" not in name and not name.endswith((".md", ".bin"))}
    assert {path.name for path in folder.iterdir()} == wanted
    assert all((folder / name).read_bytes() == FOLDER[name] for name in wanted)
    endpoint.requests.clear()
    assert Path(pull(endpoint, tmp_path, "org/folder")) == folder
    assert fetched(endpoint) == []  # nothing twice


def test_a_quantization_comes_with_all_its_parts(endpoint: StandIn, tmp_path: Path) -> None:
    path = Path(pull(endpoint, tmp_path, "org/ggufs:q8_0"))
    assert path.name == "m-Q8_0-00001-of-00002.gguf"
    assert [part.read_bytes() for part in sorted(path.parent.iterdir())] == [b"one", b"two"]
    assert (path.parents[1] / "mmproj-F16.gguf").read_bytes() == b"vision"  # which the model needs to see
    assert len(fetched(endpoint)) == 3


def spans(endpoint: StandIn, name: str) -> list[int]:
    """Where each download of a file began."""
    asked = [span for method, path, span in endpoint.requests if method == "GET" and path.endswith(name)]
    return [int(span.split("=")[1].split("-")[0]) if span else 0 for span in asked]


def test_a_broken_download_goes_on(endpoint: StandIn, tmp_path: Path) -> None:
    endpoint.repositories["org/large"] = {"m-Q8_0.gguf": LARGE}
    endpoint.breaks["m-Q8_0.gguf"] = [21 << 20]
    path = Path(pull(endpoint, tmp_path, "org/large"))
    assert path.read_bytes() == LARGE
    first, second = spans(endpoint, "m-Q8_0.gguf")
    assert first == 0 < second <= 21 << 20


def test_an_ended_process_is_gone_on_from_by_the_next(endpoint: StandIn, tmp_path: Path) -> None:
    endpoint.repositories["org/large"] = {"m-Q8_0.gguf": LARGE}
    endpoint.breaks["m-Q8_0.gguf"] = [11 << 20, *[0] * 20]
    assert "HubError" in pull(endpoint, tmp_path, "org/large", code=2)
    assert not list(tmp_path.rglob("*.gguf"))
    endpoint.breaks.clear()
    endpoint.requests.clear()
    assert Path(pull(endpoint, tmp_path, "org/large")).read_bytes() == LARGE
    (start,) = spans(endpoint, "m-Q8_0.gguf")
    assert start >= 10 << 20
    assert not list(tmp_path.rglob("*shoestring*"))


def test_a_damaged_part_is_removed(endpoint: StandIn, tmp_path: Path) -> None:
    endpoint.repositories["org/large"] = {"m-Q8_0.gguf": LARGE}
    blobs = tmp_path / "hub/models--org--large/blobs"
    blobs.mkdir(parents=True)
    part = blobs / f"{hashlib.sha256(LARGE).hexdigest()}.shoestring.incomplete"
    part.write_bytes(b"wrong" * 1000)
    assert "was damaged and has been removed" in pull(endpoint, tmp_path, "org/large", code=2)
    assert not part.exists()
    part.write_bytes(LARGE + b"longer")
    assert Path(pull(endpoint, tmp_path, "org/large")).read_bytes() == LARGE


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("org/ggufs",), r"RequestError \| .*several checkpoints.*m-Q8_0\.gguf.*m-Q4_K_M\.gguf.*m-Q4_K_S\.gguf"),
        (("org/ggufs:Q4_K",), r"no GGUF file of quantization Q4_K: choose one of"),
        (("org/folder:Q4_K_M",), r"has safetensors and no GGUF"),
        (("org/absent",), r"RequestError \| http.* has no repository org/absent"),
        (("org/folder", "", "v9"), r"org/folder has no revision v9"),
        (("not a name",), r"RequestError \| 'not a name' is not a Hub name"),
    ],
)
def test_refusals(endpoint: StandIn, tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    line = pull(endpoint, tmp_path, *arguments, code=2)
    assert re.search(says, line), line
    assert "\n" not in line
    assert fetched(endpoint) == []


def test_a_gated_repository_says_what_to_do(endpoint: StandIn, tmp_path: Path) -> None:
    endpoint.refused["org/folder"] = 403
    assert "accept" in pull(endpoint, tmp_path, "org/folder", code=2)


def test_a_full_disk_is_noticed_before_anything_is_fetched(endpoint: StandIn, tmp_path: Path) -> None:
    endpoint.announced["model-1.safetensors"] = 10**18
    line = pull(endpoint, tmp_path, "org/folder", code=2)
    assert re.match(
        r"CapacityError \| org/folder needs [\d.]+ TiB and .* has [\d.]+ [GT]iB free: free [\d.]+ TiB more, ", line
    ), line
    assert fetched(endpoint) == []
    assert not list(tmp_path.rglob("*.safetensors"))


def test_offline_is_one_line(endpoint: StandIn, tmp_path: Path) -> None:
    line = pull(endpoint, tmp_path, "org/folder", code=2, url="http://127.0.0.1:9")
    assert line.startswith("HubError | cannot reach http://127.0.0.1:9 for org/folder")
    assert "\n" not in line


def test_what_is_cached_resolves_without_network(
    endpoint: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pull(endpoint, tmp_path, "org/folder")
    gguf = pull(endpoint, tmp_path, "org/ggufs", "Q8_0")
    endpoint.requests.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert str(hub.cached("org/folder")) == folder
    assert str(hub.cached("org/ggufs", "Q8_0")) == str(hub.cached("org/ggufs")) == gguf
    assert hub.cached("org/ggufs", "Q4_K_M") is None
    assert hub.cached("org/absent") is None
    assert endpoint.requests == []


def test_choice_of_files() -> None:
    def names(*files: str, quant: str | None = None) -> list[str]:
        return [file.path for file in hub.choose([RemoteFile(name, 1) for name in files], "o/r", quant)]

    assert names("m.gguf", "README.md") == ["m.gguf"]
    assert names("model.safetensors", "config.json", "m-Q4_0.gguf") == ["model.safetensors", "config.json"]
    assert names("model.safetensors", "m-Q4_0.gguf", quant="Q4_0") == ["m-Q4_0.gguf"]
    assert names("m-UD-Q4_K_XL.gguf", "m-Q4_K_M.gguf", quant="UD-Q4_K_XL") == ["m-UD-Q4_K_XL.gguf"]
    assert names("m.q4_k_m.gguf", "m-Q4_K.gguf", quant="Q4_K_M") == ["m.q4_k_m.gguf"]
    assert names("BF16/x-00001-of-00002.gguf", "BF16/x-00002-of-00002.gguf", "y.gguf", quant="BF16") == [
        "BF16/x-00001-of-00002.gguf",
        "BF16/x-00002-of-00002.gguf",
    ]
    with pytest.raises(RequestError, match="neither safetensors nor GGUF"):
        names("README.md")


@pytest.mark.parametrize(
    ("model", "files", "tower"),
    [
        ("m-Q4_0.gguf", ["mmproj-F32.gguf", "mmproj-BF16.gguf", "mmproj-F16.gguf"], "mmproj-BF16.gguf"),
        ("m-Q4_0.gguf", ["mmproj-m-Q8_0.gguf", "mmproj-m-f16.gguf"], "mmproj-m-f16.gguf"),
        ("m-Q4_0.gguf", ["mmproj.gguf"], "mmproj.gguf"),
        ("m-Q4_0.gguf", ["other/mmproj-BF16.gguf", "imatrix.gguf", "mmproj-BF16.txt"], None),
        ("Q4_0/m-Q4_0.gguf", ["mmproj-BF16.gguf"], "mmproj-BF16.gguf"),
        ("Q4_0/m-Q4_0.gguf", ["mmproj-BF16.gguf", "Q4_0/mmproj-F16.gguf"], "Q4_0/mmproj-F16.gguf"),
        ("model.safetensors", ["mmproj-BF16.gguf"], None),
    ],
)
def test_choice_of_the_vision_tower(model: str, files: list[str], tower: str | None) -> None:
    listed = [RemoteFile(name, 1) for name in (model, *files)]
    found = hub.tower_of(listed[:1], listed)
    assert (None if found is None else found.path) == tower


@pytest.mark.parametrize("name", ["", "a", "a/b/c", "/a", "a/", "a/b:", "a b/c", "../x:y:z"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(RequestError, match="is not a Hub name"):
        hub.split_name(name)


# --- a hostile or mistaken Hub -------------------------------------------------------------------------------------


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or path.is_file()}


def refused_and_untouched(endpoint: StandIn, tmp_path: Path, repo: str, says: str) -> None:
    home = tmp_path / "a" / "b" / "home"
    (tmp_path / "mine.gguf").write_bytes(b"mine")
    line = pull(endpoint, home, repo, code=2)
    assert re.search(says, line), line
    assert "\n" not in line
    assert files_below(tmp_path) <= {"mine.gguf"}
    assert (tmp_path / "mine.gguf").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("etag", "size"),
    [("../../../../../../mine.gguf", 17 << 20), ("../x", 4), ("", 4), ("0" * 39, 4), ("0" * 64 + "/../x", 17 << 20)],
)
def test_an_etag_never_is_a_path(endpoint: StandIn, tmp_path: Path, etag: str, size: int) -> None:
    endpoint.repositories["org/bad"] = {"m-Q8_0.gguf": bytes(size)}
    endpoint.etags["m-Q8_0.gguf"] = etag
    refused_and_untouched(endpoint, tmp_path, "org/bad", "no SHA-256 or git blob id of m-Q8_0.gguf")


@pytest.mark.parametrize("commit", ["../../../../mine.gguf", "", SHA + "/.."])
def test_a_commit_never_is_a_path(endpoint: StandIn, tmp_path: Path, commit: object) -> None:
    endpoint.commit = commit
    refused_and_untouched(endpoint, tmp_path, "org/folder", "as its commit|is no commit")


@pytest.mark.parametrize("name", ["../mine.gguf", "a/../../mine.gguf", "/mine.gguf", "C:\\m.gguf", "\x1b.gguf"])
def test_a_file_stays_in_its_folder(endpoint: StandIn, tmp_path: Path, name: str) -> None:
    endpoint.repositories["org/bad"] = {name: b"bad"}
    refused_and_untouched(endpoint, tmp_path, "org/bad", "no path inside a folder")


@pytest.mark.parametrize(
    ("lists_identities", "git", "size"),
    [(True, True, 1000), (True, False, 17 << 20), (False, True, 1000), (False, False, 1000)],
)
def test_contents_are_verified_before_they_have_a_name(
    endpoint: StandIn, tmp_path: Path, lists_identities: bool, git: bool, size: int
) -> None:
    name = "config.json" if git else "model.safetensors"
    right = {"config.json": b"{}", "model.safetensors": b"{}", name: b"right" + bytes(size)}
    endpoint.repositories["org/bad"] = right
    endpoint.lists_identities = lists_identities
    endpoint.etags["config.json"] = git_blob_id(right["config.json"])
    endpoint.sent[name] = b"wrong" + bytes(size)
    line = pull(endpoint, tmp_path, "org/bad", code=2)
    assert f"the download of {name} was damaged and has been removed" in line
    assert not [path for path in files_below(tmp_path) if path.endswith(name)]
    identities = {path.name for path in tmp_path.glob("hub/models--*/blobs/*")}
    assert identities <= {hashlib.sha256(b"{}").hexdigest(), git_blob_id(b"{}")}
    del endpoint.sent[name]
    assert (Path(pull(endpoint, tmp_path, "org/bad")) / name).read_bytes() == right[name]


def test_more_bytes_than_announced_are_not_stored(endpoint: StandIn, tmp_path: Path) -> None:
    endpoint.repositories["org/bad"] = {"m-Q8_0.gguf": b"right"}
    endpoint.sent["m-Q8_0.gguf"] = bytes(50 << 20)
    assert "HubError" in pull(endpoint, tmp_path, "org/bad", code=2)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 1000


@pytest.mark.parametrize("place", ["snapshots", "blobs", "partial"])
def test_a_pipe_in_the_cache_is_not_replaced(endpoint: StandIn, tmp_path: Path, place: str) -> None:
    endpoint.repositories["org/one"] = {"m-Q8_0.gguf": b"one"}
    identity = hashlib.sha256(b"one").hexdigest()
    cache = tmp_path / "hub" / "models--org--one"
    pipe = {
        "snapshots": cache / "snapshots" / SHA / "m-Q8_0.gguf",
        "blobs": cache / "blobs" / identity,
        "partial": cache / "blobs" / f"{identity}.shoestring.incomplete",
    }[place]
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)
    pull(endpoint, tmp_path, "org/one", code=2)
    assert pipe.is_fifo()


def test_partial_downloads_of_old_revisions_are_removed_unless_they_run(endpoint: StandIn, tmp_path: Path) -> None:
    endpoint.repositories["org/large"] = {"m-Q8_0.gguf": LARGE, "m-Q4_0.gguf": b"four"}
    endpoint.lists_identities = True
    blobs = tmp_path / "hub/models--org--large/blobs"
    blobs.mkdir(parents=True)
    stale, running, wanted = (
        blobs / f"{name}.shoestring.incomplete" for name in ("a" * 64, "b" * 64, hashlib.sha256(LARGE).hexdigest())
    )
    for path in (stale, running, wanted):
        path.write_bytes(LARGE[:1000])
    descriptor = files.open_locked(running)
    try:
        pull(endpoint, tmp_path, "org/large:Q4_0")
    finally:
        os.close(descriptor)
    assert [path.exists() for path in (stale, running, wanted)] == [False, True, True]


def test_two_processes_download_a_file_once(endpoint: StandIn, tmp_path: Path) -> None:
    endpoint.repositories["org/large"] = {"m-Q8_0.gguf": LARGE}
    with ThreadPoolExecutor(2) as executor:
        paths = list(executor.map(lambda _: pull(endpoint, tmp_path, "org/large"), range(2)))
    assert paths[0] == paths[1]
    assert Path(paths[0]).read_bytes() == LARGE
    assert len(fetched(endpoint)) == 1
