"""No preconditioner: plain conjugate gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from kraft.core.progress import Progress, silent
from kraft.core.typing import IntArray
from kraft.linalg.arrays import Array, copy
from kraft.linalg.operators import SymmetricOperator
from kraft.solvers.preconditioners.base import Preconditioner


@dataclass(frozen=True)
class Identity:
    """The identity, as method and as preconditioner."""

    name: ClassVar[str] = "none"
    rank: ClassVar[int] = 0
    memory: ClassVar[int] = 0
    description: ClassVar[str] = "no preconditioner"

    @property
    def landmarks(self) -> IntArray:
        """There are none."""
        return np.zeros(0, dtype=np.int64)

    def solve(self, vectors: Array) -> Array:
        """Return a copy of the vectors."""
        return copy(vectors)

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
        """Return itself; see :class:`PreconditionerMethod`."""
        del operator, regularization, rank, rng, progress, previous
        return self
