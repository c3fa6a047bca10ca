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


def kept_pairs(n_atoms: int, features: IntArray | None = None) -> tuple[IntArray, IntArray]:
    """Return the atoms ``(D,)``, ``(D,)`` of some of the pair features; of all when None."""
    first, second = pair_indices(n_atoms)
    if features is None:
        return first, second
    return first[features], second[features]


def feature_permutations(permutations: IntArray, features: IntArray | None = None) -> IntArray:
    """Return how each permutation of atoms permutes the pair features, ``(S, D)``.

    For any descriptor ``x`` made of one value per pair of atoms, in the order of `pair_indices`,
    ``x(positions[p]) == x(positions)[feature_permutations(p[None])[0]]``.

    Parameters
    ----------
    permutations
        ``(S, N)``.
    features
        ``(D,)`` the pair features that a descriptor keeps, in ascending order, whole orbits; all
        when None. Those kept are numbered anew.

    Raises
    ------
    SymmetryError
        When a permutation moves a feature that is kept to one that is not.

    Examples
    --------
    >>> feature_permutations(np.array([[0, 2, 1]]))
    array([[1, 0, 2]])
    >>> feature_permutations(np.array([[0, 2, 1]]), np.array([2]))
    array([[0]])
    """
    n_atoms = permutations.shape[1]
    first, second = pair_indices(n_atoms)
    number = np.zeros((n_atoms, n_atoms), dtype=np.int64)
    number[first, second] = number[second, first] = np.arange(len(first))
    images: IntArray = number[permutations[:, first], permutations[:, second]]
    if features is None or len(features) == len(first):
        return images
    return _among_kept(images[:, features], features, (first, second))


def _among_kept(images: IntArray, features: IntArray, pairs: tuple[IntArray, IntArray]) -> IntArray:
    """Return images ``(S, D)`` as places among the features kept, or say which are missing."""
    missing = np.setdiff1d(images, features)
    if len(missing):
        first, second = pairs
        shown = ", ".join(f"{d} (atoms {first[d]} and {second[d]})" for d in missing[:5])
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise SymmetryError(
            "The features kept must be closed under the molecule's symmetries, but lack "
            f"{shown}{more}, which permutations exchange with kept ones. Keep or leave out whole "
            "orbits of features (kraft.symmetry.orbits.feature_orbits)."
        )
    places: IntArray = np.ascontiguousarray(np.searchsorted(features, images))
    return places


def atom_permutations(
    feature_permutations: IntArray, pairs: tuple[IntArray, IntArray], n_atoms: int
) -> IntArray:
    """Return the permutations of atoms ``(S, N)`` behind those of pair features ``(S, D)``.

    The inverse of :func:`feature_permutations`, as far as the features tell: two atoms whose
    only feature is their common one keep their order, atoms without any stay where they are.

    Parameters
    ----------
    feature_permutations
        ``(S, D)``.
    pairs
        The two atoms ``(D,)`` of each feature, from :func:`kept_pairs`.
    n_atoms
        Number of atoms ``N``.

    Examples
    --------
    >>> atom_permutations(np.array([[1, 0, 2]]), pair_indices(3), 3)
    array([[0, 2, 1]])
    """
    table = np.asarray(feature_permutations)
    first, second = pairs
    touching = [np.flatnonzero((first == atom) | (second == atom)) for atom in range(n_atoms)]
    images = np.tile(np.arange(n_atoms), (len(table), 1))
    for atom in sorted(range(n_atoms), key=lambda atom: -len(touching[atom])):
        if len(touching[atom]) > 1:  # the image of an atom is in the images of all its pairs
            one, two = (table[:, touching[atom][place]] for place in (0, 1))
            common = (first[one] == first[two]) | (first[one] == second[two])
            images[:, atom] = np.where(common, first[one], second[one])
        elif len(touching[atom]) == 1:
            feature = int(touching[atom][0])
            other = int(first[feature] + second[feature] - atom)
            one = table[:, feature]
            if len(touching[other]) > 1:
                images[:, atom] = first[one] + second[one] - images[:, other]
            else:
                images[:, atom] = (first if atom < other else second)[one]
    return images


def feature_orbit_labels(permutations: IntArray, features: IntArray | None = None) -> IntArray:
    """Return ``(D,)`` labels 0, 1, ...: pair features with one label are equivalent.

    Labels are numbered by each orbit's smallest feature. Per-feature weights that respect the
    symmetry are constant over these orbits. ``features`` as for :func:`feature_permutations`.
    """
    return _labels(feature_permutations(permutations, features))


def feature_orbits(
    permutations: IntArray, features: IntArray | None = None
) -> tuple[IntArray, ...]:
    """Return the sets of equivalent pair features, each sorted, by smallest feature.

    ``features`` as for :func:`feature_permutations`: members are then places among those kept.
    """
    return _sets(_labels(feature_permutations(permutations, features)))


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
