"""The operator that kernels offer and solvers accept; neither knows the other."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from kraft.core.progress import Progress
from kraft.linalg.panels import LowerPanels


class SymmetricOperator(Protocol):
    """A symmetric positive semi-definite matrix ``A`` of ``size × size``, stored or not."""

    @property
    def size(self) -> int:
        """Number of rows."""
        ...

    @property
    def block_size(self) -> int:
        """Rows that belong together; panel boundaries should fall between such blocks."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the entries."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the entries live."""
        ...

    def matmul(self, vectors: Tensor) -> Tensor:
        """Return ``A v`` for vectors ``(size,)`` without storing ``A``."""
        ...

    def assemble(self, panels: LowerPanels, progress: Progress) -> None:
        """Write the lower triangle of ``A`` into the panels."""
        ...
