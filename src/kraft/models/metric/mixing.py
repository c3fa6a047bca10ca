"""Which features may mix in a metric, and how strongly the prior expects them to."""

from __future__ import annotations

from itertools import product

import numpy as np

from kraft.core.typing import FloatArray, IntArray
from kraft.data.geometry import pair_distances
from kraft.kernels.atom_pairs import large
from kraft.models.metric.variables import MetricVariables, orbit_labels, pair_labels
from kraft.models.objective import TrainingArrays
from kraft.symmetry.orbits import pair_indices

REACH = 2.5
"""Å: the deviation is that of two features whose atoms are as far apart as this."""

POWER = 3
"""It falls with this power of the largest distance among the atoms."""

GEOMETRIES = 50
"""Training geometries whose distances are averaged, at most."""


def metric_variables(arrays: TrainingArrays, deviation: float) -> MetricVariables:
    """Return the variables of a metric.

    Parameters
    ----------
    arrays
        The data.
    deviation
        Standard deviation ``σ`` of entries of the mixing matrix, which the prior expects to be
        ``σ (R_0 / R)³`` with ``R_0 = 2.5 Å`` (`docs/theory.md`, eq. 24) and the largest distance
        ``R`` among the atoms of both features: distances of atoms that are close together, which
        bonds and angles tie to each other, mix freely, and those of far ones, which are by far the
        most, hardly. Zero for features that do not mix; those of large molecules never do, since
        their kernel matrices are made by pairs of atoms, which mixing would undo.
    """
    orbits = orbit_labels(arrays.feature_permutations)
    if deviation == 0.0 or large(arrays.descriptor) or len(orbits) < 2:
        return MetricVariables(orbits, None, np.empty(0))
    pairs = pair_labels(arrays.feature_permutations)
    mixed = pairs.ravel() >= 0
    labels = pairs.ravel()[mixed]
    reaches = np.bincount(labels, mean_reaches(arrays).ravel()[mixed]) / np.bincount(labels)
    return MetricVariables(orbits, pairs, deviation * (REACH / reaches) ** POWER)


def mean_reaches(arrays: TrainingArrays) -> FloatArray:
    """Return the largest distance among the atoms of every two features, ``(D, D)``, in Å.

    Averaged over (some of) the training geometries; over an orbit of the permutations too, it does
    not change when like atoms of a geometry change places.
    """
    n_atoms, cell = arrays.descriptor.n_atoms, arrays.descriptor.cell
    some: IntArray = np.unique(np.linspace(0, arrays.n_train - 1, GEOMETRIES).astype(np.int64))
    positions = arrays.positions.cpu().numpy()[some]
    first, second = pair_indices(n_atoms)
    between = np.zeros((n_atoms, n_atoms))
    descriptor = arrays.descriptor
    ends = [part.cpu().numpy() for part in (descriptor.first_atoms, descriptor.second_atoms)]
    total = np.zeros((len(ends[0]), len(ends[0])))
    for distances in pair_distances(positions, None if cell is None else cell.cpu().numpy()):
        between[first, second] = between[second, first] = distances
        own = between[ends[0], ends[1]]
        reach = np.maximum(own[:, None], own[None, :])
        for one, other in product(ends, ends):
            np.maximum(reach, between[np.ix_(one, other)], out=reach)
        total += reach
    return total / len(positions)
