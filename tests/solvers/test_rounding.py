import numpy as np
import pytest
import torch
from smooth_data import vibrations

from kraft.core.errors import IllConditionedError, SolverError
from kraft.linalg import NotPositiveDefiniteError
from kraft.linalg.dense_operator import DenseOperator
from kraft.linalg.operators import assembled_panels
from kraft.models.preparation import training_arrays
from kraft.solvers.dense import TOLERATED_RESIDUAL
from kraft.solvers.rounding import MOST_RAISES, by_raising, norm_bound, shortfall


def smooth_system(n=60, noise=0.0):
    data = vibrations(n, noise=noise)
    arrays = training_arrays(data, None, np.arange(3)[None], None, 0.0, "cpu")
    operator, _ = arrays.operator("gaussian", 3.0)
    return operator, arrays.labels.vector(operator)


def random_blocks(n_blocks, size=3):
    factor = torch.tensor(np.random.default_rng(0).normal(size=(n_blocks * size, 4)))
    return DenseOperator(factor @ factor.T, size)


@pytest.mark.parametrize("n_blocks", [1, 7])
def test_the_bound_is_above_the_norm(n_blocks):
    operator = random_blocks(n_blocks)
    norm = float(torch.linalg.eigvalsh(operator.to_dense())[-1])
    assert norm * (1.0 - 1e-12) <= norm_bound(operator) <= n_blocks * norm


def test_the_bound_is_reached_by_geometries_that_are_alike():
    operator, _ = smooth_system()
    norm = float(torch.linalg.eigvalsh(operator.to_dense())[-1])
    assert norm_bound(operator) == pytest.approx(norm, rel=0.05)


@pytest.mark.parametrize("weight", [4.0, torch.linspace(1.0, 3.0, 21, dtype=torch.float64)])
def test_weights_scale_rows_and_columns(weight):
    operator = random_blocks(7)
    roots = torch.as_tensor(weight).sqrt() * torch.ones(21, dtype=torch.float64)
    scaled = DenseOperator(operator.to_dense() / roots / roots[:, None], 3)
    assert norm_bound(operator, weight) == pytest.approx(norm_bound(scaled), rel=1e-12)


@pytest.mark.parametrize("noise", [0.0, 0.5], ids=["fitted", "unfitted"])
def test_the_shortfall_bounds_what_rounding_does(noise):
    """Where it is at most 1, there is a factor, and the residual is what is tolerated."""
    operator, y = smooth_system(noise=noise)
    norm = norm_bound(operator)
    seen = set()
    for exponent in np.arange(-6.0, -22.0, -1.0):
        regularization = norm * 10.0**exponent
        panels = assembled_panels(operator)
        panels.add_to_diagonal(regularization)
        try:
            solution = panels.factorize_().solve(y)
        except NotPositiveDefiniteError:
            assert shortfall(norm, regularization) > 1.0
            continue
        unfitted = regularization * float(solution.norm() / y.norm())
        factor = shortfall(norm, regularization, unfitted)
        applied = operator.matmul(solution) + regularization * solution
        residual = float((y - applied).norm() / y.norm())
        assert residual <= TOLERATED_RESIDUAL * max(factor, 1e-9)
        seen.add(factor <= 1.0)
    assert seen == {True, False}


def test_the_shortfall_falls_with_the_regularization():
    assert shortfall(1e3, 1e-6) == pytest.approx(1e3 * 2.220446049250313e-16 / 1e-6)
    assert shortfall(1e3, 1e-6, 0.1) == pytest.approx(1e3 * shortfall(1e3, 1e-6))
    assert shortfall(1.0, 0.0) == np.inf


def test_raises_by_steps_until_it_succeeds():
    factors = []

    def attempt(factor):
        factors.append(factor)
        if factor < 5e3:
            raise IllConditionedError("too little", shortfall=50.0 if factor > 5.0 else 2.0)
        return "solved"

    assert by_raising(attempt) == ("solved", 1e5)
    assert factors == [1.0, 10.0, 1e3, 1e5]


def test_raises_no_further_than_that():
    factors = []

    def attempt(factor):
        factors.append(factor)
        raise IllConditionedError("never")

    with pytest.raises(IllConditionedError, match="never"):
        by_raising(attempt)
    assert len(factors) == MOST_RAISES + 1

    def other(factor):
        factors.append(factor)
        raise SolverError("of another kind")

    with pytest.raises(SolverError, match="another kind"):
        by_raising(other)
    assert len(factors) == MOST_RAISES + 2
