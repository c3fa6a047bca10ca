"""Randomly pivoted Cholesky, block by block with rejection.

Proposals are drawn in proportion to the residual diagonal; within a block each is kept with the
probability that its residual has by then left of what it was drawn with. The columns are
distributed exactly as those drawn one by one (Epperly, Tropp and Webber, *Embrace rejection*, 2024,
arXiv:2410.03969, algorithms 2.2 and 2.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from kraft.core.progress import Progress
from kraft.core.typing import AnyArray, IntArray
from kraft.linalg.arrays import Array, host
from kraft.linalg.partial_cholesky import COLUMN_BLOCK, PartialCholesky
from kraft.solvers.preconditioners.low_rank import STAGE, LandmarkMethod

IDLE_ROUNDS = 20
"""Blocks of proposals without a single accepted column that end the search."""


@dataclass(frozen=True)
class RandomPivoting(LandmarkMethod):
    """Draws columns by what the others have left of them, many at a time."""

    name: ClassVar[str] = "random-pivoting"
    selection: ClassVar[str] = "randomly pivoted"

    def select(
        self,
        factor: PartialCholesky,
        rank: int,
        regularization: Array | float,
        rng: np.random.Generator,
        progress: Progress,
    ) -> None:
        """Extend the factor to this rank."""
        del regularization
        block = int(min(max(rank // 8, 16), COLUMN_BLOCK))
        idle = 0
        while factor.rank < rank and idle < IDLE_ROUNDS:
            progress(STAGE, factor.rank, factor.capacity)
            proposals = _propose(factor, block, rng)
            if not len(proposals):
                return
            columns, positions = np.unique(proposals, return_inverse=True)
            draws = rng.random(block)

            def choose(
                residual: AnyArray,
                tolerance: float,
                positions: IntArray = positions,
                draws: AnyArray = draws,
            ) -> tuple[AnyArray, AnyArray]:
                return accept(residual, positions, draws, tolerance)

            accepted = factor.extend(columns, choose=choose)
            idle = 0 if accepted else idle + 1


def accept(
    residual: AnyArray, positions: IntArray, draws: AnyArray, tolerance: float
) -> tuple[IntArray, AnyArray]:
    """Keep or reject proposals one after the other.

    Parameters
    ----------
    residual
        ``(u, u)`` residual matrix of the proposed columns.
    positions
        ``(b,)`` the proposals, in their order, as rows of ``residual``; they may repeat.
    draws
        ``(b,)`` uniform random numbers.
    tolerance
        A residual up to this is only rounding.

    Returns
    -------
    order : IntArray
        ``(r,)`` accepted rows of ``residual``.
    upper : FloatArray
        ``(r, r)`` Cholesky factor of ``residual[order][:, order]``.
    """
    proposed = residual.diagonal().copy()
    left = proposed.copy()
    columns = np.empty_like(residual)  # row i: column i of the factor
    order: list[int] = []
    for position, draw in zip(positions, draws, strict=True):
        if left[position] <= tolerance or draw * proposed[position] >= left[position]:
            continue
        done = len(order)
        column = residual[position] - columns[:done, position] @ columns[:done]
        column /= np.sqrt(left[position])
        columns[done] = column
        order.append(int(position))
        left -= column**2
        left[position] = 0.0
    accepted = np.array(order, dtype=np.int64)
    return accepted, np.triu(columns[: len(order)][:, accepted])


def _propose(factor: PartialCholesky, count: int, rng: np.random.Generator) -> IntArray:
    weights = host(factor.residual_diagonal).astype(np.float64)
    weights[weights <= factor.tolerance] = 0.0
    total = np.cumsum(weights)
    if not total[-1] > 0.0:
        return np.zeros(0, dtype=np.int64)
    drawn = np.searchsorted(total, rng.random(count) * total[-1], side="right")
    proposals: IntArray = np.minimum(drawn, len(total) - 1).astype(np.int64)
    return proposals
