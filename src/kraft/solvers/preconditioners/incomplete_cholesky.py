"""Incomplete Cholesky factorization with greedy pivots, paper 004, algorithm 1.

Each pivot is the largest entry of the residual diagonal. The likely next pivots are fetched and
freed from the older columns together, with one matrix product, and then used as long as the true
pivot is among them: the same pivots as one column at a time, but less often a product with all of
the factor for a single column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from kraft.core.progress import Progress
from kraft.linalg.arrays import Array
from kraft.linalg.partial_cholesky import COLUMN_BLOCK, PartialCholesky
from kraft.solvers.preconditioners.low_rank import STAGE, LandmarkMethod


@dataclass(frozen=True)
class IncompleteCholesky(LandmarkMethod):
    """Takes the column that is worst represented by those before, one after the other."""

    name: ClassVar[str] = "incomplete-cholesky"
    selection: ClassVar[str] = "greedy pivots"

    def select(
        self,
        factor: PartialCholesky,
        rank: int,
        regularization: Array | float,
        rng: np.random.Generator,
        progress: Progress,
    ) -> None:
        """Extend the factor to this rank."""
        del regularization, rng
        lookahead = 16
        while factor.rank < rank:
            progress(STAGE, factor.rank, factor.capacity)
            added = factor.extend_greedily(lookahead)
            if added == 0 and not len(factor.candidates()):
                return
            lookahead = min(max(4 * added, 8), COLUMN_BLOCK)
