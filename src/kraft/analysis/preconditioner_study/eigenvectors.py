"""The leading eigenvectors of a stored matrix, for the bound that other preconditioners have."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from kraft.linalg.dense_operator import DenseOperator
from kraft.solvers.preconditioners.dense_study import Spectrum

EXACT_UP_TO = 4000
"""Rows up to which the matrix is diagonalized; larger ones are iterated on."""

_MORE_VECTORS = 100
_PASSES = 3


def leading_eigenvectors(
    operator: DenseOperator, rank: int, rng: np.random.Generator, *, exact_up_to: int = EXACT_UP_TO
) -> Spectrum:
    """Return the leading eigenvectors of a symmetric positive semi-definite matrix.

    Those of large matrices come from a subspace iteration (Halko, Martinsson and Tropp 2011): the
    last few mix with their neighbors, whose eigenvalues are nearly the same, so that as a
    preconditioner they are as good.

    Parameters
    ----------
    operator
        The stored matrix.
    rank
        How many.
    rng
        Of the directions that the iteration begins with.
    exact_up_to
        Number of rows up to which the matrix is diagonalized.
    """
    width = rank + _MORE_VECTORS
    if operator.size <= exact_up_to or width >= operator.size:
        return Spectrum.of(operator, rank)
    product = operator.product()
    basis = rng.standard_normal((operator.size, width))
    for _ in range(_PASSES):
        basis, _ = scipy.linalg.qr(
            product(basis), mode="economic", overwrite_a=True, check_finite=False
        )
    inner = basis.T @ product(basis)
    values, turn = scipy.linalg.eigh(0.5 * (inner + inner.T), check_finite=False)
    leading = slice(None, -rank - 1, -1)
    return Spectrum(np.maximum(values[leading], 0.0), basis @ turn[:, leading])
