"""Harmonic vibrations of a model, from its analytic Hessian at a stationary geometry."""

from __future__ import annotations

from dataclasses import dataclass

import ase.data
import ase.units
import numpy as np
from numpy.typing import ArrayLike

from kraft.analysis.trajectories.velocity_spectrum import LIGHT
from kraft.core.errors import OptionError
from kraft.core.typing import FloatArray
from kraft.models import ForceField

_LINEAR = 1e-3
"""Rigid motions smaller than this part of the largest are none: rotations about a linear molecule's
axis. A molecule is linear when its atoms are within about a thousandth of its length of a line."""


@dataclass(frozen=True, eq=False)
class HarmonicSpectrum:
    """Normal modes of a molecule at a stationary geometry.

    Attributes
    ----------
    wavenumbers
        ``(r,)`` in 1/cm, rising; imaginary ones are negative. Rigid motions are left out.
    modes
        ``(r, N, 3)`` orthonormal mass-weighted displacements.
    positions
        ``(N, 3)`` in Å where they were calculated.
    max_force
        Largest force on an atom there, eV/Å.
    masses
        ``(N,)`` in u.
    """

    wavenumbers: FloatArray
    modes: FloatArray
    positions: FloatArray
    max_force: float
    masses: FloatArray

    @property
    def n_imaginary(self) -> int:
        """Imaginary modes: 0 at a minimum, 1 at a transition state."""
        return int((self.wavenumbers < 0.0).sum())

    @property
    def zero_point_energy(self) -> float:
        """Half a quantum of every real mode, in eV."""
        real = self.wavenumbers[self.wavenumbers > 0.0]
        return 0.5 * float(real.sum()) * ase.units.invcm

    @property
    def displacements(self) -> FloatArray:
        """``(r, N, 3)`` Cartesian displacements of the modes, of length one each."""
        moved = self.modes / np.sqrt(self.masses)[:, None]
        sizes = np.sqrt(np.square(moved).sum(axis=(1, 2), keepdims=True))
        shown: FloatArray = moved / sizes
        return shown

    @property
    def reduced_masses(self) -> FloatArray:
        """``(r,)`` in u: mass with which a mode of Cartesian length one moves."""
        reduced: FloatArray = 1.0 / (np.square(self.modes).sum(axis=2) / self.masses).sum(axis=1)
        return reduced

    def weights(self, atoms: ArrayLike | None = None) -> FloatArray:
        """Return the share ``(r,)`` of some atoms in the kinetic energy of each mode."""
        chosen = slice(None) if atoms is None else np.asarray(atoms)
        shares: FloatArray = np.square(self.modes[:, chosen]).sum(axis=(1, 2))
        return shares

    def broadened(
        self, wavenumbers: FloatArray, width: float, atoms: ArrayLike | None = None
    ) -> FloatArray:
        """Return a spectrum ``(K,)`` of Gaussians of full width ``width``, with area one.

        Every mode has the same energy, as classically in equilibrium; imaginary ones are left out.
        """
        sigma = width / np.sqrt(8.0 * np.log(2.0))
        real = self.wavenumbers > 0.0
        shares = self.weights(atoms)[real]
        gaps = (wavenumbers[:, None] - self.wavenumbers[real]) / sigma
        lines = np.exp(-0.5 * gaps * gaps) / (sigma * np.sqrt(2.0 * np.pi))
        curve: FloatArray = lines @ shares / shares.sum()
        return curve


def normal_modes(
    hessian: ArrayLike, masses: ArrayLike, positions: ArrayLike, *, periodic: bool = False
) -> tuple[FloatArray, FloatArray]:
    """Return wavenumbers ``(r,)`` and mass-weighted modes ``(r, N, 3)`` of a Hessian.

    Translations and, unless periodic, rotations about the axes of ``positions (N, 3)`` in Å are
    projected out. The Hessian ``(3N, 3N)`` is in eV/Å², masses ``(N,)`` in u.
    """
    points, weights = np.asarray(positions, np.float64), np.asarray(masses, np.float64)
    roots = np.repeat(np.sqrt(weights), 3)
    matrix = np.asarray(hessian, np.float64) / np.outer(roots, roots)
    rigid = _rigid_motions(points, weights, periodic)
    inner = np.linalg.svd(rigid, full_matrices=True)[0][:, rigid.shape[1] :]
    values, vectors = np.linalg.eigh(inner.T @ (0.5 * (matrix + matrix.T)) @ inner)
    rates = np.sign(values) * np.sqrt(np.abs(values)) * ase.units.fs  # rad/fs
    return rates / (2.0 * np.pi * LIGHT), (inner @ vectors).T.reshape(-1, len(points), 3)


def vibrations(
    force_field: ForceField, positions: ArrayLike, *, masses: ArrayLike | None = None
) -> HarmonicSpectrum:
    """Return the normal modes of a model at a geometry, which is taken as it is.

    They mean vibrations at a stationary geometry only: :func:`kraft.interfaces.surface.relax` it
    first, and look at ``max_force``.

    Parameters
    ----------
    force_field
        A model with a Hessian.
    positions
        ``(N, 3)`` in Å in the model's order of atoms.
    masses
        ``(N,)`` in u; standard atomic weights by default.

    Raises
    ------
    GeometryError
        When the geometry does not fit the model.
    OptionError
        When the model has no Hessian, or masses are not positive or of another number.
    """
    points = np.asarray(positions, dtype=np.float64)
    hessian = force_field.hessian(points)  # first, since it tells what does not fit
    given = ase.data.atomic_masses[force_field.atomic_numbers] if masses is None else masses
    weights = np.array(given, dtype=np.float64)
    if weights.shape != (len(points),) or not (np.isfinite(weights) & (weights > 0.0)).all():
        raise OptionError(f"Expected {len(points)} positive masses, got {weights.tolist()}.")
    periodic = force_field.parameters.cell is not None
    found = normal_modes(hessian, weights, points, periodic=periodic)
    force = float(np.linalg.norm(force_field.predict(points)[1], axis=1).max())
    return HarmonicSpectrum(*found, points, force, weights)


def _rigid_motions(points: FloatArray, masses: FloatArray, periodic: bool) -> FloatArray:
    """Return an orthonormal basis ``(3N, k)`` of mass-weighted rigid motions."""
    roots = np.sqrt(masses)[:, None]
    motions = [np.tile(axis, (len(points), 1)) * roots for axis in np.eye(3)]
    if not periodic:
        arms = points - masses @ points / masses.sum()
        motions += [np.cross(axis, arms) * roots for axis in np.eye(3)]
    stacked = np.stack([motion.reshape(-1) for motion in motions], axis=1)
    left, sizes, _ = np.linalg.svd(stacked, full_matrices=False)
    basis: FloatArray = left[:, sizes > _LINEAR * sizes[0]]
    return basis
