"""A stored matrix as an operator: for small systems, studies and tests."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from kraft.core.progress import Progress, silent
from kraft.core.typing import IntArray
from kraft.linalg.arrays import Array
from kraft.linalg.panels import LowerPanels


class DenseOperator:
    """A stored symmetric matrix, a :class:`~kraft.linalg.operators.SymmetricOperator`.

    Parameters
    ----------
    matrix
        ``(size, size)`` symmetric, on any device; not copied.
    block_size
        Rows that belong together; divides ``size``.

    Raises
    ------
    ValueError
        When the matrix is not square or ``block_size`` does not divide its size.
    """

    def __init__(self, matrix: Tensor, block_size: int = 1) -> None:
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise ValueError(f"expected a square matrix, got the shape {tuple(matrix.shape)}")
        if block_size < 1 or len(matrix) % block_size:
            raise ValueError(f"blocks of {block_size} rows do not divide {len(matrix)} rows")
        self.matrix = matrix
        self.block_size = block_size

    @property
    def size(self) -> int:
        """Number of rows."""
        return len(self.matrix)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the entries."""
        return self.matrix.dtype

    @property
    def device(self) -> torch.device:
        """Where the entries live."""
        return self.matrix.device

    def matmul(self, vectors: Tensor) -> Tensor:
        """Return ``A v`` for vectors ``(size,)`` or ``(size, m)``."""
        return self.matrix @ vectors

    def product(self, *, max_memory: int | None = None) -> DenseProduct:
        """Return the product, which keeps nothing beside the matrix."""
        del max_memory
        return DenseProduct(self._native)

    def diagonal(self) -> Array:
        """Return a copy of the diagonal."""
        return _native(self.matrix.diagonal().clone())

    def columns(self, indices: IntArray) -> Array:
        """Return some columns as rows ``(k, size)``."""
        chosen = torch.as_tensor(np.asarray(indices), dtype=torch.long, device=self.device)
        return _native(self.matrix.index_select(1, chosen).T.contiguous())

    def principal(self, blocks: IntArray) -> Array:
        """Return the principal submatrix of whole blocks."""
        first = np.asarray(blocks, dtype=np.int64)[:, None] * self.block_size
        rows = torch.as_tensor((first + np.arange(self.block_size)).ravel(), device=self.device)
        return _native(self.matrix.index_select(0, rows).index_select(1, rows))

    def assemble(self, panels: LowerPanels, progress: Progress = silent) -> None:
        """Write the lower triangle into the panels."""
        block = self.block_size
        for row in range(0, self.size, block):
            panels.set_block(row, 0, self.matrix[row : row + block, : row + block])
        progress("assembling", self.size, self.size)

    def to_dense(self) -> Tensor:
        """Return a copy of the matrix."""
        return self.matrix.clone()

    @property
    def _native(self) -> Array:
        return _native(self.matrix)


class DenseProduct:
    """Products with a stored matrix, a :class:`~kraft.linalg.operators.Product`."""

    def __init__(self, matrix: Array) -> None:
        self._matrix = matrix

    @property
    def memory(self) -> int:
        """Bytes kept beside the operator's: none."""
        return 0

    def __call__(self, vectors: Array) -> Array:
        """Return ``A v`` for ``(size,)`` or ``(size, m)`` vectors."""
        return self._matrix @ vectors


def _native(tensor: Tensor) -> Array:
    return tensor.numpy() if tensor.device.type == "cpu" else tensor
