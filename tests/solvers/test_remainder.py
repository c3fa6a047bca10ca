import numpy as np
import pytest
import torch
from contracts.preconditioner_contract import BLOCK, block_part, kernel_matrix, stored

from kraft.core.errors import OptionError, SolverError
from kraft.linalg.arrays import host, native_empty
from kraft.solvers.remainder import Blocks, Shift

N = 132


def _make(kind, matrix, weights, dtype=torch.float64, device="cpu"):
    operator = stored(matrix, dtype=dtype, device=device)
    if kind == "shift":
        return Shift(weights, operator.diagonal()), np.diag(np.broadcast_to(weights, N))
    rows = native_empty((0, N), dtype, device)
    geometries = int(kind)
    dense = block_part(matrix, geometries * BLOCK) + np.diag(np.broadcast_to(weights, N))
    return Blocks(operator, rows, weights, geometries), dense


@pytest.mark.parametrize("kind", ["shift", "1", "4", "5", "22", "99"])
@pytest.mark.parametrize("weights", [1e-2, np.geomspace(1e-3, 1e-1, N)], ids=["one", "many"])
def test_halves_make_the_inverse(kind, weights):
    remainder, dense = _make(kind, kernel_matrix(), weights)
    vectors = np.random.default_rng(0).normal(size=(N, 3))
    halves = remainder.half_solve(vectors)
    np.testing.assert_allclose(remainder.half_solve(vectors[:, 0]), halves[:, 0], atol=1e-12)
    solved = remainder.half_solve_transposed(halves)
    np.testing.assert_allclose(dense @ solved, vectors, atol=1e-10)
    rows = vectors.T.copy()
    remainder.whiten_(rows)
    np.testing.assert_allclose(rows, halves.T, atol=1e-10)
    remainder.color_(rows)
    np.testing.assert_allclose(rows, vectors.T, atol=1e-12)


def test_the_low_rank_part_is_taken_off():
    matrix = kernel_matrix()
    rows = np.linalg.cholesky(matrix + 1e-12 * np.eye(N)).T[:10].copy()
    before = rows.copy()
    blocks = Blocks(stored(matrix), rows, 1e-3, 3)
    dense = block_part(matrix - rows.T @ rows, 3 * BLOCK) + 1e-3 * np.eye(N)
    inverse = blocks.half_solve_transposed(blocks.half_solve(np.eye(N)))
    np.testing.assert_allclose(inverse @ dense, np.eye(N), atol=1e-9)
    assert np.array_equal(rows, before) and blocks.jitter == 0.0


def test_rounding_is_repaired_and_reported():
    matrix = kernel_matrix(duplicates=60)
    matrix = matrix[::-1, ::-1].copy()
    rows = np.zeros((0, N))
    blocks = Blocks(stored(matrix), rows, 0.0, 22)
    assert 0.0 < blocks.jitter < 1e-12
    assert np.isfinite(blocks.half_solve(np.ones(N))).all()


def test_a_shift_of_zero_is_raised_to_rounding():
    shift = Shift(0.0, np.ones(4))
    assert np.isfinite(shift.half_solve(np.ones(4))).all()
    assert np.isfinite(Shift(np.zeros(4), np.zeros(4)).half_solve(np.zeros(4))).all()


def test_memory():
    matrix = kernel_matrix()
    rows = np.zeros((0, N))
    assert Blocks(stored(matrix), rows, 1e-3, 2).memory == 8 * 11 * (2 * BLOCK) ** 2
    assert Blocks(stored(matrix), rows, 1e-3, 4).memory == 8 * BLOCK**2 * (5 * 16 + 4)
    assert Shift(1e-3, np.ones(N)).memory == 8
    assert Shift(np.ones(N), np.ones(N)).memory == 8 * N


def test_errors():
    matrix = kernel_matrix()
    with pytest.raises(OptionError, match="at least 1 geometry"):
        Blocks(stored(matrix), np.zeros((0, N)), 1e-3, 0)
    matrix[3, 3] = np.nan
    with pytest.raises(SolverError, match="not positive definite"):
        Blocks(stored(matrix), np.zeros((0, N)), 1e-3)


def test_on_the_device(dtype, device):
    tolerance = 1e4 * torch.finfo(dtype).eps
    remainder, dense = _make("4", kernel_matrix(), 0.1, dtype, device)
    vector = native_empty((N,), dtype, device)
    vector[...] = 1.0
    solved = remainder.half_solve_transposed(remainder.half_solve(vector))
    np.testing.assert_allclose(dense @ host(solved), np.ones(N), atol=tolerance)
