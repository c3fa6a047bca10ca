"""One small geometry at a time, at the lowest cost a call: for molecular dynamics.

For a single molecule of a few dozen atoms, the time of an evaluation goes into the calls rather
than into arithmetic, and NumPy's calls cost a fraction of torch's. The kernel expansion is the same
object as for batches; distances and forces are two products with the incidence matrix of the pairs.
"""

from __future__ import annotations

import numpy as np

from kraft.core.typing import FloatArray
from kraft.descriptors import InverseDistances
from kraft.kernels import SymmetricContraction
from kraft.models.parameters import Parameters

MAX_ATOMS = 64
MAX_KERNEL_ENTRIES = 30_000
"""Atoms, and permutations times training geometries, up to which this is the faster way."""


class SingleGeometry:
    """Energy and forces of one geometry through NumPy.

    Parameters
    ----------
    parameters
        The force field; without a periodic cell.
    expansion
        Its kernel expansion, on the CPU.
    dtype
        Precision of the expansion.
    """

    def __init__(
        self, parameters: Parameters, expansion: SymmetricContraction, dtype: type[np.floating]
    ) -> None:
        descriptor = InverseDistances(parameters.n_atoms)
        pairs = np.arange(descriptor.n_features)
        incidence = np.zeros((descriptor.n_features, parameters.n_atoms))
        incidence[pairs, descriptor.first_atoms.numpy()] = 1.0
        incidence[pairs, descriptor.second_atoms.numpy()] = -1.0
        self._incidence, self._incidence_t = incidence, incidence.T.copy()
        self._scale = parameters.feature_scale
        self._scaled_center = parameters.feature_center * parameters.feature_scale
        self._offset = parameters.energy_offset
        self._expansion = expansion
        self._dtype = dtype

    @staticmethod
    def serves(parameters: Parameters) -> bool:
        """Return whether this is the way to evaluate single geometries of a force field."""
        entries = parameters.n_permutations * parameters.n_train
        small = parameters.n_atoms <= MAX_ATOMS and entries <= MAX_KERNEL_ENTRIES
        return small and parameters.cell is None

    def __call__(self, positions: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the energy ``(1,)`` in eV and forces ``(N, 3)`` in eV/Å at ``(N, 3)`` in Å."""
        separations = self._incidence @ positions
        with np.errstate(
            divide="ignore", invalid="ignore"
        ):  # the caller explains what is not finite
            inverse = (separations * separations).sum(axis=1) ** -0.5
            queries = (inverse * self._scale - self._scaled_center)[None]
            energies, gradients = self._expansion(queries.astype(self._dtype, copy=False))
            weights = gradients[0] * self._scale
            weights *= inverse * inverse * inverse
            separations *= weights[:, None]
            forces = self._incidence_t @ separations
        return energies.astype(np.float64) + self._offset, np.negative(forces, out=forces)
