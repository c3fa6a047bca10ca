"""Atomic blocks: correlations of each atom with itself, paper 004, appendix B 1.

Of the Cartesian matrix ``U K Uᵀ`` only the entries between the same atom in two geometries are
kept. In the basis of internal motions that is ``Σ_a Π_a K Π_a + Λ``; ``Π_a = U_aᵀ U_a`` is the
block diagonal projection on the displacements of atom ``a``. Energies, where they are labels, keep
their correlations with each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.linalg

from kraft.core.errors import IllConditionedError, OptionError
from kraft.core.progress import Progress, silent
from kraft.core.typing import AnyArray, IntArray
from kraft.linalg.arrays import Array, host, native_like
from kraft.linalg.operators import SymmetricOperator
from kraft.solvers.preconditioners.base import Preconditioner
from kraft.solvers.preconditioners.dense_study import no_columns, study_matrix


@dataclass(frozen=True)
class AtomicBlocks:
    """Keeps what correlates the same atom in all geometries: for studies only."""

    name: ClassVar[str] = "atomic-blocks"

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
        """Build and factorize ``P``; see :class:`PreconditionerMethod`.

        Raises
        ------
        OptionError
            When the matrix is too large for a study, or knows no atoms.
        """
        del rank, rng, previous
        basis = getattr(operator, "cartesian_basis", None)
        if basis is None:
            raise OptionError(
                f"The preconditioner {self.name!r} needs labels that belong to atoms, which this "
                "matrix does not have. Choose another preconditioner."
            )
        matrix = atomic_blocks(study_matrix(operator, self.name), host(basis), progress)
        matrix[np.diag_indices_from(matrix)] += host(regularization)
        return AtomicBlocksPreconditioner(_factorize(matrix), operator.diagonal())


class AtomicBlocksPreconditioner:
    """A stored Cholesky factor of the atomic blocks."""

    name: ClassVar[str] = "atomic-blocks"
    rank: ClassVar[int] = 0
    description: ClassVar[str] = "correlations of each atom with itself"

    def __init__(self, factor: AnyArray, like: Array) -> None:
        self._factor = factor
        self._like = like[:1]

    @property
    def memory(self) -> int:
        """Bytes that it keeps."""
        return int(self._factor.nbytes)

    @property
    def landmarks(self) -> IntArray:
        """There are none."""
        return no_columns()

    def solve(self, vectors: Array) -> Array:
        """Return ``P⁻¹ v`` for ``(n,)`` or ``(n, m)``."""
        solution = scipy.linalg.cho_solve((self._factor, True), host(vectors), check_finite=False)
        return native_like(solution, self._like)


def atomic_blocks(matrix: AnyArray, basis: AnyArray, progress: Progress = silent) -> AnyArray:
    """Return ``Σ_a Π_a K Π_a``.

    Parameters
    ----------
    matrix
        ``(n, n)`` in the basis of internal motions, with or without energies.
    basis
        ``(M, N, 3, r)`` the internal motions ``U`` of every geometry.
    progress
        Told of the atoms done.
    """
    n_geometries, n_atoms, _, n_motions = basis.shape
    block = len(matrix) // n_geometries
    blocks = matrix.reshape(n_geometries, block, n_geometries, block)
    result = np.zeros_like(blocks)
    if block > n_motions:
        result[:, n_motions:, :, n_motions:] = blocks[:, n_motions:, :, n_motions:]
    for atom in range(n_atoms):
        progress("building the preconditioner", atom, n_atoms)
        own = basis[:, atom]  # (M, 3, r)
        left = np.einsum("mcr,mrns->mcns", own, blocks[:, :n_motions, :, :n_motions], optimize=True)
        kept = np.einsum("mcns,nds->mcnd", left, own, optimize=True)  # (M, 3, M, 3)
        right = np.einsum("mcnd,nds->mcns", kept, own, optimize=True)
        for index, motions in enumerate(own):
            result[index, :n_motions, :, :n_motions] += np.tensordot(
                motions.T, right[index], axes=1
            )
    return result.reshape(len(matrix), len(matrix))


def _factorize(matrix: AnyArray) -> AnyArray:
    largest = float(matrix.diagonal().max())
    for relative in (0.0, 1e-15, 1e-13, 1e-11):
        try:
            shifted = matrix + relative * largest * np.eye(len(matrix))
            factor: AnyArray = scipy.linalg.cholesky(shifted, lower=True, overwrite_a=True)
        except np.linalg.LinAlgError:
            continue
        return factor
    raise IllConditionedError(
        "The atomic blocks of the matrix are not positive definite; choose a larger regularization."
    )
