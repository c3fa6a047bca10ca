"""Whole geometries as landmarks: all columns of a geometry, or none.

Geometries are drawn in proportion to what the others leave of their diagonal, so this is randomly
pivoted Cholesky by blocks of one geometry. Columns of one geometry are cheap to compute together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from kraft.core.progress import Progress
from kraft.core.typing import IntArray
from kraft.linalg.arrays import Array, host
from kraft.linalg.partial_cholesky import COLUMN_BLOCK, PartialCholesky
from kraft.solvers.preconditioners.low_rank import STAGE, LandmarkMethod


@dataclass(frozen=True)
class Geometries(LandmarkMethod):
    """Draws whole geometries, at least one; the rank is rounded down to their columns."""

    name: ClassVar[str] = "geometries"
    selection: ClassVar[str] = "whole geometries"

    def select(
        self,
        factor: PartialCholesky,
        rank: int,
        regularization: Array | float,
        rng: np.random.Generator,
        progress: Progress,
    ) -> None:
        """Extend the factor to about this rank."""
        del regularization
        block = factor.operator.block_size
        while factor.rank == 0 or factor.rank + block <= rank:
            progress(STAGE, factor.rank, factor.capacity)
            room = max(1, (rank - factor.rank) // block)
            drawn = _draw(factor, min(room, max(1, COLUMN_BLOCK // block)), rng)
            if not len(drawn) or rank == 0:
                return
            columns = (np.sort(drawn)[:, None] * block + np.arange(block)).ravel()
            if factor.extend(columns) == 0:
                return


def _draw(factor: PartialCholesky, count: int, rng: np.random.Generator) -> IntArray:
    residual = host(factor.residual_diagonal).astype(np.float64)
    residual[residual <= factor.tolerance] = 0.0
    weights = residual.reshape(-1, factor.operator.block_size).sum(axis=1)
    candidates = np.flatnonzero(weights)
    if not len(candidates):
        return candidates
    probabilities = weights[candidates] / weights[candidates].sum()
    return rng.choice(candidates, min(count, len(candidates)), replace=False, p=probabilities)
