from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import linear_sum_assignment
from scipy.sparse.csgraph import connected_components
from symmetric_molecules import ETHENE, METHANE, chiral_rotor, shaken

from kraft.symmetry.distances import distance_matrices
from kraft.symmetry.matching import (
    assign,
    choose_pairs,
    match_pairs,
    permute_matrices,
    refine,
    species_penalty,
    spectral_cost,
)


def test_assign_is_the_hungarian_algorithm():
    costs = np.random.default_rng(0).standard_normal((50, 6, 6))
    for cost, permutation in zip(costs, assign(costs), strict=True):
        rows, columns = linear_sum_assignment(cost)
        assert_allclose(cost[rows, permutation].sum(), cost[rows, columns].sum())


def test_spectral_matching_recovers_a_permutation_of_a_generic_geometry():
    random = np.random.default_rng(3)
    distances = distance_matrices(random.standard_normal((1, 7, 3)))
    hidden = random.permutation(7)
    other = permute_matrices(distances, hidden[None])
    vectors = np.linalg.eigh(np.concatenate([distances, other]))[1]
    assert_array_equal(assign(spectral_cost(vectors[:1], vectors[1:]))[0], hidden)


def test_refinement_never_raises_the_cost_and_reports_it():
    random = np.random.default_rng(4)
    numbers = np.array([6, 6, 6, 1, 1, 1, 1])
    first = distance_matrices(random.standard_normal((30, 7, 3)))
    second = distance_matrices(random.standard_normal((30, 7, 3)))
    start = np.tile(np.arange(7), (30, 1))
    permutations, costs = refine(first, second, start, species_penalty(numbers))
    assert (costs <= ((first - second) ** 2).sum(axis=(1, 2)) + 1e-12).all()
    moved = permute_matrices(first, permutations)
    assert_allclose(costs, ((moved - second) ** 2).sum(axis=(1, 2)))
    assert (costs < ((first - second) ** 2).sum(axis=(1, 2)) - 1e-6).any()
    assert_array_equal(numbers[permutations], np.tile(numbers, (30, 1)))


def test_matches_of_noisy_permuted_copies_find_the_permutation():
    numbers, frames = chiral_rotor(np.zeros(2))
    hidden = np.array([0, 1, 2, 3, 4, 6, 7, 5])
    frames = shaken(frames[0], 2, noise=0.01)
    frames[1] = frames[1][hidden]
    distances = distance_matrices(frames)
    matches = match_pairs(distances, numbers, (np.array([0]), np.array([1])))
    assert_array_equal(matches.permutations[0], hidden)
    assert matches.costs[0] < 0.1 * matches.unmatched_costs[0]
    assert_allclose(matches.gains[0], 1 - (matches.costs[0] / matches.unmatched_costs[0]) ** 2)


def test_pairs_are_all_or_few_that_connect_everything():
    distances = distance_matrices(shaken(METHANE[1], 40))
    random = np.random.default_rng(0)
    first, second = choose_pairs(distances, 1000, random)
    assert len(first) == 780
    first, second = choose_pairs(distances, 60, random)
    assert len(first) == 60
    assert (first < second).all()
    graph = np.zeros((40, 40))
    graph[first, second] = 1
    assert connected_components(graph, directed=False)[0] == 1


@pytest.mark.parametrize("duplicates", [2, 10])
def test_pairs_connect_duplicates_too(duplicates):
    frames = np.repeat(ETHENE[1][None], duplicates, axis=0)
    first, _ = choose_pairs(distance_matrices(frames), 1, np.random.default_rng(0))
    assert len(first) == duplicates - 1
