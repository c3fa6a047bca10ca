"""The leading eigenvectors of a stored matrix, for the bound that other preconditioners have."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from kraft.linalg.dense_operator import DenseOperator
from kraft.solvers.preconditioners.dense_study import Spectrum

EXACT_UP_TO = 20_000
"""Rows up to which the matrix is diagonalized (15 000 take some minutes); larger ones are iterated
on."""

_MORE_VECTORS = 0.2
"""Vectors beyond those wanted, as a share of them."""

_MOST_PASSES, _CONVERGED = 30, 0.01
"""The iteration ends when no leading eigenvalue grows by more than this share, or unfinished: a few
passes do not suffice, for the spectrum is nearly flat where it is cut (three gave *more* iterations
with more vectors)."""


def leading_eigenvectors(
    operator: DenseOperator, rank: int, rng: np.random.Generator, *, exact_up_to: int = EXACT_UP_TO
) -> Spectrum:
    """Return the leading eigenvectors of a symmetric positive semi-definite matrix.

    Those of large matrices come from a subspace iteration (Halko, Martinsson and Tropp 2011) until
    the eigenvalues are known to a per cent.

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
    width = rank + max(20, round(_MORE_VECTORS * rank))
    if operator.size <= exact_up_to or width >= operator.size:
        return Spectrum.of(operator, rank)
    product = operator.product()
    images = rng.standard_normal((operator.size, width))
    before = np.zeros(rank)
    leading = slice(None, -rank - 1, -1)
    for _ in range(_MOST_PASSES):
        basis, _ = scipy.linalg.qr(images, mode="economic", overwrite_a=True, check_finite=False)
        images = product(basis)
        inner = basis.T @ images
        values, turn = scipy.linalg.eigh(0.5 * (inner + inner.T), check_finite=False)
        found = np.maximum(values[leading], 0.0)
        if (found - before <= _CONVERGED * found).all():
            break
        before = found
    return Spectrum(found, basis @ turn[:, leading])
