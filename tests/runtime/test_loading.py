"""Loading: refusal of models that do not fit, before anything is loaded, and files that change while in use."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
import random_checkpoints
from hypothesis import given
from hypothesis import strategies as st
from random_checkpoints import tokens

import shoestring
from shoestring import admission
from shoestring.errors import CapacityError, CheckpointError, RequestError
from shoestring.models.layout import Demand, Layout
from shoestring.models.state import AttentionState, DeltaNetState
from shoestring.models.workspace import PROCESS_BYTES
from shoestring.runtime import loading, memory
from shoestring.runtime.model import Model
from shoestring.runtime.opening import open_model
from shoestring.streaming.routes import read_routes

GIB = 1 << 30
WORKSPACE = 256 << 20
LAYOUT = Layout((AttentionState(2, 64), AttentionState(2, 64, chunk_size=96), DeltaNetState((64, 3), (4, 16, 16))))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_checkpoints.write("llama4", "Q4_0", tmp_path_factory.mktemp("model") / "model.gguf")


def planned(
    layout: Layout = LAYOUT, *, free: int = GIB, weights: int = 0, context: int | None = None
) -> admission.Plan:
    return admission.plan_state(
        layout,
        name="m.gguf",
        weight_bytes=weights,
        workspace_bytes=WORKSPACE,
        free_bytes=free,
        model_context=100_000,
        context=context,
        kv_type="f16",
    )


def test_closing_a_model_writes_its_routes(path: Path, tmp_path: Path) -> None:
    with shoestring.load(path, threads=1, context=64, record_routes=tmp_path / "routes") as model:
        for _ in model.generate(tokens(3), max_tokens=2):
            pass
    routes = read_routes(tmp_path / "routes")
    assert sum(len(ids) for _, ids in routes.records) >= 4 * len(routes.layers)


# --- memory ----------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused_with_both_numbers() -> None:
    with pytest.raises(CapacityError, match=r"needs 3\.\d\d GiB .*3\.00 GiB for its weights.* 1\.00 GiB are free"):
        planned(weights=3 * GIB)
    with pytest.raises(CapacityError, match="at most 100000"):
        planned(context=100_001)
    with pytest.raises(RequestError, match=r"^context is 0"):
        planned(context=0)
    with pytest.raises(CapacityError, match="context of 100000"):
        planned(free=WORKSPACE + (10 << 20), context=100_000)


@given(
    free=st.integers(WORKSPACE + (2 << 20), 8 * GIB),
    context=st.one_of(st.none(), st.integers(1, 100_000)),
    kinds=st.sets(st.sampled_from(range(3)), min_size=1),
)
def test_what_is_planned_fits_and_holds_one_whole_sequence(free: int, context: int | None, kinds: set[int]) -> None:
    layout = Layout(tuple(LAYOUT.layers[i] for i in sorted(kinds)))
    try:
        plan = planned(layout, free=free, context=context)
    except CapacityError:
        assert context is not None
        demand = layout.demand(context) + Demand(slots=admission.SNAPSHOTS)
        assert layout.nbytes(demand, "f16") > free - WORKSPACE
        return
    assert plan.context == (context or plan.context) <= 100_000
    assert layout.nbytes(plan.capacity, "f16") <= free - WORKSPACE
    assert (layout.demand(plan.context) + Demand(slots=admission.SNAPSHOTS if layout.recurrent_layers else 0)).fits(
        plan.capacity
    )
    assert 1 <= plan.sequences <= admission.MOST_SEQUENCES


@pytest.mark.parametrize("sequences", [None, 3])
def test_the_cache_has_its_own_part_of_the_memory(sequences: int | None) -> None:
    def plan(cache_bytes: int | None, free: int = GIB) -> admission.Plan:
        return admission.plan_state(
            LAYOUT, name="m.gguf", weight_bytes=0, workspace_bytes=WORKSPACE, free_bytes=free,
            model_context=100_000, context=1000, kv_type="f16", sequences=sequences, cache_bytes=cache_bytes,
        )  # fmt: skip

    without, budget = plan(0), 64 << 20
    planned = plan(budget)
    for_cache = planned.capacity - without.capacity
    assert 0.9 * budget < LAYOUT.nbytes(for_cache, "f16") <= budget
    assert min(for_cache.global_pages, for_cache.chunk_pages, for_cache.slots) > 0
    assert planned.cache_bytes == budget
    assert without.capacity.slots == without.sequences, "no snapshots without a budget for them"
    with pytest.raises(CapacityError, match=r"1\.00 GiB for cache_memory"):
        plan(GIB)
    with pytest.raises(RequestError, match=r"^cache_memory is -1"):
        plan(-1)
    with pytest.raises(RequestError, match=r"^parallel is 0"):
        admission.plan_state(
            LAYOUT, name="m", weight_bytes=0, workspace_bytes=0, free_bytes=GIB, model_context=9, context=9,
            kv_type="f16", sequences=0,
        )  # fmt: skip


def test_a_model_is_not_loaded_when_memory_is_short(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(loading, "free_memory", lambda: 1 << 20)
    monkeypatch.setattr(loading, "load_weights", never)
    with pytest.raises(CapacityError, match=r"1\.00 MiB are free"):
        shoestring.load(path)


def test_free_memory_is_the_least_of_system_and_groups(tmp_path: Path) -> None:
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (groups / "a" / "b").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    8000 kB\n")
    assert memory.free_memory(proc, groups) == 8000 << 10
    (proc / "self" / "cgroup").write_text("0::/a/b\n")
    (groups / "a" / "b" / "memory.max").write_text("max\n")
    (groups / "a" / "b" / "memory.current").write_text("5000\n")
    assert memory.free_memory(proc, groups) == 8000 << 10
    (groups / "a" / "memory.max").write_text("6000000\n")
    (groups / "a" / "memory.current").write_text("5000000\n")
    assert memory.free_memory(proc, groups) == 1_000_000
    (groups / "a" / "memory.stat").write_text("anon 1\ninactive_file 300000\nactive_file 200000\n")
    assert memory.free_memory(proc, groups) == 1_500_000
    (groups / "memory").mkdir()
    (proc / "self" / "cgroup").write_text("4:memory:/elsewhere\n")
    (groups / "memory" / "memory.limit_in_bytes").write_text("70000\n")
    (groups / "memory" / "memory.usage_in_bytes").write_text("60000\n")
    assert memory.free_memory(proc, groups) == 10_000


def test_memory_that_the_process_has_already_is_not_counted_twice(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The budget is for the whole process: memory that it already uses leaves less for the model."""
    opened, budget = open_model(path), 2 * GIB

    def context(own: int, budget: int | None) -> int:
        monkeypatch.setattr(loading, "own_memory", lambda: own)
        monkeypatch.setattr(loading, "free_memory", lambda: 8 * GIB)
        return loading.plan(opened, kv_type="f16", context=None, memory=budget, cache_memory="share").cache_bytes or 0

    empty = context(0, budget)
    assert context(PROCESS_BYTES, budget) == empty
    assert context(PROCESS_BYTES + GIB, budget) == empty - GIB // admission.CACHE_SHARE
    assert context(PROCESS_BYTES, None) == context(0, None) + PROCESS_BYTES // admission.CACHE_SHARE


