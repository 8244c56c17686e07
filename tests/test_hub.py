"""pull against a stand-in endpoint: which files, resumed, refused, and each failure on one line."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_stand_in import StandIn

from shoestring import hub
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
    assert len(fetched(endpoint)) == 2


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
        r"CapacityError \| org/folder needs 1,000,000,000,\d{3},\d{3},\d{3} bytes.* free [\d,]+ more bytes", line
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


@pytest.mark.parametrize("name", ["", "a", "a/b/c", "/a", "a/", "a/b:", "a b/c", "../x:y:z"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(RequestError, match="is not a Hub name"):
        hub.split_name(name)
