"""What single methods promise beyond the shared suite."""

import tracemalloc

import numpy as np
import pytest
from contracts.preconditioner_contract import kernel_matrix, stored
from scipy.linalg.lapack import dpstrf

import kraft.solvers.preconditioners.dense_study as dense_study
from kraft.core.errors import OptionError
from kraft.linalg.partial_cholesky import PartialCholesky
from kraft.solvers.preconditioners import METHODS, preconditioner_method
from kraft.solvers.preconditioners.dense_study import Spectrum
from kraft.solvers.preconditioners.leverage import ridge_leverage_scores
from kraft.solvers.preconditioners.random_pivoting import RandomPivoting, accept
from kraft.solvers.preconditioners.random_pivoting_plain import PlainRandomPivoting
from kraft.solvers.preconditioners.svd import Svd


def _build(name, matrix, rank, *, seed=0, regularization=1e-8, **options):
    method = preconditioner_method(name, **options)
    return method.build(stored(matrix), regularization, rank, rng=np.random.default_rng(seed))


def _condition(matrix, made, regularization):
    inverse = made.solve(np.eye(len(matrix)))
    root = np.linalg.cholesky(0.5 * (inverse + inverse.T))
    values = np.linalg.eigvalsh(root.T @ (matrix + regularization * np.eye(len(matrix))) @ root)
    return values[-1] / values[0]


def test_greedy_pivots_are_those_of_lapack():
    matrix = kernel_matrix() * np.outer(*[np.linspace(1.0, 2.0, 132)] * 2)
    made = _build("incomplete-cholesky", matrix, 50)
    assert np.array_equal(made.landmarks, dpstrf(matrix, lower=0)[1][:50] - 1)


def test_eigenvectors_are_the_bound():
    matrix = kernel_matrix(width=1.5)
    conditions = {
        name: _condition(
            matrix, _build(name, matrix, 40, remainder="shift", regularization=1e-6), 1e-6
        )
        for name in ("svd", "random-pivoting", "incomplete-cholesky", "uniform", "leverage")
    }
    assert all(conditions["svd"] <= other * (1 + 1e-6) for other in conditions.values())


def test_blocks_improve_on_a_shift():
    matrix = kernel_matrix(width=1.5)
    shift, blocks = (
        _condition(matrix, _build("random-pivoting", matrix, 40, remainder=r), 1e-8)
        for r in ("shift", "blocks")
    )
    assert blocks < 0.9 * shift


def test_pivots_drawn_in_blocks_are_distributed_as_those_drawn_one_by_one():
    """Two clusters of different weights: how often each pair of clusters is hit."""
    matrix = np.zeros((6, 6))
    matrix[:3, :3], matrix[3:, 3:] = 1.0, 0.25
    matrix[np.diag_indices(6)] += 0.3
    counts = []
    for method in (RandomPivoting, PlainRandomPivoting):
        drawn = []
        for seed in range(500):
            factor = PartialCholesky(stored(matrix, block=1), 2)
            method().select(factor, 2, 0.0, np.random.default_rng(seed), lambda *_: None)
            drawn.append(int((factor.indices >= 3).sum()))
        counts.append(np.bincount(drawn, minlength=3) / len(drawn))
    np.testing.assert_allclose(counts[0], counts[1], atol=0.08)
    assert counts[0].min() > 0.05


def test_proposals_are_kept_by_what_is_left_of_them():
    matrix = np.array([[1.0, 0.8, 0.0], [0.8, 1.0, 0.0], [0.0, 0.0, 1.0]])
    positions, never, ever = np.array([0, 1, 0, 2]), np.full(4, 0.9), np.full(4, 0.1)
    order, upper = accept(matrix, positions, never, 1e-12)
    assert list(order) == [0, 2]  # 1 has 0.36 left of 1, 0 is taken
    np.testing.assert_allclose(upper, np.eye(2))
    order, upper = accept(matrix, positions, ever, 1e-12)
    assert list(order) == [0, 1, 2]
    np.testing.assert_allclose(upper.T @ upper, matrix[np.ix_(order, order)], atol=1e-12)


def test_leverage_scores_of_all_columns_are_exact():
    matrix = kernel_matrix(width=1.0)
    operator, rng = stored(matrix), np.random.default_rng(0)
    scores = ridge_leverage_scores(operator, 1e-2, len(matrix), rng, lambda *_: None)
    expected = np.diag(matrix @ np.linalg.inv(matrix + 1e-2 * np.eye(len(matrix))))
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_a_known_spectrum_is_used():
    matrix = kernel_matrix()
    spectrum = Spectrum.of(stored(matrix), 30)
    np.testing.assert_allclose(spectrum.values, np.linalg.eigvalsh(matrix)[:-31:-1], atol=1e-12)
    made = Svd(spectrum=spectrum).build(stored(matrix), 1e-3, 20)
    fresh = _build("svd", matrix, 20, regularization=1e-3, remainder="shift")
    vector = np.ones(len(matrix))
    np.testing.assert_allclose(made.solve(vector), fresh.solve(vector), rtol=1e-6)
    with pytest.raises(OptionError, match="30 eigenvectors"):
        Svd(spectrum=spectrum).build(stored(matrix), 1e-3, 40)


@pytest.mark.parametrize("name", ["svd", "rank-leverage", "atomic-blocks"])
def test_studies_are_refused_for_large_matrices(name, monkeypatch):
    monkeypatch.setattr(dense_study, "STUDY_LIMIT", 100)
    operator = stored(kernel_matrix())
    operator.cartesian_basis = np.zeros((22, 2, 3, 6))
    with pytest.raises(OptionError, match="at most 100 labels, but there are 132"):
        preconditioner_method(name).build(operator, 1e-3, 10, rng=np.random.default_rng(0))


def test_names():
    assert next(iter(METHODS)) == "random-pivoting"
    assert all(preconditioner_method(name).name == name for name in METHODS)
    with pytest.raises(OptionError, match=r"'best'.*random-pivoting, .*none"):
        preconditioner_method("best")
    with pytest.raises(OptionError, match="not be negative"):
        _build("uniform", kernel_matrix(), -1)


@pytest.mark.parametrize("name", ["uniform", "random-pivoting", "incomplete-cholesky"])
def test_memory_is_the_rank_times_the_size(name):
    matrix = kernel_matrix(1500, width=1.0)
    operator = stored(matrix)
    rng = np.random.default_rng(0)
    tracemalloc.start()
    made = preconditioner_method(name, remainder="shift").build(operator, 1e-6, 240, rng=rng)
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    expected = 8 * 1500 * made.rank
    assert made.rank == 240
    assert expected <= made.memory <= 1.1 * expected
    assert kept <= 1.12 * expected
