"""Where replicas are and how they move, at one time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from kraft.core.errors import GeometryError
from kraft.core.typing import FloatArray
from kraft.models import ForceField


class Forces(Protocol):
    """Energies and forces of many geometries at once."""

    def __call__(self, positions: FloatArray, /) -> tuple[FloatArray, FloatArray]:
        """Return energies ``(R,)`` in eV and forces ``(R, N, 3)`` in eV/Å at ``(R, N, 3)`` in Å.

        Where they cannot be had they are NaN.
        """
        ...


@dataclass(frozen=True, eq=False)
class Motion:
    """Replicas at one time.

    Attributes
    ----------
    positions
        ``(R, N, 3)`` in Å.
    velocities
        ``(R, N, 3)`` in Å/fs.
    forces
        ``(R, N, 3)`` in eV/Å.
    potential
        ``(R,)`` in eV, that of an external force included.
    heat
        ``(R,)`` in eV that the thermostat has put in; the total energy less this is conserved.
    thermostat
        ``(R, K)`` variables of the thermostat, where it has any.
    """

    positions: FloatArray
    velocities: FloatArray
    forces: FloatArray
    potential: FloatArray
    heat: FloatArray
    thermostat: FloatArray

    def __len__(self) -> int:
        return len(self.positions)

    def rows(self, kept: Sequence[int]) -> Motion:
        """Return some of the replicas."""
        rows = list(kept)
        return Motion(
            self.positions[rows],
            self.velocities[rows],
            self.forces[rows],
            self.potential[rows],
            self.heat[rows],
            self.thermostat[rows],
        )


class ModelForces:
    """Forces of a force field; NaN for geometries that it refuses.

    Parameters
    ----------
    force_field
        The model.
    """

    def __init__(self, force_field: ForceField) -> None:
        self._predict = force_field.predict

    def __call__(self, positions: FloatArray, /) -> tuple[FloatArray, FloatArray]:
        """Return energies ``(R,)`` in eV and forces ``(R, N, 3)`` in eV/Å at ``(R, N, 3)`` in Å."""
        try:
            return self._predict(positions)
        except GeometryError:
            energies = np.full(len(positions), np.nan)
            forces = np.full(positions.shape, np.nan)
            for row, geometry in enumerate(positions):
                try:
                    energies[row], forces[row] = self._predict(geometry)
                except GeometryError:
                    continue  # not finite or atoms in one place: stays NaN, which guards report
            return energies, forces
