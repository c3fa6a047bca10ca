"""Columns drawn by approximate ridge leverage scores, paper 000, appendix F.

The scores ``τ_i = b_iᵀ (BᵀB + λI)⁻¹ b_i`` come from a Nyström approximation ``B Bᵀ`` with uniformly
drawn columns (eq. S2); with one regularization a row, ``λ`` stands for that of row ``i``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from kraft.core.progress import Progress
from kraft.core.typing import FloatArray
from kraft.linalg.arrays import Array, host
from kraft.linalg.operators import SymmetricOperator
from kraft.linalg.partial_cholesky import PartialCholesky
from kraft.linalg.woodbury import Woodbury
from kraft.solvers.preconditioners.low_rank import LandmarkMethod, extend_with_draws
from kraft.solvers.remainder import Shift


@dataclass(frozen=True)
class Leverage(LandmarkMethod):
    """Draws columns without replacement, in proportion to approximate ridge leverage scores."""

    name: ClassVar[str] = "leverage"
    selection: ClassVar[str] = "by ridge leverage scores"

    def select(
        self,
        factor: PartialCholesky,
        rank: int,
        regularization: Array | float,
        rng: np.random.Generator,
        progress: Progress,
    ) -> None:
        """Extend the factor to this rank."""
        missing = rank - factor.rank
        if missing <= 0:
            return
        # the memory of the approximation is that of the columns to come
        factor.reserve(factor.rank)
        scores = ridge_leverage_scores(factor.operator, regularization, missing, rng, progress)
        factor.reserve(rank)
        extend_with_draws(factor, rank, scores, rng, progress)


def ridge_leverage_scores(
    operator: SymmetricOperator,
    regularization: Array | float,
    rank: int,
    rng: np.random.Generator,
    progress: Progress,
) -> FloatArray:
    """Return approximate ridge leverage scores ``(n,)`` from a uniform Nyström approximation."""
    approximation = PartialCholesky(operator, rank)
    extend_with_draws(approximation, rank, None, rng, progress)
    inverse = Woodbury(approximation.rows, Shift(regularization, operator.diagonal()))
    return host(inverse.scores()).astype(np.float64)
