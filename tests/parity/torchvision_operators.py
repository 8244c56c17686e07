"""Make PyPI's torchvision importable beside a torch for the CPU, as transformers imports it wherever it is installed.

That torchvision is built for CUDA, so its compiled operators do not load, and its import fails where it describes them.
Its transforms, which the reference's processors use, are written with torch alone.
"""

from __future__ import annotations

import importlib.util

import torch

#: A library ends with its object.
_declared: list[torch.library.Library] = []


def declare() -> None:
    """Import torchvision where it is installed; where that fails, declare the operators whose names it needs first."""
    if importlib.util.find_spec("torchvision") is None:
        return
    try:
        import torchvision
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        _declared.append(library)
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision
    assert torchvision.__version__
