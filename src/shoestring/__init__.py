"""Shoestring runs Qwen 3.5 and Llama 4 on the CPU: the same bits with any threads, batch or instruction set.

    import shoestring
    model = shoestring.load("model.gguf")
    for piece in model.generate("Once upon a time", max_tokens=50):
        print(piece.text, end="")

Importing this package loads nothing else; the first use loads numpy and the compiled extension.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoestring.ops.sampling import Sampling as Sampling
    from shoestring.output.pieces import Call as Call
    from shoestring.output.pieces import Piece as Piece
    from shoestring.output.request import Constraint as Constraint
    from shoestring.output.request import ToolChoice as ToolChoice
    from shoestring.planning.plan import plan as plan
    from shoestring.planning.side_by_side import compare as compare
    from shoestring.runtime.loading import load as load
    from shoestring.runtime.model import Model as Model

__version__ = "0.1.0"

__all__ = ["Call", "Constraint", "Model", "Piece", "Sampling", "ToolChoice", "__version__", "compare", "load", "plan"]

_HOMES = {
    "Call": "shoestring.output.pieces",
    "Constraint": "shoestring.output.request",
    "Model": "shoestring.runtime.model",
    "Piece": "shoestring.output.pieces",
    "Sampling": "shoestring.ops.sampling",
    "ToolChoice": "shoestring.output.request",
    "compare": "shoestring.planning.side_by_side",
    "load": "shoestring.runtime.loading",
    "plan": "shoestring.planning.plan",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'shoestring' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
