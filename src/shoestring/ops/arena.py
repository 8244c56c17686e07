"""Memory for weights that arrive from a file: one block that its owner cuts into slots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoestring.ops import extension
from shoestring.ops.extension import Bytes

if TYPE_CHECKING:
    from shoestring import _kernels
else:
    _kernels = extension.Unloaded(globals())


def arena(nbytes: int) -> Bytes:
    """Zero bytes in an anonymous mapping at a 2 MB boundary, with huge pages advised; freed with the last view.

    The system gives the memory page by page, as it is first written. Raises MemoryError.
    """
    return _kernels.arena(nbytes)
