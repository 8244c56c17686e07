"""The prediction before loading: D and E of a token, the disk's rate, and what is printed; then Model.streaming."""

from __future__ import annotations

import dataclasses
import gc
from pathlib import Path

import pytest
import random_checkpoints

import shoestring
from shoestring.checkpoint.config.experts import with_experts_per_token
from shoestring.errors import RequestError
from shoestring.planning.hardware import kept
from shoestring.planning.hardware.detect import this_key
from shoestring.planning.hardware.disk import DiskSpeed, mount_point
from shoestring.planning.measured import kept_seconds, remember
from shoestring.runtime.finding import find
from shoestring.runtime.loading import Prepared, least_memory, prepare
from shoestring.runtime.opening import open_model
from shoestring.runtime.streamed import forecast as forecasts
from shoestring.runtime.streamed.forecast import disk_rate, memory_bandwidth, token_seconds
from shoestring.runtime.streamed.lines import start_lines
from shoestring.streaming.predict import CITED, CITED_OTHERS, published_curve

GB = 10**9


@pytest.fixture(autouse=True)
def _own_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))


def budget() -> int:
    """Bytes for some experts of the demo model; this process may have more memory than a command's."""
    least = least_memory(open_model(find("demo-llama4")))
    assert least is not None
    return least + (45 << 20)


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    found = prepare("demo-llama4", memory=budget(), threads=1)
    assert found.plan.streaming is not None
    return found


@pytest.mark.parametrize("family", ["qwen3_5", "llama4", "llama4-interleaved"])
def test_a_token_takes_longer_with_slower_memory(family: str, tmp_path: Path) -> None:
    opened = open_model(random_checkpoints.write(family, "F32", tmp_path / "model.gguf"))
    fast, slow, slowest = (token_seconds(opened, 1, rate * GB) for rate in (1000, 1, 0.5))
    assert 0 < fast[0] < slow[0] < slowest[0]
    assert 0 <= fast[1] < slow[1] < slowest[1]
    # Twice the time to read, and the same time to call kernels.
    assert (slowest[1] - slow[1]) == pytest.approx(slow[1], rel=0.05)
    changed = dataclasses.replace(opened, config=dataclasses.replace(opened.config, num_experts_per_tok=3))
    rest, experts = token_seconds(changed, 1, GB)
    assert rest == pytest.approx(slow[0])
    assert experts > slow[1], "three experts a token take longer"


def test_the_disks_record_comes_before_a_probe(prepared: Prepared) -> None:
    rate, source = disk_rate(prepared.opened)
    assert rate > 0
    assert source == "probed now"
    speed = DiskSpeed(3.0 * GB, 1 << 20, 8, True, 100)
    kept.remember_disk(this_key(), "/elsewhere", dataclasses.replace(speed, bytes_per_second=9.0 * GB))
    assert disk_rate(prepared.opened)[1] == "probed now", "another disk's rate says nothing"
    kept.remember_disk(this_key(), mount_point(prepared.opened.checkpoint.path), speed)
    assert disk_rate(prepared.opened) == (3.0 * GB, "measured by bench --disk")


def test_what_bench_measured_of_the_file_replaces_the_sums(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecasts, "memory_bandwidth", lambda free: 10.0 * GB)
    path, planned = prepared.opened.checkpoint.path, prepared.plan
    costs = forecasts.forecast(prepared.opened, planned, 1).prediction.costs
    facts = {"model": "demo", "threads": 1, "decode_tokens_per_second": 4.0, "prefill_tokens_per_second": 9.0}
    remember(facts, path)
    known = forecasts.forecast(prepared.opened, planned, 1).prediction.costs
    assert known.rest_seconds + known.expert_seconds == pytest.approx(1 / 4.0)
    assert known.rest_seconds / known.expert_seconds == pytest.approx(costs.rest_seconds / costs.expert_seconds)
    for threads, kv_type in ((2, "f16"), (1, "q8_0")):
        again = forecasts.forecast(prepared.opened, planned, threads, kv_type=kv_type).prediction.costs
        assert again.rest_seconds != known.rest_seconds, "it was measured with other settings"
    own = prepared.opened.config.num_experts_per_tok
    fewer = dataclasses.replace(prepared.opened, config=with_experts_per_token(prepared.opened.config, own + 1))
    changed = forecasts.forecast(fewer, planned, 1).prediction.costs
    assert changed.rest_seconds == pytest.approx(known.rest_seconds), "it was measured with the model's own experts"
    assert changed.expert_seconds > known.expert_seconds
    for other in ({"streaming": {}}, {"decode_tokens_per_second": 0}):
        remember(facts | other, path)
        again = forecasts.forecast(prepared.opened, planned, 1).prediction.costs
        assert again.rest_seconds == pytest.approx(costs.rest_seconds), other
    remember(facts, path.parent / "another.gguf")
    assert kept_seconds(path, 1) is None


def test_the_bandwidth_is_measured_with_the_memory_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    copies: list[int | None] = []

    def measure(threads: int, copy_bytes: int | None = None) -> float:
        copies.append(copy_bytes)
        return 7.0

    monkeypatch.setattr(kept, "measure", measure)
    assert memory_bandwidth(10 << 20) == 7
    assert kept.known_bandwidth(this_key()) is None, "a small copy may fit into the cache: it is not kept"
    assert memory_bandwidth(1 << 40) == memory_bandwidth(1) == 7
    assert copies == [5 << 20, None]


