"""Which features may mix in a metric, and how strongly the prior expects them to."""

from __future__ import annotations

import numpy as np
import torch

from kraft.core.typing import FloatArray, IntArray
from kraft.data.geometry import pair_distances
from kraft.kernels.atom_pairs import large
from kraft.models.metric.variables import MetricVariables, orbit_labels, pair_labels
from kraft.models.objective import TrainingArrays
from kraft.symmetry.orbits import pair_indices

REACH = 2.5
"""Å: the deviation is that of two features whose atoms are not farther apart than this."""

POWER = 3
"""It falls with this power of the largest distance among the atoms."""

GEOMETRIES = 200
"""Training geometries whose distances are averaged, at most."""


def metric_variables(arrays: TrainingArrays, deviation: float) -> MetricVariables:
    """Return the variables of a metric.

    Parameters
    ----------
    arrays
        The data.
    deviation
        Standard deviation ``σ`` that the prior expects of the entries of the mixing matrix, see
        :func:`mixing_deviations`; zero for features that do not mix. Those of large molecules never
        do: their kernel matrices are made by pairs of atoms, which mixing would undo.
    """
    orbits = orbit_labels(arrays.feature_permutations)
    if deviation == 0.0 or large(arrays.descriptor) or len(orbits) < 2:
        return MetricVariables(orbits, None, np.empty(0))
    pairs = pair_labels(arrays.feature_permutations)
    entries = mixing_deviations(arrays, deviation)
    mixed = pairs.ravel() >= 0
    labels = pairs.ravel()[mixed]
    means = np.bincount(labels, entries.ravel()[mixed]) / np.bincount(labels)
    return MetricVariables(orbits, pairs, means)


def mixing_deviations(arrays: TrainingArrays, deviation: float) -> FloatArray:
    """Return ``σ (R_0 / R)³`` ``(D, D)`` for every two features.

    ``R`` is the largest mean distance among the atoms of both pairs, and ``R_0`` is 2.5 Å: distances
    of atoms that are close together, which bonds and angles tie to each other, mix freely, and those
    of far ones, which are by far the most, hardly.
    """
    between = _mean_distances(arrays)
    ends = [part.cpu().numpy() for part in _ends(arrays)]
    reach = np.zeros((len(ends[0]), len(ends[0])))
    for one in ends:
        for other in ends:
            np.maximum(reach, between[np.ix_(one, other)], out=reach)
    own = between[ends[0], ends[1]]
    np.maximum(reach, np.maximum(own[:, None], own[None, :]), out=reach)
    result: FloatArray = deviation * (REACH / reach) ** POWER
    return result


def _ends(arrays: TrainingArrays) -> tuple[torch.Tensor, torch.Tensor]:
    return arrays.descriptor.first_atoms, arrays.descriptor.second_atoms


def _mean_distances(arrays: TrainingArrays) -> FloatArray:
    """Return the mean distances ``(N, N)`` of the atoms in Å."""
    n_atoms = arrays.descriptor.n_atoms
    cell = arrays.descriptor.cell
    some: IntArray = np.unique(np.linspace(0, arrays.n_train - 1, GEOMETRIES).astype(np.int64))
    positions = arrays.positions.cpu().numpy()[some]
    means = pair_distances(positions, None if cell is None else cell.cpu().numpy()).mean(axis=0)
    between = np.zeros((n_atoms, n_atoms))
    first, second = pair_indices(n_atoms)
    between[first, second] = between[second, first] = means
    return between
