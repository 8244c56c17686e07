from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_Float32 = npt.NDArray[np.float32]
_Float64 = npt.NDArray[np.float64]
_Int32 = npt.NDArray[np.int32]
_Int64 = npt.NDArray[np.int64]
_Bytes = npt.NDArray[np.uint8]
_Array = npt.NDArray[Any]

# --- the extension itself --------------------------------------------------------------------------------------

def isa() -> str: ...
def variants() -> list[str]: ...
def set_num_threads(count: int) -> None: ...
def num_threads() -> int: ...
def scratch_bytes() -> int: ...

# --- matmul ----------------------------------------------------------------------------------------------------

class Matrix:
    @property
    def type(self) -> str: ...
    @property
    def rows(self) -> int: ...
    @property
    def columns(self) -> int: ...
    @property
    def nbytes(self) -> int: ...

class ExpertTable:
    def __init__(self, gate: Sequence[Matrix], up: Sequence[Matrix], down: Sequence[Matrix]) -> None: ...
    @property
    def hidden_size(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def __len__(self) -> int: ...

# --- sequence --------------------------------------------------------------------------------------------------

# --- rows ------------------------------------------------------------------------------------------------------
