"""Randomly pivoted Cholesky, one column at a time.

Chen, Epperly, Tropp and Webber, *Randomly pivoted Cholesky*, Commun. Pure Appl. Math. (2024),
arXiv:2207.06503, algorithm 2.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from kraft.core.progress import Progress
from kraft.linalg.arrays import Array, host
from kraft.linalg.partial_cholesky import PartialCholesky
from kraft.solvers.preconditioners.low_rank import STAGE, LandmarkMethod


@dataclass(frozen=True)
class PlainRandomPivoting(LandmarkMethod):
    """Draws each column in proportion to the residual diagonal."""

    name: ClassVar[str] = "random-pivoting-plain"
    selection: ClassVar[str] = "randomly pivoted one by one"

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
        while factor.rank < rank:
            if factor.rank % 64 == 0:
                progress(STAGE, factor.rank, factor.capacity)
            candidates = factor.candidates()
            if not len(candidates):
                return
            weights = host(factor.residual_diagonal)[candidates].astype(np.float64)
            drawn = rng.choice(candidates, p=weights / weights.sum())
            if factor.extend(np.array([drawn])) == 0:
                return
