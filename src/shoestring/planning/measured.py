"""Save the speeds that `shoestring bench` measured in the user's data folder, and find them for plan.

There is one file per machine, model, KV type and number of threads; a new measurement replaces it. Failures to save or
read are not errors: plan then estimates.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoestring import bounded_json
from shoestring.catalogue.schema import Catalogue, Model
from shoestring.errors import RequestError, ShoestringError
from shoestring.files import read_input, write_whole
from shoestring.kv_types import KV_TYPES, KVType
from shoestring.planning.candidates.candidates import resolve_row
from shoestring.planning.candidates.formats import ALIASES, TYPES
from shoestring.planning.hardware import kept
from shoestring.planning.hardware.detect import this_key
from shoestring.planning.memory import AS_STORED, Need, Placement

#: Bytes of a file of measurements
LARGEST_FILE = 1 << 20
#: tokens of a prompt from which on its rate is about that of longer ones; plan does not use the rate of a shorter one
LEAST_PROMPT = 256
#: set in a file of measurements with another number of threads than the commands use by themselves
OTHER_THREADS = "other_threads"


@dataclass(frozen=True)
class Measured:
    """Tokens/s of one model in one type, for one user, on this machine's processor."""

    #: id of a row of the catalogue, else the name of the file or folder
    model: str
    type: str
    decode: float
    #: None: not of a prompt that is long enough
    prefill: float | None
    #: where it comes from, for people
    source: str
    kv_type: KVType = "f16"

    def in_memory(self, n: Need) -> bool:
        """Whether it is the speed of the same weights, all in memory, with one sequence in the same KV type."""
        return (n.candidate.id, n.sizes.type, n.kv_type, n.users) == (self.model, self.type, self.kv_type, 1)

    def __str__(self) -> str:
        kv = "" if self.kv_type == "f16" else f" with KV {self.kv_type}"
        return f"{self.model}, {self.type}{kv}, {self.decode:.3g} tokens/s ({self.source})"

    def applies(self, n: Need, placed: Placement) -> bool:
        """Whether it applies to a placed model: bench measures our engine, all in RAM, with one sequence."""
        return self.in_memory(n) and placed.fit == "ram"


def folder() -> Path:
    """The folder of this machine's measurements."""
    return kept.folder(this_key())


def unlike_plan(facts: Mapping[str, Any]) -> str | None:
    """Why bench's results are not the speed of the model that plan assesses; None: they are."""
    if "streaming" in facts:
        return "with experts on disk: plan needs the speed of a model in memory"
    if "changed_experts" in facts:
        return f"with {facts['changed_experts']}: plan needs the speed of the model's own number"
    if facts.get("layers") is not None:
        return f"with {facts['layers']} layers: plan needs the speed of the whole model"
    return None


def remember(facts: Mapping[str, Any], path: Path, usual_threads: int | None = None) -> Path | None:
    """Save bench's results for the checkpoint at `path`. Returns the file, or None if it cannot be written.

    usual_threads: those that the commands use by themselves. Results of another number are for `kept_seconds` alone.
    """
    threads = facts.get("threads")
    other = {} if usual_threads in (None, threads) else {OTHER_THREADS: True}
    name = _name(path, facts.get("kv_type", "f16"), threads)
    return save(dict(facts) | other | {"path": str(path.resolve())}, name)


def _name(path: Path, kv_type: str, threads: int | None) -> str:
    kind = [kv_type] * (kv_type != "f16") + [f"{threads}-threads"] * (threads is not None)
    return "-".join([*path.resolve().parts[-2:], *kind])


def _file(name: str) -> Path:
    return folder() / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('-')}.json"


