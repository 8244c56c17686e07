"""The other examples: the unit with systemd's own checker, the settings, and a rotation by logrotate itself."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from operator_examples import FOLDER, text_of

from shoestring.server.http.logs.lines import Style
from shoestring.server.http.logs.log_file import LogFile
from shoestring.server.http.logs.log_writer import LogWriter
from shoestring.server.http.run import _END_SECONDS
from shoestring.server.http.settings import Settings, resolve

DOCUMENT = FOLDER.parents[1] / "docs" / "operators.md"
UNIT = "shoestring.service"


def test_the_document_names_every_example() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    named = set(re.findall(r"\]\(\.\./examples/operators/([\w.-]+)\)", text))
    assert named == {path.name for path in FOLDER.iterdir()}


def test_the_settings_are_ours() -> None:
    settings = resolve({}, {}, FOLDER / "serve.toml").settings
    assert settings.trusted_proxies == ("127.0.0.1", "::1")
    assert settings.host == "127.0.0.1"


def test_the_unit_starts_what_exists_and_waits_for_the_end() -> None:
    text = text_of(UNIT)
    (start,) = re.findall(r"^ExecStart=(.*)$", text, re.M)
    program, *arguments = shlex.split(start)
    assert (Path(program).name, arguments) == ("shoestring", ["serve", "--config", "/etc/shoestring/serve.toml"])
    (stop,) = re.findall(r"^TimeoutStopSec=(\d+)$", text, re.M)
    assert int(stop) > Settings().shutdown_timeout + _END_SECONDS
    assert "RestartPreventExitStatus=2\n" in text


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    user = pwd.getpwuid(os.getuid()).pw_name
    changes = {"/opt/shoestring/bin/shoestring": sys.executable, "User=shoestring": f"User={user}"}
    unit = tmp_path / UNIT

    def complaints(text: str) -> str:
        unit.write_text(text)
        command = ["systemd-analyze", "verify", "--man=no", str(unit)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return "".join(line for line in result.stderr.splitlines() if UNIT in line)

    text = text_of(UNIT, **changes)
    assert complaints(text) == ""
    assert complaints(text.replace("KillMode=mixed", "KillMode=never")) != "", "the checker finds nothing"


@pytest.mark.skipif(shutil.which("logrotate") is None, reason="logrotate is not installed")
@pytest.mark.parametrize("copy", [False, True])
def test_logrotate_loses_no_line(copy: bool, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir(mode=0o755)
    user = pwd.getpwuid(os.getuid()).pw_name
    changes = {"/var/log/shoestring": str(logs), "0640 shoestring shoestring": f"0640 {user} {user}"}
    if copy:
        changes["    create 0640 shoestring shoestring\n"] = "    copytruncate\n"
        del changes["0640 shoestring shoestring"]
    config = tmp_path / "logrotate.conf"
    config.write_text(text_of("logrotate.conf", **changes))
    config.chmod(0o644)
    style = Style(as_json=True)
    writer = LogWriter(LogFile(logs / "serve.log", style).descriptor, style)
    for number in range(3):
        writer(style.message(f"line {number}"))
        assert _written(logs / "serve.log", f"line {number}")
        subprocess.run(
            ["logrotate", "--force", "--state", str(tmp_path / "state"), str(config)], check=True, timeout=60
        )
    writer(style.message("line 3"))
    assert writer.close(10)
    subprocess.run(["gunzip", *map(str, logs.glob("*.gz"))], check=True)
    texts = {path.name: path.read_text() for path in logs.iterdir()}
    assert sorted(re.findall(r"line (\d)", "".join(texts.values()))) == ["0", "1", "2", "3"]
    assert len(texts) == 4


def _written(path: Path, text: str) -> bool:
    end = time.monotonic() + 30
    while text not in path.read_text():
        assert time.monotonic() < end
        time.sleep(0.005)
    return True