# --- arguments -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [0, -1, 257, True, 2.0])
def test_wrong_threads_are_refused(threads: int, path: Path) -> None:
    with pytest.raises(RequestError, match=r"^threads is"):
        shoestring.load(path, threads=threads)


def test_a_wrong_kv_type_is_refused(path: Path) -> None:
    with pytest.raises(RequestError, match="choose one of f16, f32, q8_0"):
        shoestring.load(path, kv_type="f8")  # type: ignore[arg-type]


def test_there_is_at_least_one_core() -> None:
    assert 1 <= loading.physical_cores() <= (os.cpu_count() or 1)


# --- files that change -----------------------------------------------------------------------------------------


def answer(model: Model) -> str:
    return "".join(piece.text for piece in model.generate("x", max_tokens=5, temperature=0))


def copied(path: Path, folder: Path) -> Path:
    copy = folder / "copy.gguf"
    copy.write_bytes(path.read_bytes())
    return copy


def test_an_unlinked_file_goes_on(path: Path, tmp_path: Path) -> None:
    copy = copied(path, tmp_path)
    model = shoestring.load(copy, context=256)
    before = model.logits(tokens(20))
    copy.unlink()
    assert (model.logits(tokens(20)) == before).all()


@pytest.mark.parametrize("how", ["touched", "replaced", "overwritten", "truncated"])
def test_nothing_reads_the_file_of_a_loaded_model(path: Path, tmp_path: Path, how: str) -> None:
    """Whatever happens to the file: the weights are in memory."""
    copy = copied(path, tmp_path)
    model = shoestring.load(copy, context=256)
    before, text = model.logits(tokens(20)), answer(model)
    size = copy.stat().st_size
    if how == "touched":
        os.utime(copy, ns=(0, 0))
    elif how == "replaced":
        (tmp_path / "other.gguf").write_bytes(bytes(size))
        (tmp_path / "other.gguf").replace(copy)
    elif how == "overwritten":
        with copy.open("r+b") as file:
            file.write(b"\xff" * size)
    else:
        os.truncate(copy, 0)
    assert (model.logits(tokens(20)) == before).all()
    assert answer(model) == text


