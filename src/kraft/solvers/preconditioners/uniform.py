"""Columns drawn uniformly at random: the baseline of paper 004, section III."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from kraft.core.progress import Progress
from kraft.linalg.arrays import Array
from kraft.linalg.partial_cholesky import PartialCholesky
from kraft.solvers.preconditioners.low_rank import LandmarkMethod, extend_with_draws


@dataclass(frozen=True)
class Uniform(LandmarkMethod):
    """Draws columns uniformly, without replacement."""

    name: ClassVar[str] = "uniform"
    selection: ClassVar[str] = "uniformly drawn"

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
        extend_with_draws(factor, rank, None, rng, progress)
