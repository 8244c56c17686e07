"""Recorded routes: a round trip, damaged files, and replays that agree with the cache and with plain algorithms."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from streaming_models import applied, mixture, rows, streamed, write

from shoestring.errors import RequestError
from shoestring.streaming import routes as routes_module
from shoestring.streaming.policy import Frequency, Recency
from shoestring.streaming.predict import recorded_curve
from shoestring.streaming.replay import Use, equal_layers, hit_rates, optimum, replayed, uses_of
from shoestring.streaming.routes import MAGIC, RecordedExperts, RouteRecorder, Routes, read_routes
from shoestring.streaming.slots import ExpertBytes, all_bytes, plan_slots

LAYERS = (ExpertBytes(0, 8, 128, 100), ExpertBytes(2, 6, 64, 50))


def recorder(path: Path, warnings: list[str] | None = None) -> RouteRecorder:
    return RouteRecorder(path, "a model", LAYERS, 2, [].append if warnings is None else warnings.append)


def recorded(path: Path, steps: int) -> list[tuple[int, list[list[int]]]]:
    """Write the routes of some steps; what was written."""
    draws, written = random.Random(steps), []
    to_file = recorder(path)
    for _ in range(steps):
        for layer in LAYERS:
            ids = [draws.sample(range(layer.num_experts), 2) for _ in range(draws.choice([1, 1, 5]))]
            to_file.record(layer.layer, np.array(ids, np.int32))
            written.append((layer.layer, ids))
    to_file.save()
    return written


@pytest.mark.parametrize("steps", [0, 1, 50])
def test_a_round_trip(steps: int, tmp_path: Path) -> None:
    written = recorded(tmp_path / "r", steps)
    routes = read_routes(tmp_path / "r")
    assert (routes.model, routes.experts_per_token, routes.layers) == ("a model", 2, LAYERS)
    assert [(layer, ids.tolist()) for layer, ids in routes.records] == written


def test_a_killed_process_leaves_half_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes_module, "_FIRST_SAVE", 500)
    to_file = recorder(tmp_path / "r")
    assert not (tmp_path / "r").exists()
    for count in range(1, 400):
        to_file.record(0, np.array([[1, 2]], np.int32))
        if count > 100:
            assert len(read_routes(tmp_path / "r").records) > count / 2 - 60


def test_a_recording_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes_module, "MOST_BYTES", 1000)
    warnings: list[str] = []
    to_file = recorder(tmp_path / "r", warnings)
    for _ in range(500):
        to_file.record(0, np.array([[1, 2]], np.int32))
    to_file.save()
    assert (tmp_path / "r").stat().st_size <= 1000
    assert len(read_routes(tmp_path / "r").records) > 50
    assert len(warnings) == 1


def test_another_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "r").write_bytes(b"my thesis")
    with pytest.raises(RequestError, match="other contents"):
        recorder(tmp_path / "r")
    with pytest.raises(RequestError, match="no recorded routes"):
        read_routes(tmp_path / "r")
    with pytest.raises(RequestError, match="does not exist"):
        read_routes(tmp_path / "nothing")


@given(data=st.data())
def test_damaged_files_are_refused(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Any change of bytes gives routes inside the model's shapes, or a RequestError."""
    path = tmp_path_factory.mktemp("routes") / "r"
    recorded(path, 4)
    damaged = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(len(MAGIC), len(damaged) - 1))
        damaged[position] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(len(MAGIC), len(damaged))) :]
    path.write_bytes(damaged)
    try:
        routes = read_routes(path)
    except RequestError:
        return
    sizes = {layer.layer: layer.num_experts for layer in routes.layers}
    for layer, ids in routes.records:
        assert ids.shape[1] == routes.experts_per_token
        assert ids.max() < sizes[layer]


def test_an_expert_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    to_file = recorder(tmp_path / "r")
    to_file.record(0, np.array([[1, 7]], np.int32))
    to_file.record(2, np.array([[1, 6]], np.int32))
    to_file.save()
    with pytest.raises(RequestError, match="layer 2 has no expert 6"):
        read_routes(tmp_path / "r")


# --- replays -------------------------------------------------------------------------------------------------------


