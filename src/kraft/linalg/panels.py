"""A symmetric matrix stored as the block columns of its lower triangle, and its Cholesky factor.

Storing block columns ("panels") of the lower triangle takes half the memory of the full matrix, and
a factorisation panel by panel runs at the speed of matrix products, in place, can report progress
and can be interrupted between panels.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor

from kraft.core.progress import Progress, silent
from kraft.core.typing import IntArray
from kraft.linalg.panel_arithmetic import cholesky_, divide_, subtract_product_

PANEL_WIDTH = 2048
"""Columns in a panel: wide enough for full speed, narrow enough to waste little of the triangle."""

SINGLE_PANEL = 3000
"""Matrices of up to this many rows are one panel: their upper triangle costs little memory."""

INVERSE_COLUMNS = 256
"""Columns of the inverse that are held at once where only its diagonal blocks are wanted."""


class NotPositiveDefiniteError(ArithmeticError):
    """A factorisation met a pivot that is not positive; the panels are spoiled."""


class LowerPanels:
    """Lower triangle of a symmetric ``size × size`` matrix, in block columns.

    Panel ``k`` holds the rows from ``starts[k]`` to the end; entries of its leading square above
    the diagonal are not used.

    Parameters
    ----------
    size
        Number of rows.
    block_size
        Panel boundaries are multiples of this.
    dtype, device
        Of the entries.
    """

    def __init__(
        self,
        size: int,
        *,
        block_size: int = 1,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> None:
        self.size = size
        self.width = panel_width(size, block_size)
        self.starts = list(range(0, size, self.width))
        self.panels = [
            torch.empty(size - start, min(self.width, size - start), dtype=dtype, device=device)
            for start in self.starts
        ]

    def copy(self) -> LowerPanels:
        """Return an independent copy."""
        twin = copy.copy(self)
        twin.panels = [panel.clone() for panel in self.panels]
        return twin

    def set_block(self, row: int, column: int, block: Tensor) -> None:
        """Write a block at ``(row, column)``; what lies above the panels' squares is cut."""
        height, width = block.shape
        for index in range(column // self.width, -(-(column + width) // self.width)):
            start, panel = self.starts[index], self.panels[index]
            first, last = max(column, start), min(column + width, start + panel.shape[1])
            top = max(row, start)
            if top < row + height:
                panel[top - start : row - start + height, first - start : last - start] = block[
                    top - row :, first - column : last - column
                ]

    def add_to_diagonal(self, values: Tensor | float) -> None:
        """Add a number, or one number a row, to the diagonal."""
        for start, panel in zip(self.starts, self.panels, strict=True):
            diagonal = panel.diagonal()
            diagonal += (
                values[start : start + len(diagonal)] if isinstance(values, Tensor) else values
            )

    def diagonal(self) -> Tensor:
        """Return a copy of the diagonal."""
        return torch.cat([panel.diagonal() for panel in self.panels])

    def to_dense_lower(self) -> Tensor:
        """Return the lower triangle as a full matrix, zeros above it: for small ones."""
        first = self.panels[0]
        dense = torch.zeros(self.size, self.size, dtype=first.dtype, device=first.device)
        for start, panel in zip(self.starts, self.panels, strict=True):
            dense[start:, start : start + panel.shape[1]] = panel
        return dense.tril_()

    def to_dense(self) -> Tensor:
        """Return the full symmetric matrix: for small ones."""
        lower = self.to_dense_lower()
        return lower + lower.tril(-1).T

    def factorize_(self, progress: Progress = silent, *, concurrent: bool = False) -> PanelCholesky:
        """Replace the matrix by its Cholesky factor ``L``, right-looking, and return that.

        ``concurrent`` lets other threads run meanwhile, at a little less speed.

        Raises
        ------
        NotPositiveDefiniteError
            When the matrix is not numerically positive definite; the panels are then spoiled.
        """
        total = sum(len(panel) ** 2 for panel in self.panels)
        done = 0
        for index, panel in enumerate(self.panels):
            progress("factorizing", done, total)
            width = panel.shape[1]
            info = cholesky_(panel[:width], concurrent=concurrent)
            if info != 0:
                raise NotPositiveDefiniteError(
                    f"pivot {self.starts[index] + info} of {self.size} is not positive"
                )
            if len(panel) > width:
                divide_(panel[width:], panel[:width], concurrent=concurrent)
            for start, later in zip(
                self.starts[index + 1 :], self.panels[index + 1 :], strict=True
            ):
                subtract_product_(later, panel[start - self.starts[index] :], concurrent=concurrent)
            done += len(panel) ** 2
        progress("factorizing", total, total)
        return PanelCholesky(self)


class PanelCholesky:
    """A Cholesky factor stored in panels; made by :meth:`LowerPanels.factorize_`."""

    def __init__(self, factor: LowerPanels) -> None:
        self._factor = factor

    @property
    def size(self) -> int:
        """Number of rows."""
        return self._factor.size

    def log_determinant(self) -> float:
        """Return the logarithm of the determinant of the factorized matrix."""
        return float(2.0 * self._factor.diagonal().log().sum())

    def inverse(self) -> Tensor:
        """Return ``A⁻¹`` as a full matrix: for small systems."""
        lower = self._factor.to_dense_lower()
        inverse: Tensor = torch.cholesky_inverse(lower)
        return inverse

    def solve(self, right_hand_side: Tensor) -> Tensor:
        """Return ``A⁻¹ b`` for ``b`` of shape ``(size,)`` or ``(size, C)``."""
        vector = right_hand_side.ndim == 1
        solution = self.half_solve(right_hand_side).reshape(self.size, -1)
        for start, panel in reversed(self._pairs()):
            width = panel.shape[1]
            rows = solution[start : start + width]
            rows.addmm_(panel[width:].T, solution[start + width :], alpha=-1.0)
            rows.copy_(torch.linalg.solve_triangular(panel[:width].tril().T, rows, upper=True))
        return solution.reshape(-1) if vector else solution

    def half_solve(self, right_hand_side: Tensor) -> Tensor:
        """Return ``L⁻¹ b`` for ``b`` of shape ``(size,)`` or ``(size, C)``.

        Its squared norm is ``bᵀ A⁻¹ b``.
        """
        vector = right_hand_side.ndim == 1
        solution = right_hand_side.clone().reshape(self.size, -1)
        self._half_solve_(self._pairs(), solution)
        return solution.reshape(-1) if vector else solution

    def _half_solve_(self, pairs: list[tuple[int, Tensor]], solution: Tensor) -> None:
        """Solve with the last panels only, in place: ``solution`` starts where they do."""
        first = pairs[0][0]
        for start, panel in pairs:
            width, begin = panel.shape[1], start - first
            rows = solution[begin : begin + width]
            rows.copy_(torch.linalg.solve_triangular(panel[:width].tril(), rows, upper=False))
            solution[begin + width :].addmm_(panel[width:], rows, alpha=-1.0)

    def inverse_blocks(self, starts: IntArray, width: int) -> Tensor:
        """Return the diagonal blocks ``(C, width, width)`` of ``A⁻¹`` that start at some rows.

        For few blocks it takes a share of the work of :meth:`inverse` and little memory.
        """
        first = self._factor.panels[0]
        blocks = first.new_empty(len(starts), width, width)
        pairs, identity = self._pairs(), torch.eye(width, dtype=first.dtype, device=first.device)
        order = np.argsort(starts)
        for some in np.array_split(order, -(-len(order) * width // INVERSE_COLUMNS)):
            while len(pairs) > 1 and pairs[1][0] <= starts[some[0]]:
                pairs.pop(0)  # above it the solution is zero
            columns = first.new_zeros(self.size - pairs[0][0], len(some), width)
            for column, block in enumerate(some):
                row = int(starts[block]) - pairs[0][0]
                columns[row : row + width, column] = identity
            half = columns.flatten(1)
            self._half_solve_(pairs, half)
            parts = half.view(columns.shape)
            blocks[torch.as_tensor(some)] = torch.einsum("ncx,ncy->cxy", parts, parts)
        return blocks

    def half_solve_rows(self, rows: Tensor) -> Tensor:
        """Return ``B L⁻ᵀ``, ``(C, size)``: :meth:`half_solve` of every row of ``B``, transposed.

        Without a copy of the factor, which decides for few rows.
        """
        result = rows.clone()
        for start, panel in self._pairs():
            stop = start + panel.shape[1]
            part = torch.linalg.solve_triangular(
                panel[: stop - start].T, result[:, start:stop], upper=True, left=False
            )
            result[:, start:stop] = part
            result[:, stop:].addmm_(part, panel[stop - start :].T, alpha=-1.0)
        return result

    def _pairs(self) -> list[tuple[int, Tensor]]:
        return list(zip(self._factor.starts, self._factor.panels, strict=True))


def panel_width(size: int, block_size: int) -> int:
    """Return the panel width: a multiple of ``block_size``, or all of a small matrix."""
    if size <= SINGLE_PANEL:
        return size
    return block_size * -(-PANEL_WIDTH // block_size)


def panel_entries(size: int, block_size: int) -> int:
    """Return how many numbers the panels of a matrix hold, known before they are allocated."""
    width = panel_width(size, block_size)
    return sum((size - start) * min(width, size - start) for start in range(0, size, width))
