"""The student in torch: its parts do what they say, the conversion is exact where it claims to be."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from shoestring.errors import CheckpointError
from shoestring.samples.demo_qwen3_5.layout import EXPERTS, FULL_LAYERS
from train_demo import convert, endtoend, student, teacher
from train_demo.evaluate import expert_shares, hidden, shuffled
from train_demo.export import export, open_trained, read_trained
from train_demo.optimizer import Trained, orthogonal
from train_demo.rounding import ROUNDED, q5_0
from train_demo.student import CHUNK, Parameters


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# --- parts -----------------------------------------------------------------------------------------------------


def test_chunks_compute_what_single_tokens_do() -> None:
    T, N, D = 2 * CHUNK, 3, 16
    q, k = (F.normalize(random(2, T, N, D, seed=s), dim=-1) for s in (1, 2))
    v, g, beta = random(2, T, N, D, seed=3), -random(2, T, N, seed=4).abs(), random(2, T, N, seed=5).sigmoid()
    memory, out = torch.zeros(2, N, D, D), []
    for t in range(T):
        memory = memory * g[:, t].exp()[..., None, None]
        known = torch.einsum("bnkv,bnk->bnv", memory, k[:, t])
        memory = memory + torch.einsum("bnk,bnv->bnkv", k[:, t], beta[:, t, :, None] * (v[:, t] - known))
        out.append(torch.einsum("bnkv,bnk->bnv", memory, q[:, t]))
    torch.testing.assert_close(student.delta_rule(q, k, v, g, beta), torch.stack(out, 1), atol=1e-5, rtol=1e-4)


def test_the_loss_has_the_gradient_it_gives() -> None:
    embedding, x, wanted = (
        random(300, 16, seed=1),
        random(1, 20, 16, seed=2).requires_grad_(),
        random(1, 20, 16, seed=3),
    )
    log_q, log_p = (F.linear(hidden, embedding).log_softmax(-1) for hidden in (x, wanted))
    loss = F.kl_div(log_q, log_p, reduction="sum", log_target=True) / 20
    loss.backward()  # type: ignore[no-untyped-call]
    value, gradient = endtoend.divergence(x.detach(), wanted, embedding, endtoend.divergence_of_rows)
    assert value == pytest.approx(loss.item(), rel=1e-5)
    torch.testing.assert_close(gradient, x.grad)


def test_muon_steps_every_direction_alike() -> None:
    values = torch.linalg.svdvals(orthogonal(random(96, 200)))
    assert 0.4 < values.min() < values.max() < 1.7
    assert not orthogonal(torch.zeros(8, 8)).any()
    matrix = Trained(torch.zeros(64, 32).requires_grad_(), 0.1, (32, 32))
    matrix.value.grad = random(64, 32)
    matrix.value.grad[32:] = 0
    matrix.step(1.0, 1)
    assert matrix.value[:32].norm() > 0.1
    assert not matrix.value[32:].any()


# --- conversion ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def taught_by(whole_teacher: teacher.Teacher) -> teacher.Teacher:
    """Its first six layers: they need no training to be told apart."""
    return dataclasses.replace(whole_teacher, layers=whole_teacher.layers[:6])


@pytest.fixture(scope="module")
def tokens() -> Tensor:
    return torch.randint(100, 20_000, (4, 2 * CHUNK), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def layers(taught_by: teacher.Teacher, tokens: Tensor) -> list[Parameters]:
    return convert.convert(taught_by, tokens)


def test_conversion_is_exact_where_it_says_so(
    taught_by: teacher.Teacher, tokens: Tensor, layers: list[Parameters]
) -> None:
    cos, sin = teacher.rotary(tokens.shape[1], tokens.device)
    with torch.no_grad():
        for i, (p, passed) in enumerate(zip(layers, teacher.walk(taught_by, tokens), strict=True)):
            made, imbalance = student.mixture(p, passed.feed_forward_input)
            wanted = teacher.feed_forward(taught_by.layers[i], passed.feed_forward_input)
            assert (made - wanted).square().mean() < 1e-6 * wanted.square().mean(), i
            assert 0.98 < imbalance < 1.2, i
            if i in FULL_LAYERS:
                mixed = student.attention(p, passed.attention_input, cos, sin)
                assert (mixed - passed.attention_output).square().mean() < 0.2 * passed.attention_output.square().mean()


def test_bfloat16_products_change_little_and_the_router_nothing(
    taught_by: teacher.Teacher, tokens: Tensor, layers: list[Parameters]
) -> None:
    cos, sin = teacher.rotary(tokens.shape[1], tokens.device)
    with torch.no_grad():
        for i, (p, passed) in enumerate(zip(layers, teacher.walk(taught_by, tokens), strict=True)):
            exact, imbalance = student.layer(p, passed.output, i in FULL_LAYERS, cos, sin)
            with torch.autocast("cpu", torch.bfloat16):
                made, other_imbalance = student.layer(p, passed.output, i in FULL_LAYERS, cos, sin)
                routed = student.mixture(p, passed.feed_forward_input)[1]
            assert routed == student.mixture(p, passed.feed_forward_input)[1]
            assert made.dtype == torch.float32
            assert (made - exact).norm() < 0.02 * exact.norm()
            assert other_imbalance == pytest.approx(imbalance.item(), abs=0.02)


def test_equal_experts_hide_the_router_and_others_show_it(
    taught_by: teacher.Teacher, tokens: Tensor, layers: list[Parameters]
) -> None:
    few = tokens[:1, :CHUNK]
    before = hidden(layers, taught_by, few)
    torch.testing.assert_close(hidden(shuffled(layers), taught_by, few), before, atol=2e-2, rtol=1e-2)
    apart = [{**p, "down_out": 0.2 * random(*p["down_out"].shape, seed=i)} for i, p in enumerate(layers)]
    changed = hidden(shuffled(apart), taught_by, few) - hidden(apart, taught_by, few)
    assert changed.norm() > 0.05 * before.norm()
    assert all(len(shares) == EXPERTS and min(shares) > 0.02 for shares in expert_shares(layers, taught_by, tokens))


def test_a_cleared_state_shows_behind_and_only_there(
    taught_by: teacher.Teacher, tokens: Tensor, layers: list[Parameters]
) -> None:
    whole, cleared = hidden(layers, taught_by, tokens[:1]), hidden(layers, taught_by, tokens[:1], CHUNK)
    torch.testing.assert_close(cleared[:, :CHUNK], whole[:, :CHUNK], atol=1e-3, rtol=1e-3)
    assert (cleared[:, CHUNK:] - whole[:, CHUNK:]).norm() > 0.02 * whole[:, CHUNK:].norm()


def test_what_is_exported_comes_back_rounded(layers: list[Parameters], tmp_path: Path) -> None:
    chance = [{name: value + 0.01 * random(*value.shape, seed=i) if name in ("down_in", "gate_up_out", "in_proj_a")
               else value for name, value in p.items()} for i, p in enumerate(layers)]  # fmt: skip
    export(chance, tmp_path / "trained.gguf")
    back = read_trained(open_trained(tmp_path / "trained.gguf"), layers)
    for old, new in zip(chance, back, strict=True):
        assert old.keys() == new.keys()
        for name in ROUNDED.keys() & old.keys():
            assert torch.equal(new[name], q5_0(old[name], ROUNDED[name])), name
        for name, value in old.items():
            error = (new[name] - value).norm() / (value.norm() + 1e-9)
            assert error < 0.08, name
    broken = [{name: value.clone() for name, value in p.items()} for p in layers]
    broken[3]["v_proj"][100] = 1
    with pytest.raises(CheckpointError, match="was trained: this is another student"):
        export(broken, tmp_path / "broken.gguf")
