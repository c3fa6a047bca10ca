"""Orbits of a permutation group on atoms, on atom pairs and on descriptor features."""

from __future__ import annotations

import numpy as np

from kraft.core.errors import SymmetryError
from kraft.core.typing import IntArray


def atom_orbit_labels(permutations: IntArray) -> IntArray:
    """Return ``(N,)`` labels 0, 1, ...: atoms with one label are permutationally equivalent.

    Labels are numbered by each orbit's smallest atom. The equivalence sets are those of the
    AFF paper (paper 001, Sec. II: permutationally equivalent atoms).

    >>> atom_orbit_labels(np.array([[0, 1, 2, 3], [0, 2, 1, 3]]))
    array([0, 1, 1, 2])
    """
    return _labels(permutations)


def atom_orbits(permutations: IntArray) -> tuple[IntArray, ...]:
    """Return the sets of permutationally equivalent atoms, each sorted, by smallest atom.

    Parameters
    ----------
    permutations
        ``(S, N)``, a group.
    """
    return _sets(_labels(permutations))


def pair_indices(n_atoms: int) -> tuple[IntArray, IntArray]:
    """Return the atoms ``(D,)``, ``(D,)`` of each of the D = N(N-1)/2 pair features.

    The order is that of ``np.triu_indices(n_atoms, 1)``.
    """
    first, second = np.triu_indices(n_atoms, 1)
    return first.astype(np.int64), second.astype(np.int64)


def feature_permutations(permutations: IntArray) -> IntArray:
    """Return how each permutation of atoms permutes the pair features, ``(S, D)``.

    For any descriptor ``x`` made of one value per pair of atoms, in the order of `pair_indices`,
    ``x(positions[p]) == x(positions)[feature_permutations(p[None])[0]]``.

    >>> feature_permutations(np.array([[0, 2, 1]]))
    array([[1, 0, 2]])
    """
    n_atoms = permutations.shape[1]
    first, second = pair_indices(n_atoms)
    number = np.zeros((n_atoms, n_atoms), dtype=np.int64)
    number[first, second] = number[second, first] = np.arange(len(first))
    images: IntArray = number[permutations[:, first], permutations[:, second]]
    return images


def atom_permutations(feature_permutations: IntArray, n_atoms: int) -> IntArray:
    """Return the permutations of atoms ``(S, N)`` behind those of pair features ``(S, D)``.

    The inverse of :func:`feature_permutations`; two atoms tell nothing and stay where they are.

    >>> atom_permutations(np.array([[1, 0, 2]]), 3)
    array([[0, 2, 1]])
    """
    table = np.asarray(feature_permutations)
    if n_atoms < 3:
        return np.tile(np.arange(n_atoms), (len(table), 1))
    first, second = pair_indices(n_atoms)
    number = np.zeros((n_atoms, n_atoms), dtype=np.int64)
    number[first, second] = number[second, first] = np.arange(len(first))
    atoms = np.arange(n_atoms)
    one, two = (table[:, number[atoms, (atoms + step) % n_atoms]] for step in (1, 2))
    ends = first[two], second[two]  # the image of an atom is in the images of both its pairs
    common = (first[one] == ends[0]) | (first[one] == ends[1])
    images: IntArray = np.where(common, first[one], second[one])
    return images


def feature_orbit_labels(permutations: IntArray) -> IntArray:
    """Return ``(D,)`` labels 0, 1, ...: pair features with one label are equivalent.

    Labels are numbered by each orbit's smallest feature. Per-feature weights that respect the
    symmetry are constant over these orbits.
    """
    return _labels(feature_permutations(permutations))


def feature_orbits(permutations: IntArray) -> tuple[IntArray, ...]:
    """Return the sets of equivalent pair features, each sorted, by smallest feature."""
    return _sets(_labels(feature_permutations(permutations)))


def _labels(images: IntArray) -> IntArray:
    """Label the orbits of a group whose element s maps place d to ``images[s, d]``."""
    if images.ndim != 2 or len(images) == 0:
        raise SymmetryError(
            f"expected permutations of shape (permutations, atoms), got {images.shape}"
        )
    smallest = images.min(axis=0) if images.size else images[0]
    while True:
        shrunk = smallest[images].min(axis=0) if images.size else smallest
        shrunk = np.minimum(shrunk, smallest)
        if np.array_equal(shrunk, smallest):
            break
        smallest = shrunk
    return np.unique(smallest, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _sets(labels: IntArray) -> tuple[IntArray, ...]:
    return tuple(
        np.flatnonzero(labels == label) for label in range(int(labels.max(initial=-1)) + 1)
    )