def drawn(layers: int, experts: int, k: int, steps: int, seed: int) -> list[Use]:
    draws, uses, last = random.Random(seed), [], {}
    for _ in range(steps):
        for layer in range(layers):
            before = last.get(layer, ())
            chosen = {e for e in before if draws.random() < 0.4}
            while len(chosen) < k:
                chosen.add(int(experts * draws.random() ** 2))
            last[layer] = chosen
            uses.append(Use(layer, dict.fromkeys(sorted(chosen), 1), 1))
    return uses


def test_the_optimum_is_the_best_of_all(tmp_path: Path) -> None:
    """Against every choice of victims, on short histories of one expert a step."""
    layers = equal_layers(1, 5)
    for seed in range(20):
        uses = drawn(1, 5, 1, 9, seed)
        for slots in (1, 2, 3):
            accesses = [next(iter(use.rows_of)) for use in uses]
            best = 0
            for choices in itertools.product(range(slots), repeat=len(accesses)):
                resident: list[int] = []
                hits = 0
                for expert, choice in zip(accesses, choices, strict=True):
                    if expert in resident:
                        hits += 1
                    elif len(resident) < slots:
                        resident.append(expert)
                    else:
                        resident[choice] = expert
                best = max(best, hits)
            plan = plan_slots(layers, 1, slots * 64)
            assert optimum(uses, plan, warm_up=0) == best / len(accesses)


def test_no_policy_beats_the_optimum() -> None:
    layers = equal_layers(3, 32)
    uses = drawn(3, 32, 4, 400, 1)
    previous = 0.0
    for share in (0.13, 0.25, 0.5, 0.9, 1.0):
        plan = plan_slots(layers, 4, int(share * all_bytes(layers)))
        best = optimum(uses, plan)
        for scores in (lambda: Frequency(0.9), Recency):
            assert 0 < replayed(uses, plan, scores) <= best
        assert best >= previous
        previous = best
    assert previous > 0.99, "first uses alone miss"


def test_size_classes_do_not_share_slots() -> None:
    """The optimum of two classes is that of each with its own slots."""
    uses = drawn(2, 16, 2, 300, 4)
    both = (ExpertBytes(0, 16, 64, 1), ExpertBytes(1, 16, 640, 1))
    plan = plan_slots(both, 2, all_bytes(both) // 4)
    assert len(plan.classes) == 2
    alone = [
        optimum([use for use in uses if use.layer == n], plan_slots([both[n]], 2, 4 * both[n].slot_bytes))
        for n in (0, 1)
    ]
    assert [c.slots for c in plan.classes] == [4, 4]
    assert abs(optimum(uses, plan) - sum(alone) / 2) < 0.01


def test_a_replay_counts_what_the_cache_counts(tmp_path: Path) -> None:
    """Recorded while streaming, the routes give the same hit rate to the last access."""
    model = mixture(write("qwen3_5", "Q4_K_M", tmp_path / "m.gguf"))
    sizes = [layer.nbytes for layer in model.layers]
    plan = model.plan(0.4)
    with streamed(model, 0.4, scores=Frequency(0.9)) as experts:
        to_file = RouteRecorder(tmp_path / "r", "m", sizes, 4, [].append)
        both = RecordedExperts(experts, to_file)
        for seed in range(60):
            for layer in range(3):
                applied(both, layer, rows(model, 1, seed % 17), scale_input=False)
        to_file.save()
        totals = experts.totals()
    routes = read_routes(tmp_path / "r")
    assert routes.layers == tuple(sizes)
    assert replayed(uses_of(routes), plan, lambda: Frequency(0.9), warm_up=0) == totals.hit_rate


def test_a_table_of_hit_rates() -> None:
    uses = drawn(2, 32, 2, 200, 2)
    records = tuple((use.layer, np.array([list(use.rows_of)], np.uint16)) for use in uses)
    routes = Routes("m", 2, equal_layers(2, 32), records)
    table = hit_rates(routes, (0.01, 0.1, 0.5, 1.0))
    assert [row.slots for row in table] == [6, 32, 64], "the smallest is not possible"
    assert all(0 <= row.lru <= row.optimum <= 1 and 0 <= row.frequency <= row.optimum for row in table)
    assert table[-1].frequency == table[-1].lru == table[-1].optimum > 0.9, "first uses alone miss"
    curve = recorded_curve(routes)
    assert curve.recorded
    assert "m" in curve.source
    assert curve.hit_rate(1) == 1
    with pytest.raises(RequestError, match="empty"):
        hit_rates(Routes("m", 2, equal_layers(2, 32), ()))
