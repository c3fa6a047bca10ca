import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import kraft.linalg.row_arithmetic as module
from kraft.linalg.arrays import host, native
from kraft.linalg.row_arithmetic import (
    divide_,
    multiply_,
    pack,
    pivoted_cholesky,
    squared_columns,
    subtract_product_,
    triangle_by_products,
    triangle_by_reflections,
    unpack,
)


@pytest.fixture
def draw(dtype, device):
    rng = np.random.default_rng(0)

    def normal(*shape):
        return native(torch.tensor(rng.normal(size=shape), dtype=dtype, device=device))

    return normal


def _close(actual, expected, dtype):
    tolerance = 1e3 * torch.finfo(dtype).eps
    np.testing.assert_allclose(host(actual), host(expected), rtol=tolerance, atol=tolerance)


def test_products_are_subtracted_in_place(draw, dtype):
    target, coefficients, rows = draw(4, 30), draw(7, 4), draw(7, 30)
    whole = draw(9, 30)
    whole[:4] = target
    expected, part = target - coefficients.T @ rows, whole[:4]
    subtract_product_(part, coefficients, rows)
    _close(whole[:4], expected, dtype)


def test_division_and_multiplication_undo_each_other(draw, dtype):
    rows = draw(6, 40)
    before = host(rows).copy()
    triangle = triangle_by_products(draw(6, 50))
    divide_(rows, triangle)
    _close(host(triangle).T @ host(rows), before, dtype)
    multiply_(rows, triangle)
    _close(rows, before, dtype)


@pytest.mark.parametrize("chunk", [1, 300, 10_000_000])
def test_both_triangles_are_the_same(draw, dtype, chunk, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", chunk)
    rows = draw(6, 200)
    before = host(rows).copy()
    expected = np.eye(6) + before @ before.T
    for triangle in (triangle_by_products(rows), triangle_by_reflections(rows)):
        triangle = host(triangle)
        assert np.array_equal(np.triu(triangle), triangle)
        _close(triangle.T @ triangle / expected.max(), expected / expected.max(), dtype)
    assert np.array_equal(host(rows), before)


def test_reflections_keep_what_products_lose():
    """Rows of size 1e9 that depend on each other: their products drown the identity."""
    direction = np.random.default_rng(0).normal(size=300)
    rows = 1e9 * np.stack([direction, direction]) / np.linalg.norm(direction)
    triangle = triangle_by_reflections(rows)
    assert triangle[1, 1] ** 2 == pytest.approx(2.0, rel=1e-5)  # eigenvalues 1 and 1 + 2e18
    rough = triangle_by_products(rows)
    assert rough is None or abs(rough[1, 1] ** 2 - 2.0) > 0.5


@given(size=st.integers(1, 9))
def test_packed_triangles_come_back(size):
    upper = np.triu(np.random.default_rng(size).normal(size=(size, size)))
    assert len(pack(upper)) == size * (size + 1) // 2
    assert np.array_equal(unpack(pack(upper), size), upper)
    packed = pack(torch.as_tensor(upper))
    assert torch.equal(unpack(packed, size), torch.as_tensor(upper))


def test_sums_of_squares(draw, dtype):
    rows = draw(5, 11)
    _close(squared_columns(rows), (host(rows) ** 2).sum(axis=0), dtype)


def test_a_semidefinite_matrix_is_factorized_as_far_as_it_goes():
    root = np.random.default_rng(0).normal(size=(8, 3))
    matrix = root @ root.T
    order, upper = pivoted_cholesky(matrix, 1e-12)
    assert len(order) == 3 and len(set(order)) == 3
    np.testing.assert_allclose(upper.T @ upper, matrix[np.ix_(order, order)], atol=1e-12)
    assert len(pivoted_cholesky(np.zeros((3, 3)), 0.0)[0]) == 0
    assert len(pivoted_cholesky(np.zeros((0, 0)), 0.0)[0]) == 0
