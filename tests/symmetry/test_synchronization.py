from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
from symmetric_molecules import chiral_rotor, shaken

from kraft.symmetry.distances import distance_matrices
from kraft.symmetry.group import closure
from kraft.symmetry.matching import PairMatches, choose_pairs, match_pairs
from kraft.symmetry.synchronization import synchronize

ROTATIONS = closure([[0, 1, 2, 3, 4, 6, 7, 5]])


def matched(frames, numbers):
    distances = distance_matrices(frames)
    pairs = choose_pairs(distances, 10_000, np.random.default_rng(0))
    return match_pairs(distances, numbers, pairs)


def test_all_geometries_get_one_labeling():
    numbers, frames = chiral_rotor(np.zeros(1))
    frames = shaken(frames[0], 12, noise=0.01, permutations=ROTATIONS)
    found = synchronize(matched(frames, numbers), 12)
    labeled = np.take_along_axis(frames, found.assignments[:, :, None], axis=1)
    distances = distance_matrices(labeled)
    assert_allclose(distances, np.broadcast_to(distances[0], distances.shape), atol=0.15)
    assert found.agreement == 1.0
    assert len(found.tree_pairs) == 11


def test_duplicates_stay_in_the_tree():
    numbers, frames = chiral_rotor(np.zeros(3))
    found = synchronize(matched(frames, numbers), 3)
    assert len(found.tree_pairs) == 2


def test_one_wrong_expensive_pair_does_not_matter():
    numbers, frames = chiral_rotor(np.zeros(1))
    matches = matched(shaken(frames[0], 5, noise=0.01), numbers)
    permutations, costs = matches.permutations.copy(), matches.costs.copy()
    permutations[0] = ROTATIONS[1]
    costs[0] = 100.0
    spoiled = PairMatches(
        matches.first, matches.second, permutations, costs, matches.unmatched_costs
    )
    found = synchronize(spoiled, 5)
    assert_array_equal(found.assignments, np.tile(np.arange(8), (5, 1)))
    assert found.agreement == 0.9


def test_a_single_geometry_is_its_own_labeling():
    nothing = np.zeros(0, dtype=np.int64)
    none = PairMatches(nothing, nothing, np.zeros((0, 3), dtype=np.int64), np.zeros(0), np.zeros(0))
    assert_array_equal(synchronize(none, 1).assignments, [[0, 1, 2]])
