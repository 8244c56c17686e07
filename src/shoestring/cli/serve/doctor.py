"""`shoestring doctor`: check whether this machine can serve a model, with which settings, and how to fix problems.

Runs the checks of `serve` without loading anything. The exit code is 1 if something is missing.
"""

from __future__ import annotations

import json as json_module
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import typer

from shoestring.cli import options
from shoestring.cli.find import find
from shoestring.cli.program import as_typed
from shoestring.cli.say import say
from shoestring.cli.serve import settings_options as o
from shoestring.cli.serve.serve import load_options, resolved, start_rows
from shoestring.cli.shared import spread
from shoestring.errors import ShoestringError
from shoestring.packages import install_command, missing_server_packages
from shoestring.printable import printable
from shoestring.runtime.scripted import DEMO_SCRIPTED
from shoestring.sizes import human

if TYPE_CHECKING:
    from shoestring.server.http.settings import Resolved, Settings

HELP = """Check whether this machine can serve MODEL: what works, what is missing and how to fix it, and the settings in
effect with their sources. Nothing is loaded. The exit code is 1 if something is missing."""

#: Settings that name something, or nothing.
_NAMES = (
    *("record_routes", "api_key_file", "ssl_certfile", "ssl_keyfile", "log_file"),
    *("api_key_env", "ray_address", "vllm_python", "min_speed"),
)
_MARKS = {"ok": "ok     ", "warning": "warning", "failed": "MISSING"}


@dataclass(frozen=True)
class Finding:
    """The result of one check. fix: how to fix a problem."""

    name: str
    state: Literal["ok", "warning", "failed"]
    text: str
    fix: str | None = None


@spread
def doctor(served: o.Served, where: o.Where, json: options.Json = False, debug: options.Debug = False) -> None:
    findings: list[Finding] = [extension(), packages()]
    effective: Resolved | None = None
    try:
        effective = resolved({**asdict(served), **asdict(where)})
    except ShoestringError as error:
        findings.append(failed("settings", error, "fix it where it is set"))
    if effective is not None:
        for name, check in checks_of(effective.settings):
            findings.append(checked(name, check, effective.settings))
    if json:
        report = {
            "checks": [asdict(finding) for finding in findings],
            "settings": None if effective is None else in_effect(effective),
        }
        say(json_module.dumps(report))
    else:
        show(findings, effective)
    if any(finding.state == "failed" for finding in findings):
        raise typer.Exit(1)


def show(findings: list[Finding], effective: Resolved | None) -> None:
    """Print the findings and settings as text."""
    for finding in findings:
        say(f"{_MARKS[finding.state]}  {finding.name:10}{printable(finding.text)}")
        if finding.fix is not None:
            say(f"{'':19}→ {printable(finding.fix)}")
    if effective is not None:
        say("\nsettings" + (f" (file {printable(str(effective.file))})" if effective.file else ""))
        for name, setting in in_effect(effective).items():
            say(f"  {name:20}{printable(_shown(name, setting['value'])):28}{setting['source']}")
    missing = sum(finding.state == "failed" for finding in findings)
    say(as_typed(f"\n{missing} of these must be fixed before `shoestring serve` can start") if missing else "\nready")


def _shown(name: str, value: Any) -> str:
    from shoestring.server.http.settings import SIZES

    if value is None:
        return {"model": "demo-llama4", "experts_per_token": "the file's", **dict.fromkeys(_NAMES, "none")}.get(
            name, "decided at start"
        )
    if name in SIZES:
        return human(value)
    return ", ".join(value) or "none" if isinstance(value, list | tuple) else str(value)


def in_effect(effective: Resolved) -> dict[str, dict[str, Any]]:
    """Settings by name, with their sources; secrets are hidden."""
    from shoestring.server.http.settings import SECRET

    shown = {}
    for name, source in effective.sources.items():
        value = getattr(effective.settings, name)
        if name in SECRET and value:
            value = f"{len(value)}, not shown"
        shown[name] = {"value": value, "source": source}
    return shown


