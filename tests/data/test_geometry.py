from __future__ import annotations

from dataclasses import replace

import numpy as np
from ase.geometry import get_distances

from kraft.data import Dataset
from kraft.data.geometry import duplicate_groups, pair_distances


def test_distances_are_those_of_ase() -> None:
    rng = np.random.default_rng(0)
    positions = rng.uniform(-9, 9, size=(3, 5, 3))
    cell = np.diag([6.0, 7.0, 8.0]) + 0.3 * rng.normal(size=(3, 3))
    upper = np.triu_indices(5, 1)
    for index, frame in enumerate(positions):
        free = get_distances(frame)[1][upper]
        np.testing.assert_allclose(pair_distances(positions)[index], free)
        periodic = get_distances(frame, cell=cell, pbc=True)[1][upper]
        found = pair_distances(positions, cell)[index]
        # Only within half the inscribed sphere is rounding in the cell exact.
        near = periodic < 2.5
        assert near.any()
        np.testing.assert_allclose(found[near], periodic[near])


def test_copies_are_found_whatever_their_pose(springs: Dataset) -> None:
    positions = np.array(springs.positions)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    positions[20] = positions[3] @ rotation + 1.0  # rotated, perhaps mirrored, shifted
    positions[30] = positions[3]
    positions[50] = positions[40]
    positions[51] = positions[40] + 1e-4 * np.eye(4, 3)  # near, not the same
    groups = duplicate_groups(replace(springs, positions=positions))
    expected = np.arange(len(springs))
    expected[[20, 30, 50]] = [3, 3, 40]
    assert groups.tolist() == expected.tolist()


def test_all_frames_the_same() -> None:
    frame = np.random.default_rng(0).normal(size=(1, 3, 3))
    dataset = Dataset([1, 1, 1], frame.repeat(600, axis=0), np.zeros((600, 3, 3)))
    assert not duplicate_groups(dataset).any()
