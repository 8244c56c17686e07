"""Shoestring's own disk tier: the split that loading makes, the formula of the limit, and what follows from memory."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import llama4, qwen3_5

from shoestring.catalogue.load import builtin_catalogue
from shoestring.errors import CapacityError, RequestError
from shoestring.models.workspace import PROCESS_BYTES
from shoestring.planning.assess import Assessment, Question, assess
from shoestring.planning.candidates.candidates import Candidate, from_row
from shoestring.planning.candidates.checkpoints import from_path
from shoestring.planning.hardware.machine import GIB, SYSTEM_BYTES, Hardware
from shoestring.planning.hardware.parse import parse_hardware
from shoestring.planning.measured import Measured
from shoestring.planning.memory import AS_STORED, need, place
from shoestring.planning.plan import plan
from shoestring.planning.roofline import decode_seconds
from shoestring.planning.side_by_side import compare
from shoestring.planning.speed import estimate
from shoestring.planning.streamed.disk import ASSUMED_DISK, disk_rate
from shoestring.planning.streamed.placing import on_disk, place_streamed
from shoestring.planning.streamed.speed import memory_seconds, tokens_per_second
from shoestring.planning.work import split_of, work_of
from shoestring.runtime import loading
from shoestring.runtime.opening import open_model
from shoestring.samples.synthetic import write_synthetic
from shoestring.streaming.limit import REACHED, expected_seconds
from shoestring.streaming.predict import published_curve
from shoestring.streaming.routes import RouteRecorder
from shoestring.streaming.slots import ExpertBytes

CATALOGUE = builtin_catalogue()
MIXTURES = {id: from_row(row) for id, row in CATALOGUE.models.items() if from_row(row).config.num_experts_per_tok}
QWEN, SCOUT = MIXTURES["qwen3.5-397b-a17b"], MIXTURES["llama-4-scout"]


def machine(ram: float, disk: float = 0.0, measured: bool = False, cores: int = 8) -> Hardware:
    """A server with so much memory beside what others need."""
    return Hardware(
        "test", ram_bytes=int(ram) + SYSTEM_BYTES, ram_bandwidth=80e9, cores=cores, cpu_flops=6e11,
        disk_bandwidth=disk, disk_known=disk > 0, disk_measured=measured,
    )  # fmt: skip


def assessed(candidate: Candidate, m: Hardware, **question: Any) -> Assessment:
    return assess(candidate, m, Question(**question), CATALOGUE)


# --- memory ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Q4_K_M", "Q8_0", "BF16"])
@pytest.mark.parametrize("config", [qwen3_5(experts=64, layers=6), llama4(step=2)], ids=["qwen3.5", "llama4"])
@pytest.mark.parametrize("users", [1, 3])
def test_the_split_is_that_of_loading(
    config: Any, kind: str, users: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slots, rows of passes and state of a local file are those that `load(memory=…)` would have, at any budget."""
    path = tmp_path / "own.gguf"
    write_synthetic(config, path, kind)
    candidate, opened = from_path(path), open_model(path)
    monkeypatch.setattr(loading, "free_memory", lambda: 1 << 50)
    monkeypatch.setattr(loading, "own_memory", lambda: 0)
    least = 0
    for budget in (PROCESS_BYTES, *range(opened.streaming_bytes(8, 64), 2 * opened.streaming_bytes(8, 64), 3_333_333)):
        placed = place_streamed(candidate, machine(budget), 64, users, None, "f16")
        assert placed is not None
        n, p = placed
        try:
            planned = loading.plan(
                opened, kv_type="f16", context=64, threads=8, memory=budget, parallel=users if users > 1 else None
            )
        except CapacityError:
            assert p.fit == "no"
            assert p.missing == p.least - budget > 0
            least = p.least
            continue
        if planned.streaming is None:  # everything fits
            assert place(n, machine(budget)).fit == "ram"
            continue
        assert p.streamed is not None
        assert p.streamed.streaming == planned.streaming
        assert p.streamed.state_bytes == opened.layout.nbytes(planned.capacity, "f16")
        assert p.streamed.resident_bytes == opened.resident_bytes
        assert p.least == p.streamed.least_bytes <= budget
        assert sum(p.ram.values()) <= budget
    with pytest.raises(CapacityError):
        loading.plan(opened, kv_type="f16", context=64, threads=8, memory=least - 1,
                     parallel=users if users > 1 else None)  # fmt: skip
    at_least = place_streamed(candidate, machine(least), 64, users, None, "f16")
    assert at_least is not None
    assert at_least[1].fit == "disk"


