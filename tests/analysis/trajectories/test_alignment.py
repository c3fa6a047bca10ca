"""Superposition, RMSD, rotations and sizes against rotations that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from kraft.analysis.trajectories import (
    describe_rotations,
    long_axis,
    radius_of_gyration,
    relative_rotations,
    rmsd,
    rotation_angles,
    superpose,
)
from kraft.core.errors import GeometryError, OptionError

RNG = np.random.default_rng(5)
POINTS = RNG.normal(size=(7, 3))


def test_a_moved_molecule_has_not_changed():
    turns = Rotation.random(20, random_state=0).as_matrix()
    moved = np.einsum("txy,ny->tnx", turns, POINTS) + RNG.normal(size=(20, 1, 3))
    found = superpose(moved, POINTS)
    assert found.rmsd.max() < 1e-12
    np.testing.assert_allclose(
        np.einsum("txy,tyz->txz", found.rotations, turns), [np.eye(3)] * 20, atol=1e-12
    )


def test_it_is_the_best_superposition_and_never_a_mirror():
    other = POINTS[None] + 0.3 * RNG.normal(size=(6, 7, 3))
    weights = RNG.uniform(1.0, 16.0, 7)
    for geometry in (*other, POINTS * [1.0, 1.0, -1.0]):
        found = superpose(geometry[None], POINTS, weights)
        assert np.linalg.det(found.rotations[0]) == pytest.approx(1.0)
        centered = POINTS - weights @ POINTS / weights.sum()
        oracle = Rotation.align_vectors(
            centered, geometry - weights @ geometry / weights.sum(), weights
        )[1]
        assert found.rmsd[0] == pytest.approx(oracle / np.sqrt(weights.sum()), rel=1e-6)


def test_permutations_give_the_smallest_deviation():
    start = POINTS
    exchanged = start[[1, 0, 2, 3, 4, 5, 6]][None]
    orders = np.array([[0, 1, 2, 3, 4, 5, 6], [1, 0, 2, 3, 4, 5, 6]])
    assert rmsd(exchanged, start)[0] > 0.1
    assert rmsd(exchanged, start, permutations=orders)[0] < 1e-12
    some = rmsd(exchanged, start, permutations=orders, atoms=[0, 2, 3, 4])
    assert some[0] < 1e-12
    with pytest.raises(GeometryError, match="of all atoms"):
        rmsd(exchanged, start, permutations=[[0, 1]])
    with pytest.raises(GeometryError, match="same atoms"):
        superpose(exchanged, start[:4])
    with pytest.raises(OptionError, match="positive weights"):
        superpose(exchanged, start, np.zeros(7))


def test_a_fragment_that_turns_in_another():
    """Both tumble together; the second turns about the long axis of the first, twice around."""
    first = RNG.normal(size=(8, 3)) * [0.6, 0.7, 4.0]
    first -= first.mean(axis=0)
    second = RNG.normal(size=(6, 3))
    axis = long_axis(first)
    turned = np.linspace(0.0, 720.0, 61)
    tumbling = Rotation.from_rotvec(np.linspace(0, 2, 61)[:, None] * [0.4, -1.0, 0.3])
    inner = Rotation.from_rotvec(np.radians(turned)[:, None] * axis)
    positions = np.concatenate(
        [
            np.einsum("txy,ny->tnx", tumbling.as_matrix(), first),
            np.einsum("txy,ny->tnx", (tumbling * inner).as_matrix(), second),
        ],
        axis=1,
    )
    rotations = relative_rotations(positions, np.arange(8), np.arange(8, 14), positions[0])
    found = describe_rotations(rotations, axis)
    np.testing.assert_allclose(found.twists, turned, atol=1e-9)
    expected = np.abs((turned + 180.0) % 360.0 - 180.0)
    np.testing.assert_allclose(found.angles, expected, atol=1e-6)
    across = np.cross(axis, [1.0, 0.0, 0.0])
    assert np.abs(describe_rotations(rotations[:15], across).twists).max() < 1e-6
    np.testing.assert_allclose(rotation_angles(rotations), found.angles)


def test_fragments_without_orientation_are_refused():
    line = np.arange(6.0)[:, None] * [1.0, 0.0, 0.0]
    both = np.concatenate([line, POINTS])
    with pytest.raises(OptionError, match="first fragment"):
        relative_rotations(both[None], [0, 1, 2], [6, 7, 8], both)
    with pytest.raises(OptionError, match="common atoms"):
        relative_rotations(both[None], [6, 7, 8], [8, 9, 10], both)
    with pytest.raises(OptionError, match="no long axis"):
        long_axis(np.concatenate([np.eye(3), -np.eye(3)]))
    with pytest.raises(OptionError, match="axis of three"):
        describe_rotations(np.eye(3)[None], [0.0, 0.0, 0.0])


def test_radius_of_gyration():
    dumbbell = np.array([[[0.0, 0, 0], [3.0, 0, 0]]])
    assert radius_of_gyration(dumbbell)[0] == pytest.approx(1.5)
    # reduced mass: Rg² = m M d² / (m + M)²
    assert radius_of_gyration(dumbbell, [1.0, 2.0])[0] == pytest.approx(np.sqrt(2.0))
    with pytest.raises(OptionError, match="2 masses"):
        radius_of_gyration(dumbbell, [1.0])
