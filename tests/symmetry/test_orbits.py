from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from kraft.core.errors import SymmetryError
from kraft.symmetry.group import closure
from kraft.symmetry.orbits import (
    atom_orbit_labels,
    atom_orbits,
    atom_permutations,
    feature_orbit_labels,
    feature_orbits,
    feature_permutations,
    pair_indices,
)


@st.composite
def groups(draw):
    n_atoms = draw(st.integers(1, 5))
    rows = draw(st.lists(st.permutations(range(n_atoms)), min_size=1, max_size=2))
    return closure(rows)


def inverse_distances(positions):
    first, second = pair_indices(len(positions))
    return 1.0 / np.linalg.norm(positions[first] - positions[second], axis=1)


@settings(deadline=None)
@given(groups())
def test_feature_permutations_act_like_the_atoms_do(group):
    positions = np.random.default_rng(1).standard_normal((group.shape[1], 3))
    features = inverse_distances(positions)
    for atoms, of_features in zip(group, feature_permutations(group), strict=True):
        np.testing.assert_allclose(inverse_distances(positions[atoms]), features[of_features])


@settings(deadline=None)
@given(groups())
def test_orbits_partition_and_every_member_reaches_every_other(group):
    orbits = atom_orbits(group)
    assert_array_equal(np.sort(np.concatenate(orbits)), np.arange(group.shape[1]))
    for orbit in orbits:
        for atom in orbit:
            assert_array_equal(np.unique(group[:, atom]), orbit)


@settings(deadline=None)
@given(groups())
def test_averages_over_feature_orbits_are_invariant(group):
    labels = feature_orbit_labels(group)
    for permutation in feature_permutations(group):
        assert_array_equal(labels[permutation], labels)


def test_orbits_of_water():
    group = np.array([[0, 1, 2], [0, 2, 1]])
    assert_array_equal(atom_orbit_labels(group), [0, 1, 1])
    # Features: OH, OH, HH.
    assert_array_equal(feature_orbit_labels(group), [0, 0, 1])
    assert [orbit.tolist() for orbit in feature_orbits(group)] == [[0, 1], [2]]


def test_orbits_of_generators_alone_are_those_of_the_group():
    rotation = np.array([[0, 1, 2, 3, 4], [1, 2, 3, 4, 0]])
    assert_array_equal(atom_orbit_labels(rotation), [0, 0, 0, 0, 0])


def test_a_single_atom_has_no_features():
    group = np.array([[0]])
    assert feature_permutations(group).shape == (1, 0)
    assert feature_orbits(group) == ()
    assert len(atom_orbits(group)) == 1


def test_no_permutation_at_all_is_refused():
    with pytest.raises(SymmetryError, match="shape"):
        atom_orbits(np.zeros((0, 3), dtype=np.int64))


@pytest.mark.parametrize("n_atoms", [3, 4, 7])
def test_atom_permutations_undo_feature_permutations(n_atoms):
    rng = np.random.default_rng(0)
    permutations = np.array([rng.permutation(n_atoms) for _ in range(20)])
    np.testing.assert_array_equal(
        atom_permutations(feature_permutations(permutations), n_atoms), permutations
    )
