from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from kraft.core.errors import GeometryError
from kraft.symmetry.distances import distance_matrices, minimum_image


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000))
def test_minimum_image_is_the_shortest_of_many(seed):
    random = np.random.default_rng(seed)
    cell = 4.0 * np.eye(3) + 0.8 * random.uniform(-1, 1, (3, 3))
    displacements = random.uniform(-12, 12, (5, 3))
    shifts = np.array(list(itertools.product(range(-8, 9), repeat=3))) @ cell
    brute = np.linalg.norm(displacements[:, None] + shifts, axis=2).min(axis=1)
    assert_allclose(np.linalg.norm(minimum_image(displacements, cell), axis=1), brute)


def test_distances_are_symmetric_with_zero_diagonal():
    distances = distance_matrices(np.random.default_rng(0).standard_normal((4, 5, 3)))
    assert_allclose(distances, distances.transpose(0, 2, 1))
    assert (np.einsum("bii->bi", distances) == 0).all()


@pytest.mark.parametrize("shape", [(3, 3), (0, 3, 3), (2, 3, 2)])
def test_wrong_shapes(shape):
    with pytest.raises(GeometryError, match="shape"):
        distance_matrices(np.zeros(shape))


def test_values_that_are_not_finite():
    with pytest.raises(GeometryError, match="finite"):
        distance_matrices(np.full((1, 2, 3), np.nan))
