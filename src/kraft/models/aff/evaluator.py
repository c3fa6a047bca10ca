"""Predictions of an atomized force field: forces set by set, then energies."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from kraft.core.errors import SolverError
from kraft.core.typing import FloatArray
from kraft.descriptors import InverseDistances
from kraft.kernels.atom_expansion import AtomExpansion
from kraft.kernels.atom_geometries import AtomGeometries, Distances, radial_factors
from kraft.linalg.arrays import Array, tensor
from kraft.models.aff.energies import ConditionalEnergies, EnergyProcess
from kraft.models.aff.parameters import AtomizedParameters
from kraft.models.evaluator import EnergiesForces

CHUNK_ELEMENTS = 4_000_000
"""Entries of the covariances of the queries' forces with the training energies held at once."""


class AtomizedEvaluator:
    """An atomized force field ready to be evaluated.

    Energies are conditioned on the training energies and on the predicted forces (paper 001, eqs.
    11 to 13); without training energies they are zero, for nothing is known of them.

    Parameters
    ----------
    parameters
        The force field.
    device
        Where to compute.
    dtype
        ``torch.float64`` or ``torch.float32``; that of the force expansion. Energies are always
        computed in float64.
    """

    def __init__(
        self, parameters: AtomizedParameters, device: torch.device | str, dtype: torch.dtype
    ) -> None:
        self.parameters = parameters
        self.device, self.dtype = torch.device(device), dtype
        cell = None if parameters.cell is None else self._tensor(parameters.cell)
        self.descriptor = InverseDistances(parameters.n_atoms, cell=cell, device=self.device)
        self.weights = self._tensor(parameters.feature_weights)
        self.center = self._tensor(parameters.feature_center)
        self.training = self.geometries(self._tensor(parameters.training_positions))
        self._expansion = AtomExpansion(
            self.training,
            parameters.atom_sets,
            self._tensor(parameters.coefficients),
            dtype,
        )
        self.energy_process = self._fit_energies()

    def _fit_energies(self) -> EnergyProcess | None:
        p = self.parameters
        if p.training_energies is None:
            return None
        process = EnergyProcess.fit(
            p.radial_kernel,
            p.energy_length_scale,
            p.energy_regularization,
            self.training,
            self._tensor(p.training_energies),
            p.energy_offset,
        )
        if process is None:
            raise SolverError(
                "The covariance of the training energies is not positive definite: expected a "
                f"larger nugget than {p.energy_regularization:.1e}. The model is damaged."
            )
        return process

    def _tensor(self, array: FloatArray) -> Tensor:
        return torch.tensor(array, dtype=torch.float64, device=self.device)

    def geometries(self, positions: Tensor) -> AtomGeometries:
        """Return the features of positions ``(B, N, 3)`` in Å, by atoms."""
        return AtomGeometries.of(
            self.descriptor, positions, self.weights, self.center, self.parameters.permutations
        )

    def __call__(self, positions: Tensor) -> EnergiesForces:
        """Return energies and forces of positions ``(B, N, 3)`` in Å."""
        parts = [self._evaluate(part) for part in torch.split(positions, self.chunk)]
        if len(parts) == 1:
            return parts[0]
        return EnergiesForces(
            torch.cat([part.energies for part in parts]), torch.cat([part.forces for part in parts])
        )

    @property
    def chunk(self) -> int:
        """Geometries that are evaluated at once."""
        p = self.parameters
        return max(1, CHUNK_ELEMENTS // (p.n_train * max(3 * p.n_atoms + 1, p.n_permutations)))

    def _evaluate(self, positions: Tensor) -> EnergiesForces:
        query = self.query(positions)
        energies = torch.zeros(len(positions), dtype=torch.float64, device=self.device)
        if self.energy_process is not None:
            energies = self.conditional_energies(query).energies
        return EnergiesForces(energies, query.forces)

    def forces(self, positions: Tensor) -> Tensor:
        """Return only the forces ``(B, N, 3)`` in eV/Å: a fraction of the work of both."""
        return torch.cat([self.query(part).forces for part in torch.split(positions, self.chunk)])

    def query(self, positions: Tensor) -> Query:
        """Return features, distances and predicted forces of (few) positions ``(B, N, 3)``."""
        geometries = self.geometries(positions)
        squared = Distances(geometries, self.training).tile()
        p = self.parameters
        factors = radial_factors(p.radial_kernel, p.length_scale, squared)
        forces = tensor(self._expansion(geometries, factors)).to(torch.float64)
        return Query(geometries, squared, forces)

    def conditional_energies(self, query: Query) -> ConditionalEnergies:
        """Return the energies given the training energies and the predicted forces."""
        if self.energy_process is None:
            raise AssertionError("this model has no training energies")
        return self.energy_process.conditional(query.geometries, query.squared, query.forces)


class Query(NamedTuple):
    """Queries as the model sees them, and their predicted forces.

    Attributes
    ----------
    geometries
        Features by atoms.
    squared
        ``(S, B, M)`` unscaled squared distances to the permuted training geometries.
    forces
        ``(B, N, 3)`` predicted forces in eV/Å.
    """

    geometries: AtomGeometries
    squared: Array
    forces: Tensor
