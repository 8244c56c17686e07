"""What the teacher says after each token: its likeliest next tokens with their log-probabilities, kept on disk.

Owns `targets-*.npy`. Stage 1 fills it on its way, stage 2 fills what is missing; the rest of the distribution is one
number, what the kept ones leave of 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from shoestring.train.data import Ids
from shoestring.train.teacher import Teacher, rms_norm, walk

KEPT = 96
_ROWS = 512  # of logits at once: 100 MB


@dataclass(frozen=True)
class Targets:
    """Of windows [windows, T]."""

    windows: Ids
    tokens: npt.NDArray[np.uint16]  # [windows, T, KEPT]
    logs: npt.NDArray[np.float16]  # [windows, T, KEPT]
    done: npt.NDArray[np.bool_]  # [windows]

    def keep(self, these: npt.NDArray[np.int64], teacher: Teacher, last: Tensor) -> None:
        """Those of the windows numbered `these`, from the residual stream after the last layer [B, T, H]."""
        B, T, _ = last.shape
        after = rms_norm(last, teacher.norm).view(B * T, -1)
        tokens, logs = [], []
        with torch.no_grad():
            for rows in after.split(_ROWS):
                found = F.linear(rows, teacher.embedding).log_softmax(-1).topk(KEPT, -1)
                tokens.append(found.indices.cpu().numpy().astype(np.uint16))
                logs.append(found.values.cpu().numpy().astype(np.float16))
        self.tokens[these] = np.concatenate(tokens).reshape(B, T, KEPT)
        self.logs[these] = np.concatenate(logs).reshape(B, T, KEPT)
        self.done[these] = True

    def of(self, these: npt.NDArray[np.int64], teacher: Teacher) -> tuple[Tensor, Tensor]:
        """Tokens and log-probabilities of the windows numbered `these`, each [B, T, KEPT]."""
        device = teacher.embedding.device
        missing = these[~self.done[these]]
        if len(missing):
            for passed in walk(teacher, as_tokens(self.windows[missing], device)):
                last = passed.output
            self.keep(missing, teacher, last)
        logs = torch.tensor(self.logs[these].astype(np.float32), device=device)
        return as_tokens(self.tokens[these], device), logs


def as_tokens(ids: Ids, device: torch.device) -> Tensor:
    return torch.tensor(ids.astype(np.int64), device=device)


def open_targets(folder: Path, name: str, windows: Ids) -> Targets:
    """The file of these windows, grown as it is filled."""
    count, length = windows.shape

    def array(part: str, dtype: type[np.generic], shape: tuple[int, ...]) -> npt.NDArray[Any]:
        path = folder / f"targets-{name}-{part}.npy"
        mode = "r+" if path.exists() else "w+"
        return np.lib.format.open_memmap(path, mode=mode, dtype=dtype, shape=shape)

    return Targets(
        windows,
        array("tokens", np.uint16, (count, length, KEPT)),
        array("logs", np.float16, (count, length, KEPT)),
        array("done", np.bool_, (count,)),
    )
