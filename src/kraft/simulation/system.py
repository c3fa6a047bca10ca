"""The molecule that moves: masses, kinetic energies, velocities drawn at a temperature."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import ase.units
import numpy as np
from ase.data import atomic_masses
from numpy.typing import ArrayLike

from kraft.core.errors import GeometryError
from kraft.core.typing import FloatArray, IntArray
from kraft.simulation.noise import Noise

BOLTZMANN = float(ase.units.kB)
"""eV/K."""

_LINEAR = 1e-6


@dataclass(frozen=True, eq=False)
class System:
    """What does not change during a simulation.

    Attributes
    ----------
    atomic_numbers
        ``(N,)``.
    masses
        ``(N,)`` in u.
    degrees_of_freedom
        Motions that the temperature counts.
    cell
        ``(3, 3)`` in Å, rows are vectors, or None for a free molecule.
    turned
        Whether an external force turns the molecule, so that rotation is a motion as others are.
    """

    atomic_numbers: IntArray
    masses: FloatArray
    degrees_of_freedom: int
    cell: FloatArray | None = None
    turned: bool = False

    @classmethod
    def of(
        cls,
        atomic_numbers: ArrayLike,
        positions: FloatArray,
        *,
        keeps_momentum: bool,
        cell: FloatArray | None = None,
        turned: bool = False,
    ) -> System:
        """Return the system of atoms that start at ``(R, N, 3)`` in Å, with standard masses.

        Where the momentum is kept, and is zero, translation does not count as a motion, nor does
        rotation of a free molecule that is not turned from outside.
        """
        numbers = np.asarray(atomic_numbers, dtype=np.int64)
        masses = np.asarray(atomic_masses[numbers], dtype=np.float64)
        n_motions = 3 * len(numbers)
        if keeps_momentum:
            still = cell is None and not turned
            n_motions -= 3 + (_n_rotations(positions[0], masses) if still else 0)
        return cls(numbers, masses, max(1, n_motions), cell, turned)

    @property
    def n_atoms(self) -> int:
        """Number of atoms ``N``."""
        return len(self.masses)

    @cached_property
    def inertia(self) -> FloatArray:
        """``(N, 1)`` masses in eV fs²/Å², so that forces over them are accelerations in Å/fs²."""
        inertia: FloatArray = self.masses[:, None] / ase.units.fs**2
        return inertia

    def kinetic(self, velocities: FloatArray) -> FloatArray:
        """Return kinetic energies ``(R,)`` in eV of velocities ``(R, N, 3)`` in Å/fs."""
        energies: FloatArray = 0.5 * (self.inertia * velocities * velocities).sum(axis=(1, 2))
        return energies

    def temperatures(self, velocities: FloatArray) -> FloatArray:
        """Return temperatures ``(R,)`` in K of velocities ``(R, N, 3)`` in Å/fs."""
        return 2.0 * self.kinetic(velocities) / (self.degrees_of_freedom * BOLTZMANN)

    def draw_velocities(
        self,
        positions: FloatArray,
        temperature: float,
        noise: Noise,
        *,
        keeps_momentum: bool,
        exact: bool = False,
    ) -> FloatArray:
        """Draw velocities ``(R, N, 3)`` in Å/fs from the distribution at a temperature in K.

        Where the momentum is kept they have no net translation and, for a free molecule at
        ``positions`` (R, N, 3) in Å that is not turned from outside, no rotation. ``exact`` scales
        them so that the kinetic energy is that of the temperature, rather than on average only.
        """
        widths = np.sqrt(BOLTZMANN * temperature / self.inertia)
        velocities = widths * noise.normal(self.n_atoms, 3)
        if keeps_momentum:
            velocities = without_rigid_motion(
                positions, velocities, self.masses, free=self.cell is None and not self.turned
            )
        if exact and temperature > 0.0:
            factors = np.sqrt(temperature / self.temperatures(velocities))
            velocities = factors[:, None, None] * velocities
        return velocities


def without_rigid_motion(
    positions: FloatArray, velocities: FloatArray, masses: FloatArray, *, free: bool
) -> FloatArray:
    """Return velocities ``(R, N, 3)`` without net momentum and, when free, angular momentum.

    Parameters
    ----------
    positions, velocities
        ``(R, N, 3)``.
    masses
        ``(N,)``.
    free
        Whether the molecule may rotate: it has no periodic cell.
    """
    weights = masses[:, None]
    total = masses.sum()
    velocities = velocities - (weights * velocities).sum(axis=1, keepdims=True) / total
    if not free:
        return velocities
    arms = positions - (weights * positions).sum(axis=1, keepdims=True) / total
    angular_momenta = np.cross(arms, weights * velocities).sum(axis=1)
    # The pseudo-inverse leaves the axis of a linear molecule alone.
    inverse = np.linalg.pinv(_inertia_tensors(arms, masses), rcond=_LINEAR, hermitian=True)
    rotations = (inverse @ angular_momenta[:, :, None])[:, None, :, 0]
    still: FloatArray = velocities - np.cross(rotations, arms)
    return still


def require_finite(positions: FloatArray) -> None:
    """Raise GeometryError unless start positions are finite."""
    if not np.isfinite(positions).all():
        raise GeometryError("Expected finite start positions, got NaN or infinite ones.")


def _n_rotations(positions: FloatArray, masses: FloatArray) -> int:
    """Return how many rotations a molecule at ``(N, 3)`` has: 2 when it is linear."""
    arms = positions - masses @ positions / masses.sum()
    moments = np.linalg.eigvalsh(_inertia_tensors(arms[None], masses)[0])
    return int((moments > _LINEAR * moments.max()).sum())


def _inertia_tensors(arms: FloatArray, masses: FloatArray) -> FloatArray:
    """Return ``(R, 3, 3)`` tensors of arms ``(R, N, 3)`` from the center of mass."""
    weighted = masses[:, None] * arms
    squares = (weighted * arms).sum(axis=(1, 2))
    tensors: FloatArray = squares[:, None, None] * np.eye(3) - weighted.transpose(0, 2, 1) @ arms
    return tensors
