"""The operator that kernels offer and solvers accept; neither knows the other.

``matmul``, ``assemble`` and ``to_dense`` take and return tensors. What iterative solvers call in
their loops takes and returns *native* arrays (:data:`kraft.linalg.arrays.Array`): NumPy arrays on
the CPU, tensors elsewhere.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from kraft.core.progress import Progress, silent
from kraft.core.typing import IntArray
from kraft.linalg.arrays import Array
from kraft.linalg.panels import LowerPanels


class Product(Protocol):
    """A symmetric matrix prepared to be applied many times."""

    @property
    def memory(self) -> int:
        """Bytes that it keeps between calls."""
        ...

    def __call__(self, vectors: Array) -> Array:
        """Return ``A v`` as a new native array, for ``(size,)`` or ``(size, m)`` vectors."""
        ...


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
        """Return ``A v`` for a vector ``(size,)`` without storing ``A``; the reference product."""
        ...

    def product(self, *, max_memory: int | None = None) -> Product:
        """Prepare for many products, keeping at most ``max_memory`` bytes that speed them up.

        ``None`` means no bound. What a product cannot do without is kept whatever the bound.
        """
        ...

    def diagonal(self) -> Array:
        """Return the diagonal, ``(size,)`` native."""
        ...

    def columns(self, indices: IntArray) -> Array:
        """Return some columns as the rows of a native, C-contiguous array ``(k, size)``.

        The time is proportional to ``k · size``; ``indices`` may come in any order and repeat.
        """
        ...

    def principal(self, blocks: IntArray) -> Array:
        """Return the principal submatrix of whole blocks, native.

        Its shape is ``(len(blocks) · block_size, len(blocks) · block_size)``.
        """
        ...

    def assemble(self, panels: LowerPanels, progress: Progress) -> None:
        """Write the lower triangle of ``A`` into the panels."""
        ...

    def to_dense(self) -> Tensor:
        """Return the full matrix, for small systems."""
        ...


def assembled_panels(operator: SymmetricOperator, progress: Progress = silent) -> LowerPanels:
    """Return the lower triangle of ``A``."""
    panels = LowerPanels(
        operator.size,
        block_size=operator.block_size,
        dtype=operator.dtype,
        device=operator.device,
    )
    operator.assemble(panels, progress)
    return panels
