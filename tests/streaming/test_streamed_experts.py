"""Streamed experts equal resident ones bit for bit, read each missed expert once a step, and survive faults."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from streaming_models import (
    SHARES,
    Failing,
    Interrupted,
    Mixture,
    Shuffled,
    applied,
    mixture,
    old,
    rows,
    streamed,
    write,
)

from shoestring import ops
from shoestring.errors import CheckpointError
from shoestring.models.experts import Experts
from shoestring.streaming.policy import Recency

FAMILIES = ("qwen3_5", "llama4")
KINDS = ("Q4_K_M", "Q8_0", "BF16")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Mixture]:
    folder = tmp_path_factory.mktemp("mixtures")
    return {
        (family, kind): mixture(write(family, kind, folder / f"{family}-{kind}.gguf"))
        for family in FAMILIES
        for kind in KINDS
    }


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    yield
    ops.set_num_threads(2)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_bits_of_resident_experts(
    family: str, kind: str, share: float, models: dict[tuple[str, str], Mixture]
) -> None:
    """Steps of one row, of a few and of many, cold and warm; pieces arrive in any order."""
    model = models[family, kind]
    scaled = family == "llama4"
    with streamed(model, share, wrap=lambda reader: Shuffled(reader, 1)) as experts:
        for turn in range(2):
            ops.set_num_threads(1 + 2 * turn)
            for seed, count in enumerate((1, 1, 3, 32, 33, 200, 1, 2, 70)):
                for layer in range(3):
                    r = rows(model, count, seed)
                    expected = applied(model.resident, layer, r, scale_input=scaled)
                    assert applied(experts, layer, r, scale_input=scaled, request=seed != 3) == expected
        totals = experts.totals()
        assert totals.reads >= (1 - share) * 3 * len(model.layers[0].experts)
        assert totals.asked > totals.hits
        assert totals.disk_bytes >= totals.read_bytes > 0
        assert totals.disk_seconds > 0


def test_experts_differ(models: dict[tuple[str, str], Mixture]) -> None:
    """Otherwise the tests above prove nothing."""
    model = models["qwen3_5", "Q4_K_M"]
    r = rows(model, 1, 0)
    results = set()
    for layer in range(3):
        for first in range(20):
            r.ids[0] = range(first, first + 4)
            results.add(applied(model.resident, layer, r, scale_input=False))
    assert len(results) == 60


@pytest.mark.parametrize("count", [1, 8, 300])
def test_a_missed_expert_is_read_once_a_step(count: int, models: dict[tuple[str, str], Mixture]) -> None:
    model = models["qwen3_5", "Q4_K_M"]
    with streamed(model, 0.5) as experts:
        for seed in range(20):
            for layer in range(3):
                before = experts.by_layer()[layer]
                r = rows(model, count, seed)
                applied(experts, layer, r, scale_input=False)
                step = experts.by_layer()[layer] - before
                early = step.asked - step.hits - step.reads  # read during the layer before
                assert step.asked == len({*r.ids.reshape(-1).tolist()})
                assert 0 <= early <= (count > 32) * 24
                assert step.reads <= step.asked


def test_a_pass_reads_each_expert_at_most_once(models: dict[tuple[str, str], Mixture]) -> None:
    """Over all layers, with reads ahead into the next one; a repeated pass hits what stayed."""
    model = models["qwen3_5", "Q4_K_M"]
    with streamed(model, 0.3) as experts:
        for turn in range(3):
            before = experts.totals()
            for layer in range(3):
                applied(experts, layer, rows(model, 100, turn), scale_input=False)
            done = experts.totals() - before
            assert done.reads <= 3 * 24
            assert done.wasted == 0
            assert done.asked == 3 * 24
            assert done.hits + done.reads == done.asked
            if turn:
                assert done.hits > 0


def test_steps_between_the_layers_of_a_pass(models: dict[tuple[str, str], Mixture]) -> None:
    """A pass is suspended between layers while steps of few rows run through all of them."""
    model = models["qwen3_5", "Q4_K_M"]
    for share in SHARES:
        with streamed(model, share, wrap=lambda reader: Shuffled(reader, 2)) as experts:
            for turn in range(4):
                for layer in range(3):
                    r = rows(model, 100, turn)
                    assert applied(experts, layer, r, scale_input=False) == applied(
                        model.resident, layer, r, scale_input=False
                    )
                    for step in range(turn * 3):
                        for other in range(3):
                            r = rows(model, 2, step)
                            assert applied(experts, other, r, scale_input=False) == applied(
                                model.resident, other, r, scale_input=False
                            )


def test_what_a_cancelled_pass_read_early_can_be_evicted(models: dict[tuple[str, str], Mixture]) -> None:
    model = models["qwen3_5", "Q4_K_M"]
    with streamed(model, 0.3) as experts:
        applied(experts, 0, rows(model, 100, 0), scale_input=False)
        assert experts._early
        for step in range(6):
            for layer in range(3):
                applied(experts, layer, rows(model, 1, step), scale_input=False)
        assert not experts._early


def test_requests_in_parts_and_without_an_end(models: dict[tuple[str, str], Mixture]) -> None:
    model = models["qwen3_5", "Q4_K_M"]
    draws = random.Random(4)
    with streamed(model, 0.2, wrap=lambda reader: Shuffled(reader, 3)) as experts:
        for seed in range(30):
            layer = draws.randrange(3)
            r = rows(model, draws.choice([1, 5, 60]), seed)
            if draws.random() < 0.5:  # of a step that is cancelled, of this layer or another
                experts.request(draws.randrange(3), rows(model, draws.choice([1, 60]), seed + 100).ids)
            for part in range(0, len(r.ids), 20):
                experts.request(layer, r.ids[part : part + 20])
            assert applied(experts, layer, r, scale_input=False, request=False) == applied(
                model.resident, layer, r, scale_input=False
            )


def test_hits_are_counted(models: dict[tuple[str, str], Mixture]) -> None:
    model = models["qwen3_5", "Q4_K_M"]
    with streamed(model, 0.5, scores=Recency()) as experts:
        r = rows(model, 1, 0)
        for turn in range(3):
            before = experts.totals()
            applied(experts, 0, r, scale_input=False)
            step = experts.totals() - before
            assert (step.asked, step.hits, step.reads) == ((4, 0, 4) if turn == 0 else (4, 4, 0))
            assert step.hit_rate == (turn > 0)
        layer = model.layers[0]
        assert experts.totals().read_bytes == 4 * layer.nbytes.stored_bytes


# --- faults --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 100])
@pytest.mark.parametrize("piece", ["gate_up", "down"])
def test_a_failed_read_ends_the_step_alone(count: int, piece: str, models: dict[tuple[str, str], Mixture]) -> None:
    """The error names file and byte. Steps that do not need it go on; when the disk works again, all do."""
    model = models["qwen3_5", "Q4_K_M"]
    source = model.layers[1].experts[5][0 if piece == "gate_up" else 2]
    byte = source.tensor.offset + source.offset
    with streamed(
        model, 0.3, wrap=lambda reader: Failing(reader, lambda part: part.begin <= byte < part.end)
    ) as experts:
        reader = experts._store.reader
        for turn in range(3):
            r = rows(model, count, 7)
            r.ids[0] = [3, 5, 9, 11]
            assert applied(experts, 0, r, scale_input=False) == applied(model.resident, 0, r, scale_input=False)
            with pytest.raises(CheckpointError, match=rf"Q4_K_M.gguf, byte {byte}: Input/output error"):
                applied(experts, 1, r, scale_input=False)
            r.ids[r.ids == 5] = 0
            r.ids[:] = [[1, 2, 3, 4 + turn * 4]]
            assert applied(experts, 1, r, scale_input=False) == applied(model.resident, 1, r, scale_input=False)
        reader.broken = None  # type: ignore[attr-defined]
        for seed in range(5):
            r = rows(model, count, seed)
            for layer in range(3):
                assert applied(experts, layer, r, scale_input=False) == applied(
                    model.resident, layer, r, scale_input=False
                )


@pytest.mark.parametrize("count", [1, 100])
def test_an_interrupt_loses_nothing(count: int, models: dict[tuple[str, str], Mixture]) -> None:
    model = models["qwen3_5", "Q4_K_M"]

    def step(experts: Experts, seed: int) -> list[bytes]:
        return [applied(experts, layer, rows(model, count, seed), scale_input=False) for layer in range(3)]

    with streamed(model, 0.3, wrap=Interrupted) as experts:
        reader = experts._store.reader
        for seed in range(6):
            reader.armed = True  # type: ignore[attr-defined]
            with pytest.raises(KeyboardInterrupt):
                step(experts, seed)
            expected = step(model.resident, seed)
            assert step(experts, seed) == expected


def copied(model: Mixture, folder: Path) -> tuple[Mixture, Path]:
    """The model in a file of its own, which may be damaged."""
    path = folder / "model.gguf"
    path.write_bytes(model.opened.checkpoint.files[0].read_bytes())
    old(path)
    return mixture(path), path


def few(model: Mixture, seed: int) -> bytes:
    return applied(model.resident, 0, rows(model, 2, seed), scale_input=False)


@pytest.mark.parametrize("harm", ["remove", "rename over", "rename away", "touch", "link"])
def test_harmless_changes_give_one_warning(harm: str, models: dict[tuple[str, str], Mixture], tmp_path: Path) -> None:
    model, path = copied(models["qwen3_5", "Q4_K_M"], tmp_path)
    expected = [few(model, seed) for seed in range(12)]
    warnings: list[str] = []
    with streamed(model, 0.2, warn=warnings.append) as experts:
        for seed in range(12):
            if seed == 8 and path.exists() and harm != "link":
                os.utime(path)
            if seed == 3:
                if harm == "remove":
                    path.unlink()
                elif harm == "rename over":
                    (tmp_path / "new").write_bytes(b"GGUF of another model")
                    (tmp_path / "new").rename(path)
                elif harm == "rename away":
                    path.rename(tmp_path / "elsewhere")
                elif harm == "touch":
                    os.utime(path)
                else:
                    os.link(path, tmp_path / "second name")
            assert applied(experts, 0, rows(model, 2, seed), scale_input=False) == expected[seed]
    assert len(warnings) == (harm != "link")
    assert all("model.gguf" in warning for warning in warnings)


@pytest.mark.parametrize("count", [2, 100])
def test_a_truncated_file(count: int, models: dict[tuple[str, str], Mixture], tmp_path: Path) -> None:
    model, path = copied(models["qwen3_5", "Q4_K_M"], tmp_path)
    whole = path.read_bytes()
    first = min(source.tensor.offset for layer in model.layers for expert in layer.experts for source in expert)
    expected = [applied(model.resident, 0, rows(model, count, seed), scale_input=False) for seed in range(6)]
    warnings: list[str] = []
    with streamed(model, 0.2, warn=warnings.append) as experts:
        assert applied(experts, 0, rows(model, count, 0), scale_input=False) == expected[0]
        os.truncate(path, first + 100)
        for seed in range(1, 4):
            with pytest.raises(CheckpointError, match=r"model\.gguf.*byte \d+") as caught:
                applied(experts, 0, rows(model, count, seed), scale_input=False)
            assert f"had {len(whole)} bytes" in str(caught.value) or "it was truncated" in str(caught.value)
        with open(path, "r+b") as file:  # the same file again
            file.write(whole)
        for seed in range(6):
            assert applied(experts, 0, rows(model, count, seed), scale_input=False) == expected[seed]
    assert len(warnings) == 1


@pytest.mark.parametrize("count", [2, 100])
def test_a_file_rewritten_in_place(count: int, models: dict[tuple[str, str], Mixture], tmp_path: Path) -> None:
    """Nothing that was read from the other file reaches an answer, then or later."""
    model, path = copied(models["qwen3_5", "Q4_K_M"], tmp_path)
    whole = path.read_bytes()
    other = bytearray(whole)
    for position in range(len(whole) // 2, len(whole)):
        other[position] ^= 1
    other[200:210] = b"other name"
    expected = [applied(model.resident, 0, rows(model, count, seed), scale_input=False) for seed in range(8)]
    with streamed(model, 0.4, warn=lambda text: None) as experts:
        assert applied(experts, 0, rows(model, count, 0), scale_input=False) == expected[0]
        with open(path, "r+b") as file:
            file.write(other)
        for seed in range(1, 4):
            with pytest.raises(CheckpointError, match=r"model\.gguf was rewritten.*byte \d+"):
                applied(experts, 0, rows(model, count, seed), scale_input=False)
        with open(path, "r+b") as file:
            file.write(whole)
        for seed in range(8):
            assert applied(experts, 0, rows(model, count, seed), scale_input=False) == expected[seed]


def test_a_growing_file_is_refused(
    models: dict[tuple[str, str], Mixture], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, path = copied(models["qwen3_5", "Q4_K_M"], tmp_path)

    def more(seconds: float) -> None:
        with open(path, "ab") as file:
            file.write(b"more")

    os.utime(path)
    monkeypatch.setattr("shoestring.streaming.watch.time.sleep", more)
    with pytest.raises(CheckpointError, match=r"model\.gguf is still being written"), streamed(model, 0.5):
        pass
    old(path)
    (tmp_path / "model.gguf.aria2").touch()
    with pytest.raises(CheckpointError, match=r"model\.gguf is still being downloaded"), streamed(model, 0.5):
        pass
