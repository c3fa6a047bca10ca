"""Block Jacobi: only the diagonal blocks of whole geometries, paper 004, appendix B 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from kraft.core.progress import Progress, silent
from kraft.linalg.arrays import Array
from kraft.linalg.operators import SymmetricOperator
from kraft.linalg.partial_cholesky import PartialCholesky
from kraft.solvers.preconditioners.base import Preconditioner
from kraft.solvers.preconditioners.low_rank import LowRankPreconditioner, check_remainder
from kraft.solvers.remainder import Blocks


@dataclass(frozen=True)
class Jacobi:
    """Diagonal blocks of ``A + Λ``, each of some geometries; the rank is not used.

    Parameters
    ----------
    block_geometries
        Geometries in a block; 1 in the paper.
    """

    name: ClassVar[str] = "jacobi"

    block_geometries: int = 1

    def __post_init__(self) -> None:
        check_remainder(self.remainder, self.block_geometries)

    @property
    def remainder(self) -> str:
        """The kind of remainder: there is nothing else."""
        return "blocks"

    def build(
        self,
        operator: SymmetricOperator,
        regularization: Array | float,
        rank: int = 0,
        *,
        rng: np.random.Generator | None = None,
        progress: Progress = silent,
        previous: Preconditioner | None = None,
    ) -> Preconditioner:
        """Factorize the blocks; see :class:`PreconditionerMethod`."""
        del rank, rng, previous
        factor = PartialCholesky(operator, 0)
        blocks = Blocks(operator, factor.rows, regularization, self.block_geometries, progress)
        return LowRankPreconditioner(self.name, factor, blocks)
