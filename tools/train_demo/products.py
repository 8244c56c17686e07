"""Speed up the trainer: bfloat16 matrix products if the processor has them, and compiled functions.

Sums of products, norms, the delta rule's states and all parameters stay float32.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch

Made = TypeVar("Made", bound=Callable[..., Any])


def fast_products(device: torch.device) -> torch.autocast:
    """A context in which products are two to four times faster with AVX-512 BF16, AMX or a GPU; else no change."""
    able = torch.cpu.get_capabilities()
    native = device.type == "cuda" or bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return torch.autocast(device.type, torch.bfloat16, enabled=native)


def compiled(function: Made) -> Made:
    """Compile a function, which halves the time of elementwise work. Unchanged if compiling is not possible."""
    if not can_compile():
        return function
    torch._dynamo.config.suppress_errors = True
    return cast(Made, torch.compile(function, dynamic=False))


def can_compile() -> bool:
    return shutil.which("g++") is not None or torch.cuda.is_available()
