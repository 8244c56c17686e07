"""Types that keep a model on the GPU, and caches in eight bits."""

from __future__ import annotations

import pytest

from shoestring.catalogue.load import builtin_catalogue
from shoestring.planning.assess import Question, assess
from shoestring.planning.candidates.candidates import from_row
from shoestring.planning.candidates.formats import bits
from shoestring.planning.hardware.parse import parse_hardware
from shoestring.planning.memory import need, on_machine

CATALOGUE = builtin_catalogue()
CANDIDATES = {id: from_row(row) for id, row in CATALOGUE.models.items()}


@pytest.mark.parametrize(
    ("hardware", "model", "type_", "fit"),
    [
        ("rx-7900-xt+64g", "qwen3.5-35b-a3b", "Q3_K", "gpu"),
        ("rtx-4060-ti-16g+64g", "qwen3.5-27b", "Q3_K", "gpu"),
        ("rtx-5090+64g", "qwen3.5-27b", "Q4_K_M", "gpu"),
        ("rtx-3060+64g", "qwen3.5-35b-a3b", "Q4_K_M", "gpu+ram"),
        ("rtx-5090+256g", "llama-4-scout", "Q4_K_M", "gpu+ram"),
    ],
)
def test_a_type_stays_on_the_gpu_before_one_spills(hardware: str, model: str, type_: str, fit: str) -> None:
    a = assess(CANDIDATES[model], parse_hardware(hardware, CATALOGUE), Question(context=4096), CATALOGUE)
    assert (a.need.sizes.type, a.placement.fit) == (type_, fit)
    assert ("would spill into RAM" in a.command.reason) == (fit == "gpu" and type_ not in ("GPTQ", "Q4_K_M"))


def test_a_model_spills_only_if_every_type_of_three_bits_does() -> None:
    for hardware in ("rtx-4090+128g", "rtx-3060+64g", "2xrtx-3090+128g", "rtx-4060-laptop+32g"):
        machine = parse_hardware(hardware, CATALOGUE)
        for candidate in CANDIDATES.values():
            a = assess(candidate, machine, Question(), CATALOGUE)
            if a.placement.fit == "gpu+ram":
                for type_ in ("IQ4_XS", "Q3_K", "IQ3_XXS"):
                    assert bits(type_) >= 3
                    assert on_machine(candidate, type_, a.need.context, 1, "f16", machine)[1].fit != "gpu"


def test_a_cache_of_eight_bits_counts_for_llama_cpp_and_us() -> None:
    machine = parse_hardware("rtx-4090+64g", CATALOGUE)
    for candidate in CANDIDATES.values():
        wide, narrow = (need(candidate, "Q4_K_M", 32768, 4, kv) for kv in ("f16", "q8_0"))
        assert narrow.state_bytes_per_sequence == wide.state_bytes_per_sequence
        state = wide.state_bytes_per_sequence
        assert (narrow.sequence_bytes - state) * 32 == (wide.sequence_bytes - state) * 17
        assert narrow.longest_context(10**9) >= wide.longest_context(10**9)
    asked = Question(type="Q4_K_M", kv_type="q8_0", context=32768)
    a = assess(CANDIDATES["qwen3.5-9b"], machine, asked, CATALOGUE)
    assert "-ctk q8_0 -ctv q8_0" in a.command.lines[0]
    assert a.need.kv_type == "q8_0"
    ours = assess(CANDIDATES["qwen3.5-9b"], parse_hardware("cpu:16c-8ch-ddr5+64g", CATALOGUE), asked, CATALOGUE)
    assert (ours.command.engine, ours.need.kv_type) == ("shoestring", "q8_0")
    assert "--kv-type q8_0" in ours.command.lines[-1]
    served = assess(
        CANDIDATES["qwen3.5-9b"], parse_hardware("h100", CATALOGUE), Question(type="BF16", kv_type="q8_0"), CATALOGUE
    )
    assert (served.command.engine, served.need.kv_type) == ("vllm", "f16")