@pytest.mark.parametrize("kind", ["Q4_K_M", "Q5_K_M", "Q8_0", "BF16"])
@pytest.mark.parametrize("config", [qwen3_5(experts=64, layers=6), llama4(step=2)], ids=["qwen3.5", "llama4"])
def test_experts_by_the_recipe_are_those_of_a_file(config: Any, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "own.gguf"
    write_synthetic(config, path, kind)
    stored = from_path(path)
    by_rule = replace(stored, stored=(), loaded=(), on_disk=None)
    of_file, of_rule = (on_disk(need(c, t, 64, 1, own=True)) for c, t in ((stored, AS_STORED), (by_rule, kind)))
    assert of_rule[0] == of_file[0]
    assert of_rule[1] == of_file[1]
    assert of_rule[2] == min(of_file[2], of_rule[1])


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(MIXTURES)), st.floats(1, 400), st.sampled_from([1, 4]))
def test_nothing_is_lost_and_the_budget_holds(id: str, ram: float, users: int) -> None:
    placed = place_streamed(MIXTURES[id], machine(ram * GIB), 8192, users, None, "f16")
    assert placed is not None
    n, p = placed
    if p.fit == "no":
        assert p.missing > 0
        return
    assert p.streamed is not None
    assert sum(p.ram.values()) <= ram * GIB
    experts = p.ram["routed_experts"] + p.disk.get("routed_experts", 0)
    assert experts == max(n.routed_bytes, p.ram["routed_experts"])
    embeddings = p.ram["embeddings"] + p.disk.get("embeddings", 0)
    assert embeddings == n.sizes.of("embeddings")
    assert p.streamed.layers == on_disk(n)[0]


# --- speed -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", sorted(MIXTURES))
def test_the_time_in_memory_is_that_of_a_model_in_memory(id: str) -> None:
    """D + E is the step of the same model where all of it fits, up to what bytes and operations overlap."""
    m = machine(2000 * GIB)
    n = need(MIXTURES[id], "Q4_K_M", 8192, 1, own=True, threads=8)
    whole, _ = decode_seconds(work_of(n), split_of(n, place(n, m)), m, "shoestring")
    rest, experts = memory_seconds(work_of(n), len(on_disk(n)[0]), m)
    assert whole is not None
    assert rest + experts == pytest.approx(whole, rel=0.05)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(MIXTURES)), st.floats(12, 300), st.floats(1.1, 4), st.floats(0.5e9, 2e10))
def test_more_memory_and_a_faster_disk_never_slow_it(id: str, ram: float, more: float, rate: float) -> None:
    def decode(memory: float, disk: float) -> float:
        m = machine(memory * GIB, disk, True)
        placed = place_streamed(MIXTURES[id], m, 8192, 1, "Q4_K_M", "f16")
        assert placed is not None
        return estimate(*placed, m).decode or 0.0

    n = need(MIXTURES[id], "Q4_K_M", 8192, 1, own=True, threads=8)
    before, most = decode(ram, rate), (n.total_bytes - 2**30) / GIB  # with more, nothing would stream
    assert decode(max(ram, min(ram * more, most)), rate) >= before
    assert decode(ram, rate * more) >= before


@pytest.mark.parametrize("users", [1, 8])
def test_the_rate_is_a_little_below_what_runs_reach_of_the_limit(users: int) -> None:
    a = assessed(SCOUT, machine(24 * GIB, 2e9, True), users=users)
    split, speed = a.placement.streamed, a.speed.streamed
    assert split is not None
    assert speed is not None
    c = speed.costs
    distinct = 16 * (1 - (15 / 16) ** users)
    limit = c.rest_seconds + max(c.expert_seconds, c.missed_bytes / 2e9)
    assert a.speed.decode == pytest.approx(1 / expected_seconds(c, 48, max(1, round(distinct)), split.share))
    assert REACHED / (1.1 * limit) < a.speed.decode <= REACHED / limit
    assert a.speed.throughput == pytest.approx(users * a.speed.decode)
    # One of 16 experts a token: the hit rate is the share. Tokens of a step share experts.
    assert speed.hit_rate == pytest.approx(split.share)
    assert published_curve(16, 1).hit_rate(split.share) == split.share
    each = sum(layer.stored_bytes for layer in split.layers)
    assert c.missed_bytes == pytest.approx((1 - split.share) * distinct * each)


