"""Energy differences against the work of the forces, between neighboring frames.

Between two near frames the energy difference is the work of the forces by the trapezoidal rule,
``E_j - E_i = -1/2 (F_i + F_j) . (x_j - x_i)``, up to third order in the displacement. The slope of
one against the other is 1; a slope of -1 means a wrong sign, and a wrong unit has a slope of its
own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kraft.core.typing import FloatArray, IntArray
from kraft.data.dataset import Dataset
from kraft.data.geometry import distance_chunks

_MAX_ANCHORS = 1500
_MAX_CANDIDATES = 10_000
_MIN_PAIRS = 10
_BLOCK = 256


@dataclass(frozen=True)
class WorkComparison:
    """How energy differences follow the work of the forces.

    Attributes
    ----------
    slope
        Energy difference per work: 1 when energies and forces belong together.
    correlation
        Pearson's, between -1 and 1.
    agreement
        ``1 - sum |dE - slope W| / sum |dE|``: 1 when the slope explains everything.
    residual, difference
        Median of ``|dE - slope W|`` and of ``|dE|`` in eV.
    displacement
        Median over the pairs of the RMS displacement of the atoms in Å.
    n_pairs
        Number of pairs compared.
    """

    slope: float
    correlation: float
    agreement: float
    residual: float
    difference: float
    displacement: float
    n_pairs: int


def compare_work(dataset: Dataset, frames: IntArray) -> WorkComparison | None:
    """Compare energy differences with the work of the forces between nearest neighbors.

    Parameters
    ----------
    dataset
        Frames with energies.
    frames
        Numbers of the frames to use, all of different geometry.

    Returns
    -------
    comparison
        Over the nearer half of the pairs, or None when there are too few of them.
    """
    if dataset.energies is None or len(frames) < _MIN_PAIRS:
        return None
    pairs = _nearest_pairs(dataset, frames)
    work, displacement = _trapezoidal_work(dataset, pairs)
    difference = dataset.energies[pairs[:, 1]] - dataset.energies[pairs[:, 0]]
    nearer = np.argsort(displacement, kind="stable")[: max(2 * _MIN_PAIRS, len(pairs) // 2)]
    work, difference, displacement = work[nearer], difference[nearer], displacement[nearer]
    useful = work != 0.0
    if useful.sum() < _MIN_PAIRS or not np.any(difference):
        return None
    # The slope that minimizes sum |dE - slope W|: a weighted median, deaf to outliers.
    slope = _weighted_median(difference[useful] / work[useful], np.abs(work[useful]))
    residual = np.abs(difference - slope * work)
    norms = float(np.linalg.norm(work) * np.linalg.norm(difference))
    return WorkComparison(
        slope=slope,
        correlation=float(work @ difference) / norms,
        agreement=1.0 - float(residual.sum() / np.abs(difference).sum()),
        residual=float(np.median(residual)),
        difference=float(np.median(np.abs(difference))),
        displacement=float(np.median(displacement)),
        n_pairs=len(nearer),
    )


def _nearest_pairs(dataset: Dataset, frames: IntArray) -> IntArray:
    """Return ``(P, 2)`` different pairs: frames and their nearest by inverse distances."""
    rng = np.random.default_rng(0)
    if len(frames) > _MAX_CANDIDATES:
        frames = np.sort(rng.choice(frames, _MAX_CANDIDATES, replace=False))
    part = dataset.subset(frames)
    points = np.concatenate([(1.0 / d).astype(np.float32) for _, d in distance_chunks(part)])
    points -= points.mean(axis=0)
    norms = np.einsum("bd,bd->b", points, points)
    anchors = np.arange(len(frames))
    if len(anchors) > _MAX_ANCHORS:
        anchors = np.sort(rng.choice(anchors, _MAX_ANCHORS, replace=False))
    nearest = np.empty(len(anchors), dtype=np.int64)
    for start in range(0, len(anchors), _BLOCK):
        block = anchors[start : start + _BLOCK]
        gap = norms - 2.0 * (points[block] @ points.T)
        gap[np.arange(len(block)), block] = np.inf
        nearest[start : start + _BLOCK] = gap.argmin(axis=1)
    ordered = np.sort(np.stack([anchors, nearest], axis=1), axis=1)
    return frames[np.unique(ordered, axis=0)]


def _trapezoidal_work(dataset: Dataset, pairs: IntArray) -> tuple[FloatArray, FloatArray]:
    """Return the work (eV) and the RMS displacement (Å) from first to second of each pair."""
    start, end = dataset.positions[pairs[:, 0]], dataset.positions[pairs[:, 1]]
    start_forces, end_forces = dataset.forces[pairs[:, 0]], dataset.forces[pairs[:, 1]]
    if dataset.cell is None:
        start = start - start.mean(axis=1, keepdims=True)
        end = end - end.mean(axis=1, keepdims=True)
        rotation = _best_rotation(start, end)
        displacement = end @ rotation - start
        end_forces = end_forces @ rotation
    else:
        fractional = (end - start) @ np.linalg.inv(dataset.cell)
        displacement = (fractional - np.rint(fractional)) @ dataset.cell
        displacement = displacement - displacement.mean(axis=1, keepdims=True)
    work: FloatArray = -0.5 * np.sum((start_forces + end_forces) * displacement, axis=(1, 2))
    size: FloatArray = np.sqrt(np.mean(np.sum(displacement**2, axis=2), axis=1))
    return work, size


def _best_rotation(start: FloatArray, end: FloatArray) -> FloatArray:
    """Return ``(P, 3, 3)`` matrices Q that bring ``end @ Q`` nearest to ``start``.

    W. Kabsch, Acta Cryst. A 32, 922 (1976), with mirror images allowed: energy does not tell them
    apart.
    """
    left, _, right = np.linalg.svd(np.einsum("pai,paj->pij", end, start))
    rotation: FloatArray = left @ right
    return rotation


def _weighted_median(values: FloatArray, weights: FloatArray) -> float:
    order = np.argsort(values)
    cumulated = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(cumulated, 0.5 * cumulated[-1])])
