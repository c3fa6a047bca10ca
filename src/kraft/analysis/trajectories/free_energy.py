"""Free energy along a dihedral angle, from how often each angle is visited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import ase.units
import numpy as np
from numpy.typing import ArrayLike

from kraft.analysis.trajectories.blocking import pooled_mean
from kraft.analysis.trajectories.dihedrals import N_BINS, angle_histogram, folded
from kraft.core.errors import OptionError
from kraft.core.typing import FloatArray


@dataclass(frozen=True, eq=False)
class FreeEnergyProfile:
    """``F = -kT ln p`` along an angle.

    Attributes
    ----------
    centers
        ``(n,)`` middles of the bins in degrees.
    free_energies
        ``(n,)`` eV, zero at the lowest bin; infinite in bins that were never visited.
    standard_errors
        ``(n,)`` eV, ``kT`` times the relative error of the probability; NaN where never visited.
    density
        ``(n,)`` probability per degree.
    temperature
        K.
    converged
        Whether the errors of all bins with one percent of the frames or more are to be trusted.
    """

    centers: FloatArray
    free_energies: FloatArray
    standard_errors: FloatArray
    density: FloatArray
    temperature: float
    converged: bool


def free_energy_profile(
    angles: Sequence[ArrayLike],
    temperature: float,
    *,
    n_bins: int = N_BINS,
    fold: int = 1,
    independent: bool = True,
) -> FreeEnergyProfile:
    """Return the free energy along an angle.

    Parameters
    ----------
    angles
        Series ``(T,)`` in degrees, one for each simulation or bead. Of beads, it is the free energy
        whose Boltzmann factor is the quantum distribution of the angle.
    temperature
        K, that of the simulation.
    n_bins, fold
        As :func:`angle_histogram`.
    independent
        As :func:`kraft.analysis.trajectories.blocking.pooled_mean`.

    Raises
    ------
    OptionError
        When the temperature is not positive, or there are no angles.
    """
    if not temperature > 0.0:
        raise OptionError(f"Expected a positive temperature in K, got {temperature}.")
    series = [np.asarray(each, dtype=np.float64) for each in angles]
    if not series:
        raise OptionError("Expected at least one series of angles.")
    histogram = angle_histogram(np.concatenate(series), n_bins=n_bins, folds=(fold,))
    shares, edges = histogram.probabilities, histogram.edges[0]
    bins = [np.digitize(folded(each, histogram.periods[0]), edges[1:-1]) for each in series]
    thermal = ase.units.kB * temperature
    errors, converged = np.full(len(shares), np.nan), True
    for place in np.flatnonzero(shares > 0.0):
        share = pooled_mean([each == place for each in bins], independent=independent)
        errors[place] = thermal * share.standard_error / share.mean
        converged &= share.converged or share.mean < 0.01
    with np.errstate(divide="ignore"):
        energies = -thermal * np.log(shares)
    return FreeEnergyProfile(
        histogram.centers[0],
        energies - energies.min(),
        errors,
        histogram.density,
        temperature,
        converged,
    )