def test_a_prompt_reads_each_expert_at_most_once_a_pass() -> None:
    slow = assessed(SCOUT, machine(24 * GIB, 1e8, True), context=4096)
    assert slow.placement.streamed is not None
    assert slow.speed.prefill is not None
    assert slow.placement.streamed.streaming.pass_rows >= 2048
    read = (1 - slow.placement.streamed.share) * slow.placement.streamed.stored_bytes
    assert 2048 / slow.speed.prefill == pytest.approx(read / 1e8, rel=1e-6)
    fast = assessed(SCOUT, machine(24 * GIB, 1e12, True), context=4096)
    assert fast.speed.prefill == pytest.approx(
        assessed(SCOUT, machine(24 * GIB, 1e13, True), context=4096).speed.prefill
    )


def test_disks() -> None:
    full = CATALOGUE.disks[ASSUMED_DISK].bandwidth
    assert disk_rate(machine(1, 3e9, True)).bytes_per_second == 3e9
    assert disk_rate(machine(1, 3e9)).bytes_per_second == pytest.approx(2.4e9)
    unknown = disk_rate(machine(1))
    assert (unknown.kind, unknown.rows) == ("assumed", (ASSUMED_DISK,))
    assert unknown.bytes_per_second == pytest.approx(0.8 * full)
    named = disk_rate(parse_hardware("cpu:8c+32g+nvme5", CATALOGUE))
    assert (named.kind, named.rows) == ("named", ("nvme5",))
    here = disk_rate(replace(machine(1), name="this machine (x)"))
    assert "bench --disk" in here.basis


