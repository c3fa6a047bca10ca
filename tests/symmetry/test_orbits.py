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
    kept_pairs,
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


def test_features_kept_are_numbered_anew():
    group = np.array([[0, 1, 2, 3], [1, 0, 2, 3]])
    kept = np.array([1, 3, 5])  # (0, 2), (1, 2), (2, 3)
    np.testing.assert_array_equal(feature_permutations(group, kept), [[0, 1, 2], [1, 0, 2]])
    assert [orbit.tolist() for orbit in feature_orbits(group, kept)] == [[0, 1], [2]]
    assert feature_orbit_labels(group, kept).tolist() == [0, 0, 1]
    assert [atoms.tolist() for atoms in kept_pairs(4, kept)] == [[0, 1, 2], [2, 2, 3]]


def test_broken_orbits_are_named():
    group = np.array([[0, 1, 2, 3], [1, 0, 2, 3]])
    with pytest.raises(SymmetryError, match=r"lack 3 \(atoms 1 and 2\).*whole orbits"):
        feature_permutations(group, np.array([1, 5]))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_atom_permutations_of_some_features(share):
    """Atoms with more than one feature, and their partners, go where they went."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        n_atoms = 7
        row = rng.permutation(n_atoms)
        group = [np.arange(n_atoms)]
        while not np.array_equal(moved := group[-1][row], group[0]):
            group.append(moved)
        orbits = feature_orbits(np.array(group))
        chosen = [orbit for orbit in orbits if rng.random() < share] or [orbits[0]]
        kept = np.sort(np.concatenate(chosen))
        first, second = kept_pairs(n_atoms, kept)
        table = feature_permutations(np.array(group), kept)
        got = atom_permutations(table, (first, second), n_atoms)
        touched = np.zeros((n_atoms, n_atoms), dtype=bool)
        touched[first, second] = touched[second, first] = True
        several = touched.sum(axis=1) > 1
        known = several | (touched & several).any(axis=1)  # or their partner has several
        np.testing.assert_array_equal(got[:, known], np.array(group)[:, known])
        ends = np.sort(got[:, np.stack([first, second])], axis=1)  # (S, 2, D)
        np.testing.assert_array_equal(ends[:, 0], first[table])
        np.testing.assert_array_equal(ends[:, 1], second[table])


def test_no_permutation_at_all_is_refused():
    with pytest.raises(SymmetryError, match="shape"):
        atom_orbits(np.zeros((0, 3), dtype=np.int64))


@pytest.mark.parametrize("n_atoms", [3, 4, 7])
def test_atom_permutations_undo_feature_permutations(n_atoms):
    rng = np.random.default_rng(0)
    permutations = np.array([rng.permutation(n_atoms) for _ in range(20)])
    np.testing.assert_array_equal(
        atom_permutations(feature_permutations(permutations), pair_indices(n_atoms), n_atoms),
        permutations,
    )
