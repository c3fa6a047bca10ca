import tracemalloc

import numpy as np
import pytest
from contracts.preconditioner_contract import kernel_matrix, stored

import kraft.linalg.woodbury as module
from kraft.linalg import row_arithmetic
from kraft.linalg.woodbury import Woodbury
from kraft.solvers.remainder import Blocks, Shift


@pytest.fixture(params=["products", "reflections"])
def triangle(request, monkeypatch):
    limit = np.inf if request.param == "products" else 0.0
    monkeypatch.setattr(module, "WELL_CONDITIONED", limit)


@pytest.mark.parametrize("kind", ["shift", "blocks"])
def test_inverts_and_gives_the_factor_back(triangle, kind):
    matrix = kernel_matrix()
    rows = np.random.default_rng(0).normal(size=(20, len(matrix)))
    before = rows.copy()
    operator = stored(matrix + 50.0 * np.eye(len(matrix)))
    nothing = np.zeros((0, len(matrix)))
    remainder = Shift(0.1, operator.diagonal())
    rest = 0.1 * np.eye(len(matrix))
    if kind == "blocks":
        remainder = Blocks(operator, nothing, 0.1, geometries=22)
        rest = operator.matrix.numpy() + rest
    inverse = Woodbury(rows, remainder)
    dense = before.T @ before + rest
    np.testing.assert_allclose(
        inverse.solve(np.eye(len(matrix))) @ dense, np.eye(len(matrix)), atol=1e-10
    )
    assert inverse.restore() is rows
    np.testing.assert_allclose(rows, before, atol=1e-11)
    assert inverse.rank == 0


def test_scores_are_ridge_leverage_scores(triangle):
    rows = np.random.default_rng(0).normal(size=(10, 40))
    low = rows.T @ rows
    expected = np.diag(low @ np.linalg.inv(low + 0.5 * np.eye(40)))
    scores = Woodbury(rows, Shift(0.5, np.ones(40))).scores()
    np.testing.assert_allclose(scores, expected, rtol=1e-10)


def test_a_tiny_shift_loses_nothing_that_matters(triangle):
    """Eigenvalues 1e11 times the shift: the large directions are still solved to four digits."""
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(300, 30)))[0].T.copy()
    values = np.geomspace(30.0, 1e-9, 30)
    inverse = Woodbury(directions * np.sqrt(values)[:, None], Shift(1e-10, np.full(300, 0.1)))
    solved = directions @ inverse.solve(directions.T.copy()) * (values + 1e-10)
    np.testing.assert_allclose(solved, np.eye(30), atol=1e-3)


@pytest.mark.parametrize("shift", [1e-2, 1e-14])
def test_memory_is_that_of_the_rows(shift):
    n, rank = 20_000, 150
    tracemalloc.start()
    rows = np.random.default_rng(0).normal(size=(rank, n))
    tracemalloc.reset_peak()
    inverse = Woodbury(rows, Shift(shift, np.ones(n)))
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert inverse.memory == pytest.approx(8 * n * rank, rel=0.01)
    assert kept == pytest.approx(8 * n * rank, rel=0.02)
    chunk = 8 * row_arithmetic.CHUNK_ELEMENTS
    assert peak < 8 * n * rank * 1.1 + 2 * chunk