def save(facts: Mapping[str, Any], name: str) -> Path | None:
    """Save measurements under a name, with today's date. Returns the file, or None if it cannot be written."""
    saved = dict(facts) | {"model": str(facts["model"]), "date": datetime.date.today().isoformat()}
    target = _file(name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with write_whole(target, begins=b"{") as file:
            file.write(json.dumps(saved, indent=1).encode("utf-8", "replace"))
    except (OSError, ShoestringError):
        return None
    return target


def kept_seconds(path: Path, threads: int, kv_type: KVType = "f16") -> float | None:
    """Seconds of a token of this very file or folder in memory, as bench measured it last with these settings."""
    file = _file(_name(path, kv_type, threads))
    try:
        facts = bounded_json.loads(read_input(file, LARGEST_FILE))
        same = facts["path"] == str(path.resolve()) and unlike_plan(facts) is None
        rate = float(facts["decode_tokens_per_second"])
    except (OSError, ShoestringError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None
    return 1 / rate if same and rate > 0 else None


def recall(catalogue: Catalogue) -> tuple[Measured, ...]:
    """All measurements of bench on this machine that plan uses, the newest last."""
    results = []
    try:
        files = [
            file for file in folder().glob("*.json") if file.name not in (kept.FILE, kept.DISKS_FILE, kept.LIMITS_FILE)
        ]
        files.sort(key=lambda file: (file.stat().st_mtime, file.name))
    except OSError:
        return ()
    for file in files:
        try:
            results.append(read_measured(file, catalogue))
        except RequestError:
            continue
    return tuple(results)


def read_measured(path: Path, catalogue: Catalogue) -> Measured:
    """Speeds from a file of `shoestring bench --json` or of `remember`. Raises RequestError for anything else."""
    try:
        facts = bounded_json.loads(read_input(path, LARGEST_FILE))
        decode, prefill = float(facts["decode_tokens_per_second"]), float(facts["prefill_tokens_per_second"])
        long_enough = facts.get("prompt_tokens", LEAST_PROMPT) >= LEAST_PROMPT
        name, where = str(facts["model"]), str(facts.get("path", ""))
        bench_type, date = str(facts.get("type") or ""), str(facts.get("date", ""))
        how = str(facts.get("source") or "shoestring bench")
        kv_type: KVType = next(known for known in KV_TYPES if known == facts.get("kv_type", "f16"))
        unlike = "with another number of threads" if OTHER_THREADS in facts else unlike_plan(facts)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, StopIteration) as error:
        raise RequestError(f"{path} is not output of `shoestring bench --json`: {error}") from error
    if unlike is not None:
        raise RequestError(f"{path} was measured {unlike}")
    if not (decode > 0 and prefill > 0):
        raise RequestError(f"{path}: decode_tokens_per_second and prefill_tokens_per_second must be above 0")
    source, of_prompts = f"{how}, {date}" if date else path.name, prefill if long_enough else None
    row = _row(name, where, catalogue)
    if row is None:
        return Measured(Path(where or name).name, AS_STORED, decode, of_prompts, source, kv_type)
    type_ = bench_type or type_in(Path(where).name) or type_in(name.rpartition(":")[2]) or AS_STORED
    return Measured(row.id, type_, decode, of_prompts, source, kv_type)


def type_in(name: str) -> str:
    """The longest type that is a word in a file name or tag; "" for none."""
    words = re.sub(r"[^A-Z0-9_]+", " ", name.upper().replace("-", " ").replace(".", " ")).split()
    names = [t for t in (*TYPES, *ALIASES) if t in words]
    longest = max(names, key=len, default="")
    return ALIASES.get(longest, longest)


def _row(name: str, where: str, catalogue: Catalogue) -> Model | None:
    """The catalogue's model for the name that bench was called with, or for the file that it used."""
    row = resolve_row(name, catalogue)
    if row is not None:
        return row
    for row in catalogue.models.values():
        if name.partition(":")[0] in (row.gguf, row.repository):
            return row
    text = "/".join(Path(where or name).parts[-2:]).casefold()
    inside = [r for r in catalogue.models.values() if r.repository.rpartition("/")[2].casefold() in text]
    return max(inside, key=lambda r: len(r.repository), default=None)
