import numpy as np
import pytest
import torch
from contracts.preconditioner_contract import kernel_matrix, nystrom, stored
from scipy.linalg.lapack import dpstrf

import kraft.linalg.partial_cholesky as module
from kraft.core.errors import SolverError
from kraft.linalg.arrays import host
from kraft.linalg.partial_cholesky import PartialCholesky


@pytest.fixture(params=[1, 7, 256], ids=["one by one", "narrow", "wide"])
def block(request, monkeypatch):
    monkeypatch.setattr(module, "COLUMN_BLOCK", request.param)


def test_is_the_nystrom_approximation(block, dtype, device):
    matrix = kernel_matrix()
    factor = PartialCholesky(stored(matrix, dtype=dtype, device=device), 40)
    chosen = np.random.default_rng(0).permutation(len(matrix))[:20]
    assert factor.extend(chosen) == factor.rank == 20
    rows = host(factor.rows).astype(float)
    tolerance = 1e3 * torch.finfo(dtype).eps
    np.testing.assert_allclose(rows.T @ rows, nystrom(matrix, chosen), atol=tolerance)
    left = np.diag(matrix - rows.T @ rows)
    np.testing.assert_allclose(host(factor.residual_diagonal), left, atol=tolerance)
    assert set(factor.indices) == set(chosen)
    # with its pivots in front the factor is triangular
    corner = rows[:, factor.indices]
    assert np.abs(np.tril(corner, -1)).max() < tolerance**0.5


def test_columns_come_in_parts_or_together():
    matrix = kernel_matrix()
    chosen = np.random.default_rng(0).permutation(len(matrix))[:30]
    together, parts = (PartialCholesky(stored(matrix), 30) for _ in range(2))
    together.extend(chosen)
    for part in np.array_split(chosen, 4):
        parts.extend(part)
    np.testing.assert_allclose(
        parts.rows.T @ parts.rows, together.rows.T @ together.rows, atol=1e-12
    )


def test_dependent_columns_are_left_out(block):
    matrix = kernel_matrix(duplicates=50)
    factor = PartialCholesky(stored(matrix), len(matrix))
    assert factor.extend(np.r_[:10, :10]) == 10
    assert factor.extend(np.arange(10)) == 0  # again
    assert factor.extend(len(matrix) - 50 + np.arange(10)) == 0  # their copies
    factor.extend(np.arange(len(matrix)))
    assert factor.rank <= len(matrix) - 50 and not len(factor.candidates())
    np.testing.assert_allclose(factor.rows.T @ factor.rows, matrix, atol=1e-9)


def test_no_more_columns_than_there_is_room_for(block):
    factor = PartialCholesky(stored(kernel_matrix()), 12)
    assert factor.extend(np.arange(10), limit=4) == 4
    assert factor.extend(np.arange(10, 40)) == 8 == factor.rank - 4
    assert factor.extend(np.arange(40, 50)) == 0


def test_growing_keeps_the_columns(device):
    factor = PartialCholesky(stored(kernel_matrix(), device=device), 10)
    factor.extend(np.arange(10))
    before = host(factor.rows).copy()
    factor.reserve(20)
    assert factor.capacity == 20 and np.array_equal(host(factor.rows), before)
    factor.extend(np.arange(20))
    assert factor.rank == 20
    factor.reserve(0)
    assert factor.capacity == 20 and np.array_equal(host(factor.rows[:10]), before)


@pytest.mark.parametrize("lookahead", [1, 5, 200])
def test_greedy_pivots_are_those_of_lapack(lookahead):
    matrix = kernel_matrix(width=3.0)
    matrix *= np.outer(*[np.linspace(1.0, 2.0, len(matrix))] * 2)  # no ties
    factor = PartialCholesky(stored(matrix), 40)
    while factor.rank < 40:
        assert factor.extend_greedily(lookahead) > 0
    expected, pivots, _, _ = dpstrf(matrix, lower=0)
    assert np.array_equal(factor.indices, pivots[:40] - 1)
    triangle = np.triu(expected)[:40][:, np.argsort(pivots)]
    np.testing.assert_allclose(factor.rows, triangle, atol=1e-10)


def test_greedy_pivots_end_with_the_matrix():
    matrix = kernel_matrix(duplicates=60)
    factor = PartialCholesky(stored(matrix), len(matrix))
    while factor.extend_greedily(8):
        pass
    assert factor.rank <= 72 and not len(factor.candidates())
    np.testing.assert_allclose(factor.rows.T @ factor.rows, matrix, atol=1e-9)


def test_entries_that_are_not_finite_are_an_error():
    matrix = kernel_matrix()
    matrix[3, 5] = matrix[5, 3] = np.nan
    factor = PartialCholesky(stored(matrix), 10)
    with pytest.raises(SolverError, match="not finite"):
        factor.extend(np.arange(10))
    with pytest.raises(SolverError, match="not finite"):
        for _ in range(len(matrix)):
            PartialCholesky(stored(matrix), len(matrix)).extend_greedily(1)
            factor = PartialCholesky(stored(np.diag([np.inf, 1.0]), block=1), 1)
