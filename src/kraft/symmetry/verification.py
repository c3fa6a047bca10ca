"""Is a permuted geometry one that the data visit? Tests of candidate symmetries.

A permutation is a dynamic symmetry of the data when it turns a visited geometry into one that
looks visited too (paper 002: symmetries that need an impassable barrier crossed do not count). A
small matching cost alone does not tell that in a flexible molecule, where exchanging two hydrogens
of a methyl group costs little beside the motion of the rest. Two tests do, and both only use what
the data show:

1. Distances: every distance of the permuted geometry lies in the range that this pair of atoms
   spans in the data. It rejects whatever would break a bond or turn a group to where it never is.
2. Orientations: an atom and three of its bonded neighbors that have the same handedness in every
   geometry (up to mirror images of whole geometries) keep it in the permuted one. So do all such
   centers, or all of them turn over, since a mirror image has the same energy. It rejects the
   inversion of a single center, which distances hardly see.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from ase.data import covalent_radii

from kraft.core.typing import AnyArray, FloatArray, IntArray
from kraft.symmetry.distances import minimum_image
from kraft.symmetry.matching import permute_matrices

_BOND_REACH = 1.3
_MIN_VOLUME = 0.2
_MIN_STEADINESS = 4.0
_SLACK_OF_RANGE = 0.1
_SLACK_OF_DISTANCE = 0.03


@dataclass(frozen=True)
class VisitedRegion:
    """What a set of geometries shows of the configurations that the molecule visits.

    Attributes
    ----------
    lower, upper
        ``(N, N)`` Å: the range of each distance, with some slack.
    quadruples
        ``(Q, 4)`` a center and three neighbors that have one handedness in all geometries.
    handedness
        ``(Q,)`` of -1.0 and 1.0.
    """

    lower: FloatArray
    upper: FloatArray
    quadruples: IntArray
    handedness: FloatArray

    @classmethod
    def of(
        cls,
        positions: FloatArray,
        distances: FloatArray,
        atomic_numbers: IntArray,
        cell: FloatArray | None,
    ) -> VisitedRegion:
        """Learn the region from geometries ``(M, N, 3)`` and their distances ``(M, N, N)``."""
        low, high = distances.min(axis=0), distances.max(axis=0)
        slack = _SLACK_OF_RANGE * (high - low) + _SLACK_OF_DISTANCE * (high + low) / 2.0
        quadruples = _bonded_quadruples(distances, atomic_numbers)
        volumes = signed_volumes(positions, quadruples, cell)
        volumes *= _mirror_signs(volumes)[:, None]
        mean, scatter = volumes.mean(axis=0), volumes.std(axis=0)
        steady = (
            (np.abs(mean) >= _MIN_STEADINESS * scatter)
            & (np.abs(mean) >= _MIN_VOLUME)
            & (np.abs(np.sign(volumes).sum(axis=0)) == len(volumes))
        )
        return cls(low - slack, high + slack, quadruples[steady], np.sign(mean[steady]))

    def fraction_inside(self, distances: FloatArray, permutations: IntArray) -> FloatArray:
        """Return the fraction ``(P,)`` of distances that are in range after permuting.

        Parameters
        ----------
        distances
            ``(P, N, N)`` in Å, of the geometries before permuting.
        permutations
            ``(P, N)``, one for each geometry.
        """
        n_atoms = distances.shape[1]
        permuted = permute_matrices(distances, permutations)
        inside = (permuted >= self.lower) & (permuted <= self.upper)
        n_pairs = max(1, n_atoms * (n_atoms - 1))
        fractions: FloatArray = (inside.sum(axis=(1, 2)) - n_atoms) / n_pairs
        return fractions

    def keeps_handedness(
        self, positions: FloatArray, permutations: IntArray, cell: FloatArray | None
    ) -> AnyArray:
        """Tell ``(P,)`` whether the permuted geometries keep or mirror all handedness."""
        permuted = np.take_along_axis(positions, permutations[:, :, None], axis=1)
        volumes = signed_volumes(permuted, self.quadruples, cell) * self.handedness
        clear = np.abs(volumes) >= _MIN_VOLUME
        kept = ((volumes > 0) | ~clear).all(axis=1)
        mirrored = ((volumes < 0) | ~clear).all(axis=1)
        return np.asarray(kept | mirrored)


def signed_volumes(
    positions: FloatArray, quadruples: IntArray, cell: FloatArray | None = None
) -> FloatArray:
    """Return how far, and on which side, each fourth atom is out of the plane of three others.

    Parameters
    ----------
    positions
        ``(M, N, 3)`` in Å.
    quadruples
        ``(Q, 4)`` atoms.

    Returns
    -------
    FloatArray
        ``(M, Q)``: the determinant of the unit vectors from the first atom to the other three,
        between -1 and 1; 0 for four atoms in a plane.
    """
    corner = positions[:, quadruples[:, :1]]
    edges = minimum_image(positions[:, quadruples[:, 1:]] - corner, cell)
    lengths = np.sqrt(np.einsum("mqek,mqek->mqe", edges, edges))[..., None]
    edges = edges / np.maximum(lengths, np.finfo(np.float64).tiny)
    normal = np.cross(edges[:, :, 0], edges[:, :, 1])
    volumes: FloatArray = np.einsum("mqk,mqk->mq", normal, edges[:, :, 2])
    return volumes


def _mirror_signs(volumes: FloatArray) -> FloatArray:
    """Return ``(M,)`` of -1.0 and 1.0 that turn mirror images among the geometries back.

    Some data hold a geometry or its mirror image as it came (both have the same energy); the
    leading singular vector of the volumes of rigid centers tells which are which.
    """
    sizes = np.abs(volumes)
    rigid = sizes.mean(axis=0) >= np.maximum(_MIN_STEADINESS * sizes.std(axis=0), _MIN_VOLUME)
    if not rigid.any():
        return np.ones(len(volumes))
    centers = volumes[:, rigid]
    leading = np.linalg.eigh(centers.T @ centers)[1][:, -1]
    return np.where(centers @ leading < 0, -1.0, 1.0)


def _bonded_quadruples(distances: FloatArray, atomic_numbers: IntArray) -> IntArray:
    """Return ``(Q, 4)``: each atom with three of its bonded neighbors.

    Only centers count: four atoms around a bond that turns may well have one handedness in a small
    sample, and yet be free to change it.
    """
    radii = covalent_radii[np.minimum(atomic_numbers, len(covalent_radii) - 1)]
    bonded = distances.mean(axis=0) <= _BOND_REACH * (radii[:, None] + radii)
    np.fill_diagonal(bonded, False)
    quadruples = [
        (center, *neighbors)
        for center in range(len(atomic_numbers))
        for neighbors in itertools.combinations(np.flatnonzero(bonded[center]).tolist(), 3)
    ]
    return np.array(quadruples, dtype=np.int64).reshape(-1, 4)
