"""The best low-rank part, from eigenvectors: the bound of paper 004, appendix A 1."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from kraft.core.progress import Progress, silent
from kraft.core.typing import IntArray
from kraft.linalg.arrays import Array, native_like
from kraft.linalg.operators import SymmetricOperator
from kraft.linalg.woodbury import Woodbury
from kraft.solvers.preconditioners.base import Preconditioner
from kraft.solvers.preconditioners.dense_study import Spectrum, no_columns
from kraft.solvers.preconditioners.low_rank import (
    RemainderName,
    check_remainder,
    make_remainder,
)


@dataclass(frozen=True)
class Svd:
    """Takes the eigenvectors with the largest eigenvalues: for studies only.

    Parameters
    ----------
    remainder, block_geometries
        What stands beside the low-rank part; the bound is that with ``"shift"``.
    spectrum
        Of the matrix, where it is known already; computed otherwise.
    """

    name: ClassVar[str] = "svd"

    remainder: RemainderName = "shift"
    block_geometries: int = 1
    spectrum: Spectrum | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_remainder(self.remainder, self.block_geometries)

    def build(
        self,
        operator: SymmetricOperator,
        regularization: Array | float,
        rank: int,
        *,
        rng: np.random.Generator | None = None,
        progress: Progress = silent,
        previous: Preconditioner | None = None,
    ) -> Preconditioner:
        """Build a preconditioner of ``A + Λ``; see :class:`PreconditionerMethod`."""
        del rng, previous
        rank = min(rank, operator.size)
        spectrum = self.spectrum or Spectrum.of(operator, rank)
        spectrum.check_rank(rank)
        rows = (spectrum.vectors[:, :rank] * np.sqrt(spectrum.values[:rank])).T
        native = native_like(np.ascontiguousarray(rows), operator.diagonal())
        remainder = make_remainder(
            operator, native, regularization, self.remainder, self.block_geometries, progress
        )
        return SvdPreconditioner(Woodbury(native, remainder))


class SvdPreconditioner:
    """``P = U_k Λ_k U_kᵀ + D``."""

    name: ClassVar[str] = "svd"

    def __init__(self, inverse: Woodbury) -> None:
        self._inverse = inverse

    @property
    def rank(self) -> int:
        """Number of eigenvectors."""
        return self._inverse.rank

    @property
    def memory(self) -> int:
        """Bytes that it keeps."""
        return self._inverse.memory

    @property
    def description(self) -> str:
        """What it is."""
        return f"{self.rank} eigenvectors and {self._inverse.remainder.description}"

    @property
    def landmarks(self) -> IntArray:
        """There are none: eigenvectors are not columns."""
        return no_columns()

    def solve(self, vectors: Array) -> Array:
        """Return ``P⁻¹ v`` for ``(n,)`` or ``(n, m)``."""
        return self._inverse.solve(vectors)
