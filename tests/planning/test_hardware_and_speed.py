"""Machines by name and file; speeds and their formulas."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoestring.catalogue.load import builtin_catalogue
from shoestring.errors import RequestError
from shoestring.planning.assess import Question, assess
from shoestring.planning.candidates.candidates import from_row
from shoestring.planning.candidates.formats import GGUF_TYPES, OWN_TYPES, tensor_bytes
from shoestring.planning.candidates.resolve import resolve
from shoestring.planning.efficiency import EXPERT_KERNELS, efficiency, engine_of, parallel
from shoestring.planning.hardware.detect import detect
from shoestring.planning.hardware.machine import GIB
from shoestring.planning.hardware.parse import parse_hardware
from shoestring.planning.measured import Measured
from shoestring.planning.memory import choose, need, on_machine, place, sizes_of
from shoestring.planning.speed import estimate, scale_of
from shoestring.planning.work import work_of

CATALOGUE = builtin_catalogue()
QWEN, SCOUT = resolve("qwen3.5", CATALOGUE), resolve("scout", CATALOGUE)
CANDIDATES = [from_row(row) for row in CATALOGUE.models.values()]
BY_ID = {candidate.id: candidate for candidate in CANDIDATES}


@pytest.mark.parametrize(
    ("name", "gpu", "gpus", "gpu_gib", "ram_gib", "ram_bandwidth"),
    [
        ("8xh100", "h100", 8, 80, 0, 0),
        ("2xA100-80g", "a100", 2, 80, 0, 0),
        ("rtx-5090+64g", "rtx-5090", 1, 32, 64, 89.6e9),
        ("mac-m3-max-128g", "mac-m3-max", 1, 128, 0, 0),
        ("mac-m3-max-48g+mac-ssd", "mac-m3-max", 1, 48, 0, 0),
        ("cpu:64c-12ch-ddr5+256g+nvme7", None, 0, 0, 256, 12 * 8 * 4800e6),
        ("cpu:16c-8ch-ddr4+1t", None, 0, 0, 1024, 8 * 8 * 3200e6),
        ("rtx-4090 + 128g + cpu:16c-2ch-ddr5-6000", "rtx-4090", 1, 24, 128, 2 * 8 * 6000e6),
    ],
)
def test_names(name: str, gpu: str | None, gpus: int, gpu_gib: int, ram_gib: int, ram_bandwidth: float) -> None:
    m = parse_hardware(name, CATALOGUE)
    assert (m.gpu.id if m.gpu else None) == gpu
    assert m.gpus == gpus
    if m.gpu:
        assert m.gpu.memory_bytes == gpu_gib * GIB
    assert m.ram_bytes == ram_gib * GIB
    assert m.ram_bandwidth == pytest.approx(ram_bandwidth)
    assert m.disk_known == ("nvme" in name or "ssd" in name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("8xh1000", "did you mean h100"),
        ("rtx5091", "did you mean rtx-5090"),
        ("cpu:64c", "memory is missing"),
        ("cpu:0c+64g", "not a processor"),
        ("cpu:many+64g", "not a processor"),
        ("0xh100", "at least once"),
        ("h100+a100", "one kind"),
        ("rtx-5090+0g", "above 0"),
        ("64g+64g", "give memory once"),
        ("mac-m3-max+64g", "unified memory"),
        ("", "unknown"),
        ("+", "unknown"),
        ("h100-40g", "unknown"),
    ],
)
def test_invalid_names(name: str, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        parse_hardware(name, CATALOGUE)


@settings(deadline=None, max_examples=150)
@given(st.text(alphabet="0123456789xghcpu:+-. nvmertab", max_size=20))
def test_any_text_is_a_machine_or_refused(text: str) -> None:
    if text.endswith(".toml"):
        return
    try:
        m = parse_hardware(text, CATALOGUE)
    except RequestError:
        return
    assert m.gpu is not None or m.ram_bytes > 0


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "box.toml"
    path.write_text('[hardware]\nname = "box"\ngpu = "rtx-4090"\ngpus = 2\nram_gb = 96\nram_bandwidth_gbs = 60.5\n')
    m = parse_hardware(str(path), CATALOGUE)
    assert (m.name, m.gpus, m.ram_bytes, m.ram_bandwidth) == ("box", 2, 96 * GIB, 60.5e9)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("[hardware]\nram_gb = 0\n", 2, "hardware.ram_gb is 0"),
        ("[hardware]\nram_gb = 64\ncores = 2.5\n", 3, "hardware.cores"),
        ("[hardware]\nram_gb = true\n", 2, "hardware.ram_gb is True"),
        ('[hardware]\nram_gb = 64\ngpu = "h1000"\n', 3, "choose h100"),
        ("[hardware]\nram = 64\n", 2, "hardware.ram is unknown"),
        ("[machine]\nram_gb = 64\n", 1, "write one table [hardware]"),
        ("[hardware]\ncores = 4\n", 1, "ram_gb is missing"),
        ("[hardware\n", 1, "not valid TOML"),
    ],
)
def test_invalid_files(tmp_path: Path, text: str, line: int, said: str) -> None:
    path = tmp_path / "box.toml"
    path.write_text(text)
    with pytest.raises(RequestError) as caught:
        parse_hardware(str(path), CATALOGUE)
    assert str(path) in str(caught.value)
    assert f"line {line}" in str(caught.value)
    assert said in str(caught.value)


def test_this_machine() -> None:
    m = detect(CATALOGUE)
    assert m.ram_bytes > 2**28
    assert 1e8 < m.ram_bandwidth < 1e13
    assert m.cores >= 1


# --- speed -----------------------------------------------------------------------------------------------------


def test_a_step_reads_the_active_weights() -> None:
    """In 16 bits, a token reads two bytes per active parameter; several users together read more."""
    for candidate in CANDIDATES:
        n = need(candidate, "BF16", 1, 1)
        work = work_of(n)
        assert work.always_bytes + work.touched(1) == pytest.approx(2 * candidate.text.active, rel=0.01)
        assert work.touched(10**6) == pytest.approx(n.routed_bytes)


@pytest.mark.parametrize("type_", ["Q4_K_M", "Q8_0", "IQ2_XXS", "FP8", "MLX-4bit"])
def test_a_step_reads_the_head_and_not_the_embedding(type_: str) -> None:
    """They are matrices of one shape, in types that differ: Q6_K and Q4_K in a mix; uploads have more bits in both."""
    for candidate in CANDIDATES:
        head = [s for s in candidate.shapes if s.role == "head"]
        n = need(candidate, type_, 1, 1)
        wanted = sum(tensor_bytes(s, type_, candidate.config.num_hidden_layers, tied=False) for s in head)
        whole = n.sizes.of("embeddings")
        more = whole / sizes_of(candidate, type_, False).of("embeddings")
        assert whole - n.looked_up_bytes == pytest.approx(more * wanted or whole, abs=2)


def test_the_formula_matches_the_estimate() -> None:
    m = parse_hardware("cpu:64c-12ch-ddr5+512g", CATALOGUE)
    n = need(QWEN, "Q4_K_M", 8192, 1)
    speed = estimate(n, place(n, m), m)
    work, reached = work_of(n), efficiency("shoestring", "processor")
    always = work.always_bytes + work.sequence_bytes
    seconds = always / (m.ram_bandwidth * reached.bandwidth)
    seconds += work.touched(1) / (m.ram_bandwidth * reached.expert_bandwidth)
    seconds += 60 * EXPERT_KERNELS * (reached.kernel_seconds + m.cores * reached.core_seconds)
    assert speed.decode == pytest.approx(1 / seconds)
    assert f"{(always + work.touched(1)) / 1e9:.2f} GB" in speed.formula[0]
    assert speed.label == "estimated"


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(BY_ID)), st.floats(1, 4), st.integers(1, 64), st.sampled_from(["Q4_K_M", "BF16"]))
def test_faster_memory_is_never_slower(id: str, factor: float, users: int, type_: str) -> None:
    m = parse_hardware("cpu:64c-12ch-ddr5+8t", CATALOGUE)
    n = need(BY_ID[id], type_, 4096, users)
    slow = estimate(n, place(n, m), m)
    faster = replace(m, ram_bandwidth=m.ram_bandwidth * factor)
    fast = estimate(n, place(n, faster), faster)
    assert slow.decode is not None
    assert fast.decode is not None
    assert fast.decode >= slow.decode
    assert slow.throughput == pytest.approx(users * slow.decode)


def test_our_engine_is_assumed_for_types_that_it_reads() -> None:
    formats = CATALOGUE.engines["shoestring"].formats
    assert set(OWN_TYPES) == {t for t in formats if t in GGUF_TYPES}
    m = parse_hardware("cpu:8c-2ch-ddr5+64g", CATALOGUE)
    ours, other = (need(BY_ID["qwen3.5-9b"], t, 4096, 1) for t in ("Q4_K_M", "IQ4_XS"))
    fast, slow = (estimate(n, place(n, m), m).prefill for n in (ours, other))
    assert fast is not None
    assert slow is not None
    assert fast > 1.5 * slow


def test_our_engine_is_not_assumed_beyond_a_models_own_context() -> None:
    """A longer context needs an extension that our engine takes only from the file."""
    m = parse_hardware("cpu:64c-12ch-ddr5+2t", CATALOGUE)
    for context, engine in ((262_144, "shoestring"), (1_000_000, "llama.cpp")):
        n, p = on_machine(QWEN, "Q4_K_M", context, 1, "f16", m)
        assert engine_of(n, p, m) == engine
        assert n.own == (engine == "shoestring")


GPUS = ["h100", "b200", "rtx-5090", "rtx-4090", "mi300x"]


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(BY_ID)), st.sampled_from(GPUS), st.floats(1, 4), st.integers(1, 16), st.integers(1, 64))
def test_a_faster_gpu_is_never_slower(id: str, gpu: str, factor: float, gpus: int, users: int) -> None:
    m = parse_hardware(f"{gpus}x{gpu}+512g", CATALOGUE)
    assert m.gpu is not None
    n, p = choose(BY_ID[id], m, 4096, users, None)
    slow = estimate(n, p, m)
    for field in ("bandwidth", "flops_16", "flops_8", "flops_4", "link_bandwidth", "host_bandwidth"):
        fast = estimate(n, p, replace(m, gpu=replace(m.gpu, **{field: factor * getattr(m.gpu, field)})))
        for name in ("decode", "prefill", "throughput"):
            if getattr(slow, name) is not None:
                assert getattr(fast, name) >= getattr(slow, name) * (1 - 1e-12), (field, name)


@given(st.integers(1, 64), st.sampled_from(sorted(BY_ID)))
def test_all_gpus_work(gpus: int, id: str) -> None:
    ways, stages = parallel(BY_ID[id].config.num_attention_heads, gpus)
    assert ways * stages == gpus
    assert BY_ID[id].config.num_attention_heads % ways == 0


def test_gpus_take_turns_in_llama_cpp() -> None:
    """Whole layers are split, so two cards are as fast as one large one; in vLLM they share each layer."""
    one, two = (parse_hardware(name, CATALOGUE) for name in ("rtx-pro-6000", "2xrtx-pro-6000"))
    n = need(SCOUT, "Q4_K_M", 4096, 1)
    assert estimate(n, place(n, two), two).decode == estimate(n, place(n, one), one).decode
    n = need(SCOUT, "NVFP4", 4096, 1)
    alone, shared = (estimate(n, place(n, m), m).decode for m in (one, two))
    assert alone is not None
    assert shared is not None
    assert shared > 1.2 * alone


def test_users_share_weights() -> None:
    m = parse_hardware("8xh100", CATALOGUE)
    one, many = (estimate(n, place(n, m), m) for n in (need(SCOUT, "FP8", 4096, u) for u in (1, 32)))
    assert one.decode is not None
    assert many.decode is not None
    assert many.throughput is not None
    assert many.decode < one.decode
    assert many.throughput > 8 * one.decode


def test_unknown_figures_give_no_estimate() -> None:
    m = parse_hardware("mac-m3-max-128g", CATALOGUE)
    assert m.gpu is not None
    n, p = choose(SCOUT, m, 8192, 1, "Q4_K_M")
    assert estimate(n, p, m).prefill is not None
    unstated = replace(m, gpu=replace(m.gpu, flops_16=0.0))
    speed = estimate(n, p, unstated)
    assert speed.decode is not None
    assert speed.prefill is None
    streamed = parse_hardware("cpu:8c-2ch-ddr5+64g", CATALOGUE)
    n, p = choose(SCOUT, replace(streamed, disk_bytes=10**13), 8192, 1, "Q4_K_M")
    assert p.fit == "disk"
    assert estimate(n, p, streamed).decode is None


def test_measurements_scale_other_estimates() -> None:
    m = parse_hardware("cpu:8c-2ch-ddr5+64g", CATALOGUE)
    alone = estimate(*on_machine(BY_ID["qwen3.5-35b-a3b"], "Q4_K_M", 512, 1, "f16", m), m)
    assert alone.decode is not None
    assert alone.prefill is not None
    known = Measured("qwen3.5-35b-a3b", "Q4_K_M", 0.7 * alone.decode, 2 * alone.prefill, "bench")
    scale = scale_of((known, replace(known, model="mine.gguf")), m, CATALOGUE)
    assert scale is not None
    assert (scale.decode, scale.prefill, scale.count) == (pytest.approx(0.7), pytest.approx(2), 1)
    question = Question(measured=(known,))
    for id, type_ in (("qwen3.5-9b", None), ("qwen3.5-35b-a3b", "Q8_0"), ("qwen3.5-27b", "Q4_K_M")):
        asked = replace(question, type=type_)
        before, after = (assess(BY_ID[id], m, asked, CATALOGUE, s).speed for s in (None, scale))
        assert before.decode is not None
        assert before.prefill is not None
        assert after.decode == pytest.approx(0.7 * before.decode)
        assert after.prefill == pytest.approx(2 * before.prefill)
        assert (before.label, after.label) == ("estimated", "estimated, scaled by measurements here")
    on_gpu = parse_hardware("rtx-5090+64g", CATALOGUE)
    before, after = (assess(BY_ID["qwen3.5-9b"], on_gpu, question, CATALOGUE, s).speed for s in (None, scale))
    assert before == after
    assert scale_of((), m, CATALOGUE) is None


@pytest.mark.parametrize(
    ("hardware", "model", "users", "wanted"),
    [
        ("8xh100", "qwen3.5", 4, ["vllm serve Qwen/Qwen3.5-397B-A17B-FP8 --tensor-parallel-size 8", "--max-num-seqs 4",
                                  "--reasoning-parser qwen3", "--tool-call-parser qwen3_coder"]),
        ("2xa100", "scout", 1, ["vllm serve RedHatAI/", "--tensor-parallel-size 2", "llama4_pythonic"]),
        ("rtx-5090+128g", "scout", 1, ["llama-server -hf unsloth/Llama-4-Scout", "-ngl 99 -ncmoe "]),
        ("cpu:16c-4ch-ddr5+64g", "qwen3.5:35b-a3b", 1, ["shoestring pull", "shoestring chat unsloth/Qwen3.5-35B",
                                                         "shoestring serve unsloth/Qwen3.5-35B"]),
        ("cpu:16c-4ch-ddr5+64g", "qwen3.5:35b-a3b", 4, ["shoestring serve unsloth/Qwen3.5-35B",
                                                         "--context 8192 --parallel 4"]),
        ("rtx-5090+128g", "scout", 4, ["llama-server", "-c 32768 -np 4"]),
        ("6xh100", "qwen3.5:122b-a10b", 2, ["--tensor-parallel-size 2 --pipeline-parallel-size 3"]),
        ("cpu:16c-4ch-ddr5+64g+nvme4", "scout", 1, ["llama-server", "-ngl 0"]),
        ("cpu:1c+4g", "qwen3.5", 1, []),
    ],
)  # fmt: skip
def test_commands(hardware: str, model: str, users: int, wanted: list[str]) -> None:
    a = assess(resolve(model, CATALOGUE), parse_hardware(hardware, CATALOGUE), Question(users=users), CATALOGUE)
    text = "\n".join(a.command.lines)
    assert bool(text) == bool(wanted)
    for piece in wanted:
        assert piece in text


@pytest.mark.parametrize(
    ("hardware", "wanted"),
    [
        ("8xh100", ["--max-model-len 1000000", '"factor": 4.0', '"original_max_position_embeddings": 262144']),
        ("cpu:64c-12ch-ddr5+512g", ["llama-server", "--rope-scaling yarn --rope-scale 4 --yarn-orig-ctx 262144"]),
    ],
)
def test_commands_pass_an_extended_context(hardware: str, wanted: list[str]) -> None:
    question = Question(context=1_000_000)
    (line,) = assess(QWEN, parse_hardware(hardware, CATALOGUE), question, CATALOGUE).command.lines
    for piece in wanted:
        assert piece in line
    overrides = [word for word in shlex.split(line) if word.startswith("{")]
    assert [json.loads(word)["text_config"]["rope_parameters"]["rope_type"] for word in overrides] in ([], ["yarn"])