def test_what_is_printed(prepared: Prepared) -> None:
    assert prepared.forecast is not None
    found, lines = prepared.forecast, start_lines(prepared.plan, prepared.forecast)
    assert len(lines) == 2
    assert f"about {found.prediction.tokens_per_second:.1f} tokens/s predicted" in lines[0]
    for rate, warned in ((0.21, False), (0.19, True), (0.01, True)):
        slow = dataclasses.replace(found, prediction=dataclasses.replace(found.prediction, tokens_per_second=rate))
        lines = start_lines(prepared.plan, slow)
        assert f"about {rate:.2g} tokens/s" in lines[0]
        assert [f"about {1 / rate:.0f} s:" in line for line in lines if line.startswith("warning: ")] == [True] * warned


def test_a_model_in_memory_has_no_forecast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecasts, "read_speed", None)
    found = prepare("demo-llama4", context=512)
    assert found.forecast is None
    assert found.memory().experts == 0
    assert found.memory().weights == found.opened.weight_bytes


def test_the_parts_of_a_budget(prepared: Prepared) -> None:
    needs, plan = prepared.memory(), prepared.plan
    assert plan.streaming is not None
    assert needs.experts == plan.streaming.slots.arena_bytes > 0
    assert needs.weights == prepared.opened.resident_bytes
    assert needs.total == needs.weights + needs.experts + needs.state + needs.cache + needs.process


def test_windows_of_several_sequences_fill_a_pass() -> None:
    together = prepare("demo-llama4", memory=budget(), context=64, parallel=4).plan
    alone = prepare("demo-llama4", memory=budget(), context=64, parallel=1).plan
    assert together.streaming is not None
    assert alone.streaming is not None
    assert alone.streaming.pass_rows == 64 < together.streaming.pass_rows <= 4 * 64


def test_published_curves_say_what_they_are_from() -> None:
    assert published_curve(256, 8).source == published_curve(512, 10).source == CITED
    for experts, active in ((4, 2), (128, 1 + 8), (1024, 8)):
        assert published_curve(experts, active).source == CITED_OTHERS
    all_of_them = published_curve(8, 8)
    assert [all_of_them.hit_rate(share) for share in (0.1, 0.25, 0.5)] == pytest.approx([0.1, 0.25, 0.5])
    assert 0.25 < published_curve(8, 4).hit_rate(0.25) < published_curve(256, 8).hit_rate(0.25)


# --- Model.streaming -------------------------------------------------------------------------------------------


def test_a_model_says_how_it_streams() -> None:
    with shoestring.load("demo-llama4", context=256) as resident:
        assert resident.streaming is None
        assert "streams" not in repr(resident)
        expected = resident.generate("One, two,", temperature=0, max_tokens=10).texts()
    with shoestring.load("demo-llama4", context=256, memory=budget()) as model:
        info = model.streaming
        assert info is not None
        assert repr(model).endswith("streams experts)")
        assert len(repr(info)) < 100
        before, read = info.totals, list[tuple[int, int]]()
        assert before.asked == 0
        info.observe_reads(read.append)
        assert model.generate("One, two,", temperature=0, max_tokens=10).texts() == expected
        done = info.totals - before
        assert done.asked >= 30 * 10
        assert 0 < done.hits < done.asked
        assert (info.slots / info.experts, info.experts) == (info.share, 120)
        assert info.report(done, 10, 1.0).hit_rate == done.hit_rate
        assert 0 < done.expert_seconds < 60
        assert len(read) == done.reads
        assert {layer for layer, _ in read} <= {layer.layer for layer in info.layers}
        info.observe_reads(None)
        model.generate("Three", temperature=0, max_tokens=4).texts()
        assert info.totals.reads > done.reads == len(read)
    with pytest.raises(RequestError, match="closed"):
        _ = model.streaming


def test_windows_of_a_text_share_the_reads_of_experts() -> None:
    text = " ".join(f"The number {n} follows {n - 1}." for n in range(1, 60))
    found, reads = [], []
    for parallel in (1, 4):
        with shoestring.load("demo-llama4", context=64, memory=budget(), parallel=parallel) as model:
            assert model.streaming is not None
            found.append(model.perplexity(text, 64))
            reads.append(model.streaming.totals.reads)
    assert found[0] == found[1]
    assert found[0].windows >= 8
    assert reads[1] < 0.6 * reads[0]


def test_a_dropped_model_closes_its_files() -> None:
    """Warnings are errors here: a file that nobody has closed would be one."""
    model = shoestring.load("demo-llama4", context=256, memory=budget())
    model.generate("One", temperature=0, max_tokens=2).texts()
    del model
    gc.collect()


def test_routes_are_complete_however_a_model_ends(tmp_path: Path) -> None:
    from shoestring.streaming.routes import read_routes

    for how in ("closed", "dropped"):
        model = shoestring.load("demo-llama4", context=256, record_routes=tmp_path / how)
        assert read_routes(tmp_path / how).records == (), "a file that cannot be written is refused before loading"
        model.generate("One, two,", temperature=0, max_tokens=5).texts()
        if how == "closed":
            model.close()
        del model
        gc.collect()
    closed, dropped = read_routes(tmp_path / "closed"), read_routes(tmp_path / "dropped")
    assert len(closed.records) >= 30 * 5
    assert [(layer, ids.tolist()) for layer, ids in closed.records] == [(n, ids.tolist()) for n, ids in dropped.records]
