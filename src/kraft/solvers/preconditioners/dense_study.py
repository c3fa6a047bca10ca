"""The stored matrix and its spectrum, for preconditioners that are bounds and not tools."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from kraft.core.errors import OptionError
from kraft.core.typing import AnyArray, FloatArray, IntArray
from kraft.linalg.arrays import host
from kraft.linalg.operators import SymmetricOperator

STUDY_LIMIT = 20_000
"""Rows of the largest matrix that is stored for a study: 3.2 GB."""


def study_matrix(operator: SymmetricOperator, name: str) -> AnyArray:
    """Return the full matrix.

    Raises
    ------
    OptionError
        When it is too large for a study.
    """
    if operator.size > STUDY_LIMIT:
        raise OptionError(
            f"The preconditioner {name!r} needs the whole matrix, which only a study can afford: "
            f"it takes at most {STUDY_LIMIT} labels, but there are {operator.size}. Choose another "
            "preconditioner, random-pivoting say, or fewer geometries."
        )
    return host(operator.to_dense())


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigenvalues and eigenvectors of a matrix, largest first.

    Attributes
    ----------
    values
        ``(p,)`` falling.
    vectors
        ``(n, p)``, orthonormal columns.
    """

    values: FloatArray
    vectors: FloatArray

    @classmethod
    def of(
        cls, operator: SymmetricOperator, rank: int | None = None, *, name: str = "svd"
    ) -> Spectrum:
        """Compute the largest ``rank`` of them, all when not given."""
        matrix = study_matrix(operator, name)
        n = len(matrix)
        count = n if rank is None else min(rank, n)
        if count == 0:
            return cls(np.zeros(0), np.zeros((n, 0)))
        values, vectors = scipy.linalg.eigh(
            matrix,
            overwrite_a=True,
            check_finite=False,
            subset_by_index=None if count == n else (n - count, n - 1),
        )
        return cls(np.maximum(values[::-1], 0.0), vectors[:, ::-1])

    def leverage_scores(self, rank: int) -> FloatArray:
        """Return the rank-``k`` leverage scores ``(n,)``, paper 004, eq. B1."""
        scores: FloatArray = np.einsum("ij,ij->i", self.vectors[:, :rank], self.vectors[:, :rank])
        return scores

    def check_rank(self, rank: int) -> None:
        """Raise ``OptionError`` where fewer eigenvectors are known than needed."""
        if rank > len(self.values):
            raise OptionError(
                f"The spectrum that was given holds {len(self.values)} eigenvectors, but the "
                f"preconditioner needs {rank}. Compute more of them."
            )


def no_columns() -> IntArray:
    """Return the landmarks of a preconditioner that has none."""
    return np.zeros(0, dtype=np.int64)
