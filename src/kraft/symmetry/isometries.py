"""Permutations under which one geometry is exactly itself: its point group on the atoms."""

from __future__ import annotations

import numpy as np

from kraft.core.typing import FloatArray, IntArray
from kraft.symmetry.matching import assign, permute_matrices, species_penalty

_N_ANCHORS = 4
_MAX_MAPS = 20_000
_CHUNK_ENTRIES = 2_000_000


def isometries(distances: FloatArray, atomic_numbers: IntArray, tolerance: float) -> IntArray:
    """Return all permutations that leave every distance of a geometry where it is.

    Four atoms far from each other anchor the geometry. Their possible images are listed one anchor
    after the other, by the distances among them; the other atoms follow from their distances to
    the anchors, and every distance is checked at the end. Rotations and mirror images both count.

    Parameters
    ----------
    distances
        ``(N, N)`` in Å.
    atomic_numbers
        ``(N,)``.
    tolerance
        The largest change of a distance, in Å.

    Returns
    -------
    IntArray
        ``(S, N)``, the identity included. Only the identity when the geometry is so regular, for
        this tolerance, that more than 20 000 images of the anchors would have to be tried.
    """
    n_atoms = len(atomic_numbers)
    unchanged = np.arange(n_atoms, dtype=np.int64)[None]
    alike = _alike(distances, atomic_numbers, tolerance)
    anchors = _anchors(distances, alike)
    images = np.flatnonzero(alike[anchors[0]])[:, None]
    for k in range(1, len(anchors)):
        close = np.repeat(alike[anchors[k]][None], len(images), axis=0)
        for earlier in range(k):
            wanted = distances[anchors[k], anchors[earlier]]
            close &= np.abs(distances[images[:, earlier]] - wanted) <= tolerance
            close[np.arange(len(images)), images[:, earlier]] = False
        maps, atoms = np.nonzero(close)
        if len(maps) > _MAX_MAPS:
            return unchanged
        images = np.hstack([images[maps], atoms[:, None]])
    penalty = species_penalty(atomic_numbers)
    found = [unchanged]
    chunk = max(1, _CHUNK_ENTRIES // n_atoms**2)
    for begin in range(0, len(images), chunk):
        part = images[begin : begin + chunk]
        # costs[map, b, a]: how much atom a, seen from the images, differs from atom b.
        costs = np.zeros((len(part), n_atoms, n_atoms))
        for k, anchor in enumerate(anchors):
            costs += (distances[part[:, k]][:, None, :] - distances[anchor][None, :, None]) ** 2
        permutations = assign(costs + penalty)
        same = np.repeat(distances[None], len(part), axis=0)
        change = np.abs(permute_matrices(same, permutations) - distances).max(axis=(1, 2))
        found.append(permutations[change <= tolerance])
    rows: IntArray = np.unique(np.concatenate(found), axis=0)
    return rows


def _alike(distances: FloatArray, atomic_numbers: IntArray, tolerance: float) -> FloatArray:
    """Tell ``(N, N)`` which atoms have the same element and the same sorted distances."""
    alike = atomic_numbers[:, None] == atomic_numbers
    for element in np.unique(atomic_numbers):
        rows = np.sort(distances[:, atomic_numbers == element], axis=1)
        alike &= np.abs(rows[:, None] - rows).max(axis=2) <= tolerance
    result: FloatArray = alike
    return result


def _anchors(distances: FloatArray, alike: FloatArray) -> list[int]:
    """Choose up to four atoms, the first with the fewest images, the others far apart."""
    anchors = [int(alike.sum(axis=1).argmin())]
    while len(anchors) < min(_N_ANCHORS, len(distances)):
        spread = np.log(np.maximum(distances[anchors], 1e-12)).sum(axis=0)
        spread[anchors] = -np.inf
        anchors.append(int(spread.argmax()))
    return anchors