def test_a_speed_with_experts_on_disk_is_no_measurement(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    path.write_text(
        '{"model": "scout", "decode_tokens_per_second": 1, "prefill_tokens_per_second": 2, "streaming": {}}'
    )
    with pytest.raises(RequestError, match="was measured with experts on disk"):
        plan("scout", hardware="cpu:8c+32g", measured=path)


def test_measurements_in_memory_correct_what_the_disk_does_not_bound() -> None:
    m = machine(24 * GIB, 1e12, True)
    a = assessed(SCOUT, m, measured=(Measured("llama-4-scout", "Q4_K_M", 10.0, 100.0, "a test"),))
    assert a.speed.decode == pytest.approx(10.0 * REACHED, rel=0.01)
    assert "measured here" in a.speed.formula[0]


# --- verdicts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ram", ["16g", "32g"])
def test_what_runs_fast_enough_from_disk_suits(ram: str) -> None:
    """The comparison of the flagships on machines that hold neither: by the user's --min-speed."""
    hardware = f"cpu:8c-2ch-ddr5+{ram}"
    strict = compare("qwen3.5", "scout", hardware=hardware, min_speed=3.0)
    assert strict.instead is not None
    for a in (strict.left, strict.right):
        assert a.runs
        assert not a.suits
        assert a.speed.decode is not None
        rate = f"{a.candidate.name} runs from disk at {tokens_per_second(a.speed.decode)}"
        assert rate in strict.instead.sentence.text
    lenient = compare("qwen3.5", "scout", hardware=hardware, min_speed=0.5)
    assert lenient.instead is None
    assert lenient.left.suits
    assert lenient.right.suits
    assert all(v.best is None or v.best.group == 0 for v in lenient.plan.verdicts)


def test_a_rate_of_minutes_a_sentence_is_a_reservation() -> None:
    a = assessed(QWEN, machine(12 * GIB, 2e8, True))
    assert a.speed.decode is not None
    assert a.speed.decode < 0.2
    assert a.problems == (f"at {a.speed.decode:.2g} tokens/s a sentence takes minutes",)


def test_bits_are_not_given_up_for_memory() -> None:
    """On a machine that holds the model only below three bits, four bits from disk are better if fast enough."""
    m = machine(128 * GIB, 1e10, True)
    assert (assessed(QWEN, m).need.sizes.type, assessed(QWEN, m).placement.fit) == ("Q4_K_M", "disk")
    few = assessed(QWEN, replace(m, disk_bandwidth=1e8), min_speed=2.0)
    assert few.placement.fit == "ram"
    assert any("bits per weight" in problem for problem in few.problems)


def test_the_least_memory_is_named_where_nothing_runs() -> None:
    a = assessed(SCOUT, machine(4 * GIB))
    assert not a.runs
    assert a.problems == (
        f"it needs {a.placement.least / 1e9:.1f} GB with its experts on disk in Q4_K_M, "
        f"{a.placement.missing / 1e9:.1f} GB too much",
    )
    assert assessed(SCOUT, machine(a.placement.least)).runs
    assert not assessed(SCOUT, machine(a.placement.least - 1)).runs


def test_the_file_must_fit_on_the_disk() -> None:
    small = replace(machine(24 * GIB), disk_bytes=10**10)
    a = assessed(SCOUT, small)
    assert a.placement.streamed is None
    lacks = need(SCOUT, "Q4_K_M", 8192, 1, own=True).download - 10**10
    assert a.problems[0].endswith(f"; its experts could be read from disk, which lacks {lacks / 1e9:,.1f} GB")
    assert assessed(SCOUT, replace(small, disk_bytes=10**11)).placement.streamed is not None


def test_beside_a_gpu_it_streams_where_others_do_not_run() -> None:
    a = assessed(QWEN, parse_hardware("rtx-4090+32g", CATALOGUE))
    assert a.command.engine == "shoestring"
    assert a.placement.gpu == {}
    assert assessed(QWEN, parse_hardware("mac-m5-max-64g", CATALOGUE)).placement.streamed is None


def test_the_command_has_the_budget() -> None:
    a = assessed(SCOUT, machine(24 * GIB))
    assert a.command.engine == "shoestring"
    assert all(line.endswith("--context 8192 --memory 24576MiB") for line in a.command.lines[1:])
    assert dict(a.command.others)["llama.cpp"].startswith("llama-server ")


# --- options -----------------------------------------------------------------------------------------------------


def test_a_budget_is_a_part_of_the_ram() -> None:
    (a,) = plan("scout", hardware="epyc-9654+64g", memory="16GiB").assessments
    assert a.placement.streamed is not None
    assert a.placement.streamed.budget_bytes == 16 * GIB
    (fits,) = plan("scout", hardware="epyc-9654+768g").assessments
    assert fits.placement.fit == "ram"
    for wrong, why in (("0", "memory is 0"), ("many", "write a size")):
        with pytest.raises(RequestError, match=why):
            plan("scout", hardware="epyc-9654+64g", memory=wrong)
    with pytest.raises(RequestError, match="has none of its own"):
        plan("scout", hardware="mac-m5-max-64g", memory="8GiB")


def record(path: Path, layers: int, experts: int, k: int, tokens: int = 64) -> None:
    """Routes of a model that uses the same experts again and again."""
    shape = [ExpertBytes(layer, experts, 64, 64) for layer in range(layers)]
    recorder = RouteRecorder(path, "recorded.gguf", shape, k, pytest.fail)
    for _ in range(tokens):
        for layer in range(layers):
            recorder.record(layer, np.arange(k, dtype=np.int32)[None])
    recorder.save()


def test_a_recorded_route_replaces_the_cited_curve(tmp_path: Path) -> None:
    path = tmp_path / "routes"
    config = SCOUT.config
    record(path, config.num_hidden_layers, 16, 1)
    cited, known = (
        plan("scout", "qwen3.5", hardware="cpu:8c+32g", routes=routes).assessments for routes in (None, path)
    )
    assert [a.speed.streamed.recorded for a in known if a.speed.streamed] == [True, False]
    assert known[0].speed.streamed is not None
    assert known[0].speed.streamed.hit_rate > 0.9
    assert "recorded.gguf" in known[0].speed.streamed.source
    assert "hit rate recorded" in known[0].speed.label
    assert (known[0].speed.decode or 0) > (cited[0].speed.decode or 0)
    assert known[1].speed == cited[1].speed
    record(path, 3, 16, 1)
    with pytest.raises(RequestError, match="routes of another model"):
        plan("scout", hardware="cpu:8c+32g", routes=path)
    path.write_bytes(b"nothing")
    with pytest.raises(RequestError):
        plan("scout", hardware="cpu:8c+32g", routes=path)


def test_no_compiled_code_is_loaded() -> None:
    program = (
        "import sys\nfrom shoestring.planning.side_by_side import compare\n"
        "c = compare('qwen3.5', 'scout', hardware='cpu:8c+32g')\n"
        "assert c.left.placement.streamed and c.right.placement.streamed\n"
        "assert not [m for m in sys.modules if m.endswith('_kernels')]\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
