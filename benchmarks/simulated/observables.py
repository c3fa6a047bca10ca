"""What is kept of trajectories: shares, distributions, spectra, as numbers and small arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from reporting import Figures

from kraft.analysis.trajectories import (
    Basins,
    BlockedMean,
    Frames,
    SpectrumSum,
    VelocitySpectrum,
    angle_histogram,
    dihedral_angles,
    pooled_mean,
    without_rigid_motion,
)

Array = NDArray[np.float64]
Arrays = dict[str, Array]

ENOUGH_RUNS = 8
"""From so many runs on their means tell the error better than blocking within them."""

UPPER = 4200.0
"""1/cm: spectra are kept up to here."""


def dihedrals(frames: Sequence[Frames], atoms: Sequence[int]) -> list[Array]:
    """Return an angle ``(T,)`` in degrees along each trajectory."""
    return [dihedral_angles(each.positions, atoms) for each in frames]


def mean(found: BlockedMean) -> Figures:
    """Return a mean as it is kept."""
    return {
        "mean": found.mean,
        "error": found.standard_error,
        "n": found.n,
        "converged": found.converged,
    }


def over_runs(series: Sequence[Array]) -> Figures:
    """Return the mean of independent runs ``(T,)`` each and its standard error.

    The error is that of the runs' means where there are enough of them, by blocking otherwise.
    """
    if len(series) < ENOUGH_RUNS:
        return mean(pooled_mean(series))
    means = np.array([float(np.mean(each)) for each in series])
    lengths = np.array([len(each) for each in series], dtype=np.float64)
    average = float(means @ lengths / lengths.sum())
    error = float(np.sqrt((lengths**2 @ (means - average) ** 2) * len(means) / (len(means) - 1)))
    return {
        "mean": average,
        "error": error / float(lengths.sum()),
        "n": int(lengths.sum()),
        "converged": True,
    }


def histogram(*series: Sequence[Array], folds: Sequence[int] = (), n_bins: int = 72) -> Array:
    """Return the density of one angle, or joint density of two, of all trajectories."""
    pooled = [np.concatenate(list(each)) for each in series]
    return angle_histogram(*pooled, n_bins=n_bins, folds=folds).density


def share_of_runs(
    basins: Basins, wanted: Sequence[int], runs: Sequence[Sequence[Array]]
) -> Figures:
    """Return the occupation of some basins by independent runs, each the mean of its beads.

    ``runs`` has for each run the angle ``(T,)`` of every bead; a classical run has one.
    """
    visited = [
        np.mean([np.isin(basins.assign(angles), wanted) for angles in beads], axis=0)
        for beads in runs
    ]
    return over_runs(visited)


def mean_density(runs: Sequence[Sequence[Array]], *, fold: int = 1) -> tuple[Array, Array]:
    """Return the density per degree of an angle and its standard errors, by bin.

    As :func:`share_of_runs`, for every bin.
    """
    pooled = angle_histogram(np.concatenate([a for beads in runs for a in beads]), folds=(fold,))
    edges, period = pooled.edges[0], pooled.periods[0]
    width = edges[1] - edges[0]
    errors = np.zeros(len(pooled.density))
    places = [
        [np.digitize(np.mod(a + period / 2, period) - period / 2, edges[1:-1]) for a in beads]
        for beads in runs
    ]
    for place in np.flatnonzero(pooled.density > 0.0):
        series = [np.mean([p == place for p in beads], axis=0) for beads in places]
        errors[place] = over_runs(series)["error"] / width
    return pooled.density, errors


def spectrum(frames: Sequence[Frames], resolution: float, *, atoms: Array | None = None) -> Figures:
    """Return the mass-weighted spectrum of trajectories without translation and rotation.

    Velocities are those of the file or, for centroids, differences of positions. ``atoms`` are the
    numbers of those that count.
    """
    first = frames[0]
    moving = first.velocities is not None
    chosen = np.arange(len(first.masses)) if atoms is None else np.asarray(atoms)
    total = SpectrumSum(
        first.interval, first.masses[chosen], resolution=resolution, differences=not moving
    )
    for each in frames:
        if moving and each.velocities is not None:
            velocities, positions = each.velocities, each.positions
        else:
            steps = np.diff(each.positions, axis=0)
            velocities, positions = steps / each.interval, each.positions[:-1] + 0.5 * steps
        total.add(without_rigid_motion(velocities, positions, each.masses)[:, chosen])
        total.end_series()
    return _kept(total.spectrum())


def _kept(found: VelocitySpectrum) -> Figures:
    inside = found.wavenumbers <= UPPER
    return {
        "wavenumbers": found.wavenumbers[inside],
        "intensities": found.intensities[inside],
        "resolution": found.resolution,
        "n_segments": found.n_segments,
        "peaks": [float(peak) for peak in found.peaks(0.02) if peak < UPPER],
    }


def peak_near(found: Figures, low: float, high: float) -> tuple[float, float] | None:
    """Return the highest point of a spectrum between two wavenumbers, and the mean of that part."""
    x, y = np.asarray(found["wavenumbers"]), np.asarray(found["intensities"])
    inside = (x >= low) & (x <= high)
    if not inside.any():
        return None
    x, y = x[inside], y[inside]
    return float(x[y.argmax()]), float(x @ y / y.sum())


def split_spectrum(found: Figures, name: str) -> tuple[Figures, Arrays]:
    """Return the numbers of a spectrum, and its curve under names that begin with ``name``."""
    arrays = {
        f"{name}_wavenumbers": np.asarray(found["wavenumbers"]),
        f"{name}_intensities": np.asarray(found["intensities"]),
    }
    return {key: found[key] for key in ("resolution", "n_segments", "peaks")}, arrays
