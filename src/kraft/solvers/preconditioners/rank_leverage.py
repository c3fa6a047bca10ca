"""Columns drawn by rank-k leverage scores, paper 004, eq. B1: for studies only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from kraft.core.progress import Progress
from kraft.linalg.arrays import Array
from kraft.linalg.partial_cholesky import PartialCholesky
from kraft.solvers.preconditioners.dense_study import Spectrum
from kraft.solvers.preconditioners.low_rank import LandmarkMethod, extend_with_draws


@dataclass(frozen=True)
class RankLeverage(LandmarkMethod):
    """Draws columns without replacement, in proportion to their rows of the top eigenvectors.

    Parameters
    ----------
    spectrum
        Of the matrix, where it is known already; computed otherwise.
    """

    name: ClassVar[str] = "rank-leverage"
    selection: ClassVar[str] = "by rank-k leverage scores"

    spectrum: Spectrum | None = field(default=None, compare=False, repr=False)

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
        if factor.rank >= rank:
            return
        spectrum = self.spectrum or Spectrum.of(factor.operator, rank, name=self.name)
        spectrum.check_rank(rank)
        extend_with_draws(factor, rank, spectrum.leverage_scores(rank), rng, progress)
