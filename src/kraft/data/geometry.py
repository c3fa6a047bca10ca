"""Interatomic distances and sameness of frames, for checks and sampling; NumPy only."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kraft.core.typing import FloatArray, IntArray
from kraft.data.dataset import Dataset

SAME_DISTANCE = 1e-7
"""Frames are the same when every interatomic distance agrees to this (Å)."""

_CHUNK_ELEMENTS = 2_000_000


def pair_distances(positions: FloatArray, cell: FloatArray | None = None) -> FloatArray:
    """Return the distances of all pairs of atoms ``i < j``, row by row of the triangle.

    Parameters
    ----------
    positions
        ``(B, N, 3)`` in Å.
    cell
        ``(3, 3)`` in Å, rows are vectors: distances are then to the nearest image.

    Returns
    -------
    distances
        ``(B, N (N - 1) / 2)`` in Å.
    """
    first, second = np.triu_indices(positions.shape[1], 1)
    vectors = positions[:, first] - positions[:, second]
    if cell is not None:
        fractional = vectors @ np.linalg.inv(cell)
        vectors = (fractional - np.rint(fractional)) @ cell
    distances: FloatArray = np.sqrt(np.einsum("bdx,bdx->bd", vectors, vectors))
    return distances


def distance_chunks(dataset: Dataset) -> Iterator[tuple[slice, FloatArray]]:
    """Yield ``(frames, pair distances of these)`` in chunks of bounded memory."""
    n_pairs = max(1, dataset.n_atoms * (dataset.n_atoms - 1) // 2)
    size = max(1, _CHUNK_ELEMENTS // n_pairs)
    for start in range(0, len(dataset), size):
        frames = slice(start, min(start + size, len(dataset)))
        yield frames, pair_distances(dataset.positions[frames], dataset.cell)


def duplicate_groups(dataset: Dataset, tolerance: float = SAME_DISTANCE) -> IntArray:
    """Return for each frame the first frame that is the same geometry (often itself).

    Two frames are the same when all their interatomic distances agree to ``tolerance``: copies
    that are shifted, rotated or mirrored count, since a force field cannot tell them apart.

    Returns
    -------
    representatives
        ``(B,)`` int64 with ``representatives[b] <= b``.
    """
    n_frames = len(dataset)
    representatives = np.arange(n_frames)
    if n_frames < 2 or dataset.n_atoms < 2:
        return representatives
    # A fixed random projection of the distances: near-equal values are the candidates.
    n_pairs = dataset.n_atoms * (dataset.n_atoms - 1) // 2
    direction = np.random.default_rng(0).choice([-1.0, 1.0], n_pairs) / n_pairs
    shadow = np.empty(n_frames)
    for frames, distances in distance_chunks(dataset):
        shadow[frames] = distances @ direction
    order = np.argsort(np.where(np.isfinite(shadow), shadow, np.inf), kind="stable")
    breaks = np.flatnonzero(~(np.diff(shadow[order]) <= tolerance)) + 1
    for run in np.split(order, breaks):
        if len(run) > 1:
            _merge_run(dataset, np.sort(run), representatives, tolerance)
    return representatives


def _merge_run(
    dataset: Dataset, frames: IntArray, representatives: IntArray, tolerance: float
) -> None:
    """Point each of ``frames`` to the first among them with the same distances."""
    left = frames
    while len(left) > 1:
        head, rest = left[0], left[1:]
        reference = pair_distances(dataset.positions[head][None], dataset.cell)
        same = np.zeros(len(rest), dtype=bool)
        for start in range(0, len(rest), 256):
            block = dataset.positions[rest[start : start + 256]]
            gap = np.abs(pair_distances(block, dataset.cell) - reference).max(axis=1)
            same[start : start + 256] = gap <= tolerance
        representatives[rest[same]] = head
        left = rest[~same]
