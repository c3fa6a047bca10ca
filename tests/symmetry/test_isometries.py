from __future__ import annotations

import numpy as np
import pytest
from symmetric_molecules import (
    AMMONIA,
    CARBON_DIOXIDE,
    ETHENE,
    HYDROGEN_CYANIDE,
    METHANE,
    WATER,
    shaken,
)

from kraft.symmetry.distances import distance_matrices
from kraft.symmetry.group import is_group
from kraft.symmetry.isometries import isometries


def benzene():
    angles = np.arange(6) * np.pi / 3
    ring = np.column_stack([np.cos(angles), np.sin(angles), np.zeros(6)])
    return np.array([6] * 6 + [1] * 6), np.vstack([1.39 * ring, 2.48 * ring])


@pytest.mark.parametrize(
    ("molecule", "order"),
    [
        (METHANE, 24),
        (WATER, 2),
        (AMMONIA, 6),
        (CARBON_DIOXIDE, 2),
        (HYDROGEN_CYANIDE, 1),
        (ETHENE, 4),
        (benzene(), 12),
    ],
)
def test_point_groups(molecule, order):
    numbers, geometry = molecule
    found = isometries(distance_matrices(geometry[None])[0], numbers, 0.02)
    assert len(found) == order
    assert is_group(found)


def test_a_distorted_geometry_has_none():
    numbers, geometry = METHANE
    distances = distance_matrices(shaken(geometry, 1, noise=0.1, seed=2))[0]
    assert len(isometries(distances, numbers, 0.02)) == 1


def test_an_unordered_heap_of_equal_distances_is_given_up():
    distances = np.ones((12, 12)) - np.eye(12)
    assert len(isometries(distances, np.ones(12, dtype=np.int64), 0.02)) <= 20_000
    distances = np.ones((14, 14)) - np.eye(14)
    assert len(isometries(distances, np.ones(14, dtype=np.int64), 0.02)) == 1
