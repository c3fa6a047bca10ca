"""Eigenvalues of the preconditioned matrix ``P⁻¹ K_λ`` (paper 004, figures 4 and 8; 000, figure 3).

With ``K_λ = C Cᵀ`` they are those of the symmetric ``Cᵀ P⁻¹ C``, for which nothing is asked of the
preconditioner but its inverse.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg

from kraft.analysis.preconditioner_study.lockstep import Inverse
from kraft.core.errors import SolverError
from kraft.core.typing import FloatArray, IntArray

ALL_UP_TO = 3000
"""Systems of up to this many rows get all their eigenvalues."""

_BLOCK_MARGIN = 50
_KRYLOV_BLOCKS = 6
_JITTERS = (0.0, 1e-16, 1e-15, 1e-14)


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigenvalues of ``P⁻¹ K_λ``.

    Attributes
    ----------
    indices, values
        ``(m,)`` which eigenvalues, counted from 1 for the largest, and the eigenvalues, falling.
    smallest
        The smallest; where not ``complete``, an upper bound to it.
    complete
        Whether all eigenvalues were computed.
    """

    indices: IntArray
    values: FloatArray
    smallest: float
    complete: bool

    @property
    def condition_number(self) -> float:
        """Ratio of the largest to the smallest eigenvalue."""
        return float(self.values[0]) / self.smallest

    def thinned(self, n_largest: int, n_others: int) -> Spectrum:
        """Return the spectrum with some of the eigenvalues after the largest ones left out."""
        others = np.linspace(n_largest, len(self.values) - 1, n_others).round().astype(np.int64)
        kept = np.arange(min(n_largest, len(self.values)))
        if len(self.values) > n_largest:
            kept = np.union1d(kept, others)
        return replace(self, indices=self.indices[kept], values=self.values[kept])


class Factor:
    """A factor ``C`` of ``K_λ = C Cᵀ``, from which the spectra of all preconditioners follow.

    Parameters
    ----------
    matrix
        ``(n, n)`` the matrix ``K``; not changed.
    regularization
        ``λ``.

    Raises
    ------
    SolverError
        When ``K_λ`` is not positive definite even with some jitter.
    """

    def __init__(self, matrix: FloatArray, regularization: float) -> None:
        largest = float(matrix.diagonal().max())
        for jitter in _JITTERS:
            shifted = np.array(matrix, order="F")
            shifted.flat[:: len(shifted) + 1] += regularization + jitter * largest
            try:
                self._lower: FloatArray = scipy.linalg.cholesky(
                    shifted, lower=True, overwrite_a=True, check_finite=False
                )
            except scipy.linalg.LinAlgError:
                continue
            return
        raise SolverError(
            f"The kernel matrix of {len(matrix)} rows is not positive definite. Expected distinct "
            "geometries: look for duplicate frames (`kraft info`) or regularize more."
        )

    def spectrum(
        self,
        preconditioner: Inverse,
        *,
        n_largest: int = 150,
        rng: np.random.Generator,
        all_up_to: int = ALL_UP_TO,
    ) -> Spectrum:
        """Return eigenvalues of ``P⁻¹ K_λ``: all of a small system, otherwise the largest.

        Parameters
        ----------
        preconditioner
            ``P``.
        n_largest
            How many of a large system.
        rng
            Of the directions that the search begins with.
        all_up_to
            Number of rows up to which all are computed.
        """
        size = len(self._lower)
        block = n_largest + _BLOCK_MARGIN
        if size <= max(all_up_to, 2 * block):
            inner = self._lower.T @ preconditioner.solve(np.ascontiguousarray(self._lower))
            values = scipy.linalg.eigvalsh(inner, overwrite_a=True)[::-1]
            return _spectrum(values, float(values[-1]), complete=True)
        start = rng.standard_normal((size, block))
        values = _ritz_values(lambda v: self._apply(preconditioner, v), start)
        return _spectrum(values[:n_largest], float(values[-1]), complete=False)

    def _apply(self, preconditioner: Inverse, vectors: FloatArray) -> FloatArray:
        upward = scipy.linalg.blas.dtrmm(1.0, self._lower, vectors, lower=1)
        solved = preconditioner.solve(np.ascontiguousarray(upward))
        product: FloatArray = scipy.linalg.blas.dtrmm(1.0, self._lower, solved, lower=1, trans_a=1)
        return product


def _spectrum(values: FloatArray, smallest: float, *, complete: bool) -> Spectrum:
    return Spectrum(np.arange(1, len(values) + 1), values.copy(), smallest, complete)


def _ritz_values(apply: Callable[[FloatArray], FloatArray], start: FloatArray) -> FloatArray:
    """Return the Ritz values of a block Krylov space, falling."""
    size, block = start.shape
    n_blocks = min(_KRYLOV_BLOCKS, size // block)
    basis = np.empty((size, n_blocks * block), order="F")
    images = np.empty_like(basis, order="F")
    new = start
    for number in range(n_blocks):
        known = basis[:, : number * block]
        for _ in range(2):  # once more, since rounding leaves something after the first time
            new = new - known @ (known.T @ new)
            new, _ = scipy.linalg.qr(new, mode="economic", overwrite_a=True, check_finite=False)
        part = slice(number * block, (number + 1) * block)
        basis[:, part] = new
        images[:, part] = new = apply(new)
    projected = basis.T @ images
    values: FloatArray = scipy.linalg.eigvalsh(0.5 * (projected + projected.T))[::-1]
    return values
