"""How often each minimum is occupied: basins of a histogram of one or two dihedral angles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import gaussian_filter

from kraft.analysis.trajectories.blocking import BlockedMean, pooled_mean
from kraft.analysis.trajectories.dihedrals import N_BINS, AngleHistogram, angle_histogram, folded
from kraft.core.errors import OptionError
from kraft.core.typing import FloatArray, IntArray

SMOOTHING = 8.0
"""Standard deviation in degrees of the smoothing before maxima are looked for."""

MIN_DEPTH = 0.3
"""Maxima that are not separated by this much, in kT, are one."""

MIN_SHARE = 0.01
"""Basins with a smaller share of the frames join the nearest."""


@dataclass(frozen=True, eq=False)
class Basins:
    """Regions around the maxima of a distribution of angles.

    Attributes
    ----------
    centers
        ``(K, d)`` angles of the maxima in degrees, or those given.
    labels
        ``(n,)`` or ``(n, n')``: the basin of each bin of the histogram.
    histogram
        What they were found in.
    """

    centers: FloatArray
    labels: IntArray
    histogram: AngleHistogram

    def assign(self, *angles: ArrayLike) -> IntArray:
        """Return the basin ``(T,)`` of each frame; angles ``(T,)`` in degrees."""
        places = []
        for series, edges, period in zip(
            angles, self.histogram.edges, self.histogram.periods, strict=True
        ):
            places.append(np.digitize(folded(series, period), edges[1:-1]))
        basins: IntArray = self.labels[tuple(places)]
        return basins


@dataclass(frozen=True, eq=False)
class Occupations:
    """How often each basin is occupied.

    Attributes
    ----------
    basins
        The basins, the most occupied first.
    shares
        One for each: mean occupation with its standard error.
    n_transitions
        Changes of basin between neighboring frames, in all series.
    """

    basins: Basins
    shares: tuple[BlockedMean, ...]
    n_transitions: int


def find_basins(
    histogram: AngleHistogram,
    *,
    centers: ArrayLike | None = None,
    min_depth: float = MIN_DEPTH,
    min_share: float = MIN_SHARE,
) -> Basins:
    """Divide a turn (or two) into basins.

    The density is smoothed; every bin climbs to the maximum that steepest ascent leads to; maxima
    between which the density falls by less than ``exp(-min_depth)`` of the lower one are merged.
    With ``centers`` every bin belongs to the nearest of them instead.

    Parameters
    ----------
    histogram
        Of one or two angles.
    centers
        ``(K, d)`` degrees (``(K,)`` for one angle).
    min_depth, min_share
        When two maxima are one, and when one is too small to count.

    Raises
    ------
    OptionError
        When centers do not fit the number of angles.
    """
    if centers is not None:
        given = np.asarray(centers, dtype=np.float64).reshape(len(np.atleast_1d(centers)), -1)
        if given.shape[1] != len(histogram.edges) or len(given) == 0:
            raise OptionError(
                f"Expected centers of {len(histogram.edges)} angles each, got shape {given.shape}."
            )
        return Basins(given, _nearest(histogram, given), histogram)
    widths = [SMOOTHING / (edges[1] - edges[0]) for edges in histogram.edges]
    density = gaussian_filter(histogram.probabilities, widths, mode="wrap")
    labels, peaks = _climb(density)
    labels, peaks = _merge(density, labels, peaks, min_depth)
    shares = np.array([histogram.probabilities[labels == k].sum() for k in range(len(peaks))])
    kept = [k for k in np.argsort(-shares, kind="stable") if shares[k] >= min_share] or [0]
    tops = np.stack([middle[peaks[kept, axis]] for axis, middle in enumerate(histogram.centers)], 1)
    nearest = _nearest(histogram, tops)
    number = np.full(len(peaks), -1)
    number[kept] = np.arange(len(kept))
    final = np.where(number[labels] >= 0, number[labels], nearest)
    return Basins(tops, final, histogram)


def occupations(
    angles: Sequence[Sequence[ArrayLike]],
    *,
    n_bins: int = N_BINS,
    folds: Sequence[int] = (),
    centers: ArrayLike | None = None,
    independent: bool = True,
) -> Occupations:
    """Return the occupations of the minima of one or two dihedral angles.

    Parameters
    ----------
    angles
        For each simulation (or bead) one or two series ``(T,)`` in degrees.
    n_bins, folds
        As :func:`angle_histogram`.
    centers
        As :func:`find_basins`; by default basins are found.
    independent
        As :func:`kraft.analysis.trajectories.blocking.pooled_mean`.

    Raises
    ------
    OptionError
        As :func:`angle_histogram` and :func:`find_basins`.
    """
    if not angles:
        raise OptionError("Expected the angles of at least one simulation.")
    pooled = [np.concatenate(series) for series in zip(*angles, strict=True)]
    histogram = angle_histogram(*pooled, n_bins=n_bins, folds=folds)
    basins = find_basins(histogram, centers=centers)
    visited = [basins.assign(*series) for series in angles]
    shares = tuple(
        pooled_mean([series == k for series in visited], independent=independent)
        for k in range(len(basins.centers))
    )
    changes = sum(int((series[1:] != series[:-1]).sum()) for series in visited)
    return Occupations(basins, shares, changes)


def _nearest(histogram: AngleHistogram, centers: FloatArray) -> IntArray:
    """Return for each bin the nearest center, around the turn."""
    grids = np.meshgrid(*histogram.centers, indexing="ij")
    squares = np.zeros((len(centers), *histogram.density.shape))
    for axis, (grid, period) in enumerate(zip(grids, histogram.periods, strict=True)):
        across = (slice(None),) + (None,) * grid.ndim
        squares += folded(grid[None] - centers[:, axis][across], period) ** 2
    nearest: IntArray = squares.argmin(axis=0)
    return nearest


def _neighbors(array: FloatArray) -> FloatArray:
    """Return the values of all neighbors of each bin, around the turn: ``(3^d - 1, ...)``."""
    axes = tuple(range(array.ndim))
    shifts = [s for s in product((-1, 0, 1), repeat=array.ndim) if any(s)]
    return np.stack([np.roll(array, shift, axes) for shift in shifts])


def _climb(density: FloatArray) -> tuple[IntArray, IntArray]:
    """Return the maximum ``(...)`` that each bin climbs to, and the bins ``(K, d)`` of maxima."""
    flat = np.arange(density.size).reshape(density.shape)
    # the order of bins breaks ties, so that flat regions climb to one place
    values = np.concatenate([density[None], _neighbors(density)])
    indices = np.concatenate([flat[None], np.round(_neighbors(flat.astype(float))).astype(int)])
    best = np.lexsort((indices, values), axis=0)[-1]
    target = np.take_along_axis(indices, best[None], axis=0)[0].reshape(-1)
    while not np.array_equal(target, target[target]):
        target = target[target]
    tops, labels = np.unique(target, return_inverse=True)
    return labels.reshape(density.shape), np.stack(np.unravel_index(tops, density.shape), axis=1)


def _merge(
    density: FloatArray, labels: IntArray, peaks: IntArray, min_depth: float
) -> tuple[IntArray, IntArray]:
    """Merge maxima that are not deep enough apart, the shallowest separation first."""
    while len(peaks) > 1:
        heights = density[tuple(peaks.T)]
        saddles = _saddles(density, labels, len(peaks))
        lower = np.minimum(heights[:, None], heights[None])
        shallow = np.triu(saddles / np.maximum(lower, 1e-300), 1)
        first, second = np.unravel_index(int(shallow.argmax()), shallow.shape)
        if shallow[first, second] < np.exp(-min_depth):
            break
        keep, gone = (first, second) if heights[first] >= heights[second] else (second, first)
        labels = np.where(labels == gone, keep, labels)
        labels = labels - (labels > gone)
        peaks = np.delete(peaks, gone, axis=0)
    return labels, peaks


def _saddles(density: FloatArray, labels: IntArray, n: int) -> FloatArray:
    """Return the highest density ``(K, K)`` on the border between each two basins."""
    saddles = np.zeros((n, n))
    others = np.round(_neighbors(labels.astype(float))).astype(int)
    for values, beside in zip(_neighbors(density), others, strict=True):
        border = np.minimum(density, values)
        np.maximum.at(saddles, (labels.ravel(), beside.ravel()), border.ravel())
    np.fill_diagonal(saddles, 0.0)
    return np.maximum(saddles, saddles.T)
