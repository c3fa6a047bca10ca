"""Potential energies along a trajectory: cumulative mean, stationarity, drift."""

from __future__ import annotations

from dataclasses import dataclass

import ase.units
import numpy as np
from numpy.typing import ArrayLike

from kraft.analysis.trajectories.blocking import blocked_mean
from kraft.analysis.trajectories.velocity_spectrum import without_rigid_motion
from kraft.core.errors import OptionError
from kraft.core.typing import FloatArray

_ABSENT = 1e-6


@dataclass(frozen=True, eq=False)
class Drift:
    """Linear drift of a series over time.

    Attributes
    ----------
    slope
        In the unit of the series per ps.
    standard_error
        Of the slope, with the correlation of the residuals.
    change
        Slope times duration.
    spread
        Standard deviation about the line.
    duration
        ps.
    """

    slope: float
    standard_error: float
    change: float
    spread: float
    duration: float


def drift(times: ArrayLike, values: ArrayLike) -> Drift:
    """Fit a line to values ``(T,)`` at times ``(T,)`` in fs.

    The standard error of the slope is that of independent residuals times the square root of their
    statistical inefficiency.

    Raises
    ------
    OptionError
        When there are fewer than three values or shapes differ.
    """
    t, y = np.asarray(times, np.float64) * 1e-3, np.asarray(values, np.float64)
    if t.shape != y.shape or t.ndim != 1 or len(t) < 3:
        raise OptionError(f"Expected at least 3 values and their times, got {y.shape}, {t.shape}.")
    t_centered, y_centered = t - t.mean(), y - y.mean()
    square = float(t_centered @ t_centered)
    if square == 0.0:
        raise OptionError("Expected different times, got one time for all values.")
    slope = float(t_centered @ y_centered) / square
    residuals = y_centered - slope * t_centered
    spread = float(np.sqrt(residuals @ residuals / max(1, len(t) - 2)))
    inefficiency = blocked_mean(residuals).inefficiency
    error = spread / np.sqrt(square) * np.sqrt(max(1.0, inefficiency))
    duration = float(t[-1] - t[0])
    return Drift(slope, float(error), slope * duration, spread, duration)


def kinetic_energies(velocities: FloatArray, masses: FloatArray) -> FloatArray:
    """Return kinetic energies ``(T,)`` in eV of velocities ``(T, N, 3)`` in Å/fs, masses in u."""
    squares = np.einsum("tnx,n,tnx->t", velocities, masses, velocities)
    energies: FloatArray = 0.5 * squares / ase.units.fs**2
    return energies


def degrees_of_freedom(velocities: FloatArray, positions: FloatArray, masses: FloatArray) -> int:
    """Return ``3N`` less the rigid motions that velocities ``(T, N, 3)`` do not have.

    A translation or rotation with less than a millionth of the kinetic energy counts as absent;
    that of a linear molecule about its axis is not subtracted.
    """
    total = float(kinetic_energies(velocities, masses).sum())
    free = 3 * len(masses)
    if total == 0.0:
        return free
    centered = velocities - np.einsum("n,tnx->tx", masses / masses.sum(), velocities)[:, None]
    inner = without_rigid_motion(velocities, positions, masses)
    for motion in (velocities - centered, centered - inner):
        if float(kinetic_energies(motion, masses).sum()) < _ABSENT * total:
            free -= 3
    return free