def test_a_file_that_changes_while_it_is_loaded_is_refused(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = copied(path, tmp_path)
    real = loading.load_weights

    def load_weights(*arguments: Any) -> Any:
        os.utime(copy, ns=(0, 0))
        return real(*arguments)

    monkeypatch.setattr(loading, "load_weights", load_weights)
    with pytest.raises(CheckpointError, match=r"copy\.gguf has changed"):
        shoestring.load(copy, context=256)


def test_a_loaded_model_does_not_keep_the_metadata(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of a million tokens and as many merges take 60 MB."""
    kept = []
    real = loading.open_model

    def open_model(*arguments: Any) -> Any:
        opened = real(*arguments)
        kept.append(weakref.ref(opened.checkpoint))
        return opened

    monkeypatch.setattr(loading, "open_model", open_model)
    model = shoestring.load(path, context=256)
    gc.collect()
    assert [reference() for reference in kept] == [None]
    assert len(model.logits(tokens(3))) == 3


def test_a_truncated_file_ends_the_program_with_one_line(path: Path, tmp_path: Path) -> None:
    copy = copied(path, tmp_path)
    code = """if True:
        import os, sys
        from shoestring.cli.app import run
        from shoestring.runtime import loading
        real = loading.load_weights
        def load_weights(*arguments):
            os.truncate(sys.argv[1], 5000)
            return real(*arguments)
        loading.load_weights = load_weights
        sys.exit(run(["run", sys.argv[1], "hi", "--context", "100"]))
    """
    result = subprocess.run([sys.executable, "-c", code, str(copy)], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "truncated" in result.stderr


def test_loading_leaves_signals_alone(path: Path) -> None:
    import signal

    shoestring.load(path, context=100)
    assert signal.getsignal(signal.SIGBUS) == signal.SIG_DFL


# --- sampling --------------------------------------------------------------------------------------------------


def test_an_answer_is_decided_by_its_seed(path: Path) -> None:
    model = shoestring.load(path, context=256)
    prompts = [tokens(length, seed=length) for length in (5, 70, 33)]

    def sampled(seed: int | None, some: list[list[int]]) -> list[list[int]]:
        found: list[list[int]] = [[] for _ in some]
        for piece in model.generate(some, seed=seed, max_tokens=20, temperature=1.5, top_k=40, ignore_eos=True):
            found[piece.index] += [token.id for token in piece.tokens]
        return found

    together = sampled(3, prompts)
    assert together == [sampled(3, [prompt])[0] for prompt in prompts]
    assert sampled(3, list(reversed(prompts))) == list(reversed(together))
    assert sampled(4, prompts) != together
    assert sampled(None, prompts) != sampled(None, prompts)


def test_ids_past_the_tokenizer_are_never_sampled(path: Path) -> None:
    model = shoestring.load(path, context=256)
    runner = model.engine.runner
    assert runner.vocab_size == 1024
    runner._sampled_vocabulary = 50  # type: ignore[attr-defined]
    ids = [
        t.id for p in model.generate(tokens(9), max_tokens=60, temperature=5, seed=1, ignore_eos=True) for t in p.tokens
    ]
    assert len(ids) == 60
    assert max(ids) < 50


def test_forbidden_and_wanted_tokens(path: Path) -> None:
    model = shoestring.load(path, context=256)
    token = 99
    pieces = model.generate(tokens(9), max_tokens=5, temperature=1, logit_bias={token: 1000.0}, ignore_eos=True)
    assert [t.id for p in pieces for t in p.tokens] == [token] * 5
    first = next(model.generate(tokens(9), max_tokens=1, temperature=0, ignore_eos=True)).tokens[0].id
    pieces = model.generate(tokens(9), max_tokens=1, temperature=0, logit_bias={first: -1000.0}, ignore_eos=True)
    assert [t.id for p in pieces for t in p.tokens] != [first]
