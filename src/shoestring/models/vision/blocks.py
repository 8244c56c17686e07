"""What both vision towers are made of: linear maps and norms with a bias, and the encoder layer of a ViT.

Shapes: H hidden_size, I feed-forward width. `M` is the type of a matrix, `A` of an array: the kernels' in the towers,
numpy's in `reference`. `matrix(name, rows, columns)` and `vector(name, *shape)` return weights by our names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

M = TypeVar("M")
A = TypeVar("A")
Matrices = Callable[[str, int, int], M]
Vectors = Callable[..., A]


@dataclass(frozen=True)
class Linear(Generic[M, A]):
    weight: M  # [out, in]
    bias: A  # [out]


@dataclass(frozen=True)
class Norm(Generic[A]):
    weight: A
    bias: A


@dataclass(frozen=True)
class Layer(Generic[M, A]):
    input_norm: Norm[A]  # [H]
    query: Linear[M, A]  # [H, H]
    key: Linear[M, A]  # [H, H]
    value: Linear[M, A]  # [H, H]
    output: Linear[M, A]  # [H, H]
    post_norm: Norm[A]  # [H]
    up: Linear[M, A]  # [I, H]
    down: Linear[M, A]  # [H, I]


def linear(matrix: Matrices[M], vector: Vectors[A], name: str, rows: int, columns: int) -> Linear[M, A]:
    return Linear(matrix(f"{name}.weight", rows, columns), vector(f"{name}.bias", rows))


def norm(vector: Vectors[A], name: str, size: int) -> Norm[A]:
    return Norm(vector(f"{name}.weight", size), vector(f"{name}.bias", size))


def encoder_layers(
    matrix: Matrices[M],
    vector: Vectors[A],
    count: int,
    H: int,
    I: int,  # noqa: E741
) -> tuple[Layer[M, A], ...]:
    """The weights of a tower's layers."""
    return tuple(
        Layer(
            input_norm=norm(vector, f"layers.{i}.input_norm", H),
            query=linear(matrix, vector, f"layers.{i}.query", H, H),
            key=linear(matrix, vector, f"layers.{i}.key", H, H),
            value=linear(matrix, vector, f"layers.{i}.value", H, H),
            output=linear(matrix, vector, f"layers.{i}.output", H, H),
            post_norm=norm(vector, f"layers.{i}.post_norm", H),
            up=linear(matrix, vector, f"layers.{i}.up", I, H),
            down=linear(matrix, vector, f"layers.{i}.down", H, I),
        )
        for i in range(count)
    )
