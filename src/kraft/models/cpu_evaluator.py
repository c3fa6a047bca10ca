"""Predictions on the CPU, through NumPy.

The kernel expansion is the very code that torch runs on a GPU; on a CPU, NumPy's calls cost less,
which decides for a single molecule, and its BLAS is the faster one for the narrow products of a
batch (`docs/benchmarks/prediction.md`). The two libraries bring thread pools of their own, which
disturb each other when they alternate, so the whole of a prediction stays on one side.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from kraft.core.typing import AnyArray, FloatArray
from kraft.kernels import SymmetricContraction
from kraft.models.parameters import Parameters

DENSE_INCIDENCE_ATOMS = 64
"""Atoms up to which a dense incidence matrix of the pairs beats a sparse one."""


class CpuEvaluator:
    """Energies and forces through NumPy, for a force field without a periodic cell.

    Parameters
    ----------
    parameters
        The force field.
    expansion
        Its kernel expansion, on the CPU.
    dtype
        Precision of the expansion.
    """

    def __init__(
        self, parameters: Parameters, expansion: SymmetricContraction, dtype: type[np.floating]
    ) -> None:
        descriptor = parameters.descriptor()
        self._function = descriptor.function
        self._first = descriptor.first_atoms.numpy()
        self._second = descriptor.second_atoms.numpy()
        self._gather = _incidence(self._first, self._second, parameters.n_atoms)
        self._spread = None
        if isinstance(self._gather, np.ndarray):
            self._spread = np.ascontiguousarray(-self._gather.T)
        self._map = parameters.feature_map
        self._scaled_center = self._map.center * self._map.scale
        self._offset = parameters.energy_offset
        self._expansion = expansion
        self._dtype = dtype

    def __call__(self, positions: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return energies ``(B,)`` in eV and forces ``(B, N, 3)`` in eV/Å at ``(B, N, 3)`` in Å.

        What is not finite in the results tells of atoms in one place or of positions not finite.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            separations = self._separations(positions)
            distances = np.sqrt(np.einsum("bdc,bdc->bd", separations, separations))
            features = self._function.value(distances)
            queries = self._map.mixed(features * self._map.scale - self._scaled_center)
            energies, gradients = self._expansion(queries.astype(self._dtype, copy=False))
            weights = self._map.pull(gradients)
            weights *= self._function.pull(distances, features)
            separations *= weights[:, :, None]
            forces = self._sum_pairs(separations)
        return energies.astype(np.float64) + self._offset, forces

    def _separations(self, positions: FloatArray) -> FloatArray:
        """Return the vectors ``(B, D, 3)`` from the second to the first atom of each pair."""
        if self._spread is not None:
            dense: FloatArray = self._spread @ positions
            return dense
        return positions.take(self._first, axis=1) - positions.take(self._second, axis=1)

    def _sum_pairs(self, contributions: FloatArray) -> FloatArray:
        """Return the sum on every atom, ``(B, N, 3)``, of ``(B, D, 3)`` from the pairs."""
        if isinstance(self._gather, np.ndarray):
            forces: FloatArray = self._gather @ contributions
            return forces
        n_geometries, n_pairs, _ = contributions.shape
        columns = contributions.transpose(1, 0, 2).reshape(n_pairs, -1)
        summed = (self._gather @ columns).reshape(-1, n_geometries, 3)
        return np.ascontiguousarray(summed.transpose(1, 0, 2))


def _incidence(first: AnyArray, second: AnyArray, n_atoms: int) -> FloatArray | csr_array:
    """Return the matrix ``(N, D)`` with -1 at the first and +1 at the second atom of each pair."""
    pairs = np.arange(len(first))
    entries = np.repeat([-1.0, 1.0], len(first))
    where = (np.concatenate([first, second]), np.concatenate([pairs, pairs]))
    sparse = csr_array((entries, where), shape=(n_atoms, len(first)))
    return sparse.toarray() if n_atoms <= DENSE_INCIDENCE_ATOMS else sparse