# --- the checks


def failed(name: str, error: Exception, fix: str | None = None) -> Finding:
    """A failed check. Most errors already say what to do."""
    return Finding(name, "failed", " ".join(str(error).split()), fix)


def extension() -> Finding:
    """Check the compiled extension, and report the instruction sets that this processor can run."""
    try:
        from shoestring import ops

        isa, variants = ops.isa(), ops.variants()
    except ImportError as error:
        return failed("kernels", error, "reinstall shoestring; unset SHOESTRING_ISA if it is set")
    text = f"{isa} (this CPU supports {', '.join(variants)})"
    if isa == "scalar":
        return Finding("kernels", "warning", text, "no vector instructions: answers will be very slow")
    return Finding("kernels", "ok", text)


def packages() -> Finding:
    missing = missing_server_packages()
    if missing:
        return Finding(
            "packages", "failed", f"not installed: {', '.join(missing)}", f"run `{install_command(missing)}`"
        )
    return Finding("packages", "ok", "all packages of the extra [server]")


Check = Callable[["Settings"], str]


def checks_of(settings: Settings) -> list[tuple[str, Check]]:
    """The checks that these settings need, by name."""
    checks: list[tuple[str, Check]] = [("access", access), ("port", port)]
    if settings.ssl_certfile is not None or settings.ssl_keyfile is not None:
        checks.append(("tls", tls))
    if settings.log_file is not None:
        checks.append(("log", log_file))
    if settings.on == "local":
        return [*checks, ("model", memory)]
    from shoestring.cli.cluster import checks as elsewhere

    return [*checks, *elsewhere.checks_of(settings, memory)]


def tls(settings: Settings) -> str:
    """The certificate. Raises RequestError if its files cannot be used."""
    from shoestring.server.http.tls import server_context

    server_context(settings)
    return f"{settings.ssl_certfile} and its key fit"


def log_file(settings: Settings) -> str:
    """The log file. Raises RequestError if it cannot be written."""
    from shoestring.server.http.logs.log_file import check_log_file

    return f"{check_log_file(settings)} can be written"


def access(settings: Settings) -> str:
    """Who may connect. Raises RequestError if other machines could without a key."""
    from shoestring.server.http import exposure
    from shoestring.server.http.keys import read_keys

    keys = read_keys(settings)
    exposure.check_exposure(settings, keys)
    return exposure.access(settings, keys)


def port(settings: Settings) -> str:
    from shoestring.server.http.sockets import bind

    with bind(settings.host, settings.port):
        return f"{settings.host}:{settings.port} is free"


def memory(settings: Settings) -> str:
    """Memory of the model. Raises ShoestringError if the file is unreadable or does not fit."""
    from shoestring.runtime.loading import prepare
    from shoestring.runtime.memory import free_memory
    from shoestring.samples.smollm_as_llama4 import DEMO_NAME

    if settings.model == DEMO_SCRIPTED:
        return f"{DEMO_SCRIPTED}: a script without weights"
    path = find(settings.model or DEMO_NAME)
    prepared = prepare(path, settings.threads, settings.kv_type, settings.context, **load_options(settings))
    needs = prepared.memory()
    experts = f"experts {human(needs.experts)}, " if needs.experts else ""
    experts += f"pictures {human(needs.vision)}, " if needs.vision else ""
    text = (
        f"{settings.model or DEMO_NAME}: weights {human(needs.weights)}, {experts}state {human(needs.state)} for "
        f"{prepared.plan.sequences} at once, prefix cache {human(needs.cache)}, process {human(needs.process)}, "
        f"context {prepared.plan.context:,}; {human(free_memory())} are free"
    )
    return "; ".join([text, *(" ".join(filter(None, row)) for row in start_rows(prepared))])


def checked(name: str, check: Check, settings: Settings) -> Finding:
    try:
        return Finding(name, "ok", check(settings))
    except (ShoestringError, OSError, ImportError) as error:
        return failed(name, error)
