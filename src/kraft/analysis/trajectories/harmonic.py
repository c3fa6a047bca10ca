"""Harmonic vibrations of a model: frequencies from its analytic Hessian at a minimum."""

from __future__ import annotations

from dataclasses import dataclass

import ase.data
import ase.units
import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize

from kraft.analysis.trajectories.velocity_spectrum import LIGHT
from kraft.core.errors import SolverError
from kraft.core.typing import FloatArray
from kraft.models import ForceField

MAX_FORCE = 1e-4
"""eV/Å: a geometry is a minimum when no force component is larger."""


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
        Largest force component there, eV/Å.
    """

    wavenumbers: FloatArray
    modes: FloatArray
    positions: FloatArray
    max_force: float

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


def harmonic_spectrum(
    force_field: ForceField, positions: ArrayLike, *, relax: bool = True
) -> HarmonicSpectrum:
    """Return the normal modes of a model at the minimum near a geometry.

    Parameters
    ----------
    force_field
        A model with a Hessian.
    positions
        ``(N, 3)`` in Å in the model's order of atoms.
    relax
        Go to the minimum first; otherwise the geometry is taken as it is.

    Raises
    ------
    GeometryError
        When the geometry does not fit the model.
    OptionError
        When the model has no Hessian.
    SolverError
        When no minimum was reached.
    """
    start = np.asarray(positions, dtype=np.float64)
    hessian = force_field.hessian(start)  # first, since it tells what does not fit
    points = _minimum(force_field, start, hessian) if relax else start
    masses = ase.data.atomic_masses[force_field.atomic_numbers]
    periodic = force_field.parameters.cell is not None
    found = normal_modes(force_field.hessian(points), masses, points, periodic=periodic)
    force = float(np.abs(force_field.predict(points)[1]).max())
    return HarmonicSpectrum(*found, points, force)


def _minimum(force_field: ForceField, start: FloatArray, hessian: FloatArray) -> FloatArray:
    """Return the minimum near ``start``: BFGS from the inverse of the Hessian made positive."""
    shape = start.shape

    def value(flat: FloatArray) -> tuple[float, FloatArray]:
        energy, forces = force_field.predict(flat.reshape(shape))
        return float(energy), -np.asarray(forces).reshape(-1)

    values, vectors = np.linalg.eigh(hessian)
    inverse = (vectors / np.maximum(np.abs(values), 1.0)) @ vectors.T
    result = minimize(
        value,
        start.reshape(-1),
        jac=True,
        method="BFGS",
        options={
            "gtol": 0.1 * MAX_FORCE,
            "norm": np.inf,
            "maxiter": 50 * start.size,
            "hess_inv0": 0.5 * (inverse + inverse.T),
        },
    )
    points: FloatArray = result.x.reshape(shape)
    largest = float(np.abs(force_field.predict(points)[1]).max())
    if not largest <= MAX_FORCE:
        raise SolverError(
            f"No minimum of the model was found: forces up to {largest:.2g} eV/Å are left, "
            f"expected {MAX_FORCE:g}. Start from a geometry near a minimum, or take it as it is "
            "(--no-relax; Python: relax=False)."
        )
    return points


def _rigid_motions(points: FloatArray, masses: FloatArray, periodic: bool) -> FloatArray:
    """Return an orthonormal basis ``(3N, k)`` of mass-weighted rigid motions."""
    roots = np.sqrt(masses)[:, None]
    motions = [np.tile(axis, (len(points), 1)) * roots for axis in np.eye(3)]
    if not periodic:
        arms = points - masses @ points / masses.sum()
        motions += [np.cross(axis, arms) * roots for axis in np.eye(3)]
    stacked = np.stack([motion.reshape(-1) for motion in motions], axis=1)
    left, sizes, _ = np.linalg.svd(stacked, full_matrices=False)
    basis: FloatArray = left[:, sizes > 1e-6 * sizes[0]]
    return basis
