import numpy as np
import pytest
import torch
from contracts.solver_contract import positive_matrix

from kraft.linalg.arrays import host, native
from kraft.solvers.conjugate_gradients import BreakdownError, ConjugateGradients


def identity(vectors):
    return vectors.copy() if isinstance(vectors, np.ndarray) else vectors.clone()


def make(matrix, b, precondition=identity, **options):
    array = native(matrix)
    return ConjugateGradients(lambda v: array @ v, precondition, b, **options)


def run(cg, limit=5000):
    for _ in range(limit):
        if cg.converged:
            return
        cg.step()
        cg.refresh(cg.claims())
    raise AssertionError(f"no convergence: {cg.relative_residual}")


def vectors(size, columns, dtype=torch.float64, device="cpu"):
    values = np.random.default_rng(1).normal(size=(size, columns))
    return native(torch.tensor(values, dtype=dtype, device=device))


@pytest.mark.parametrize("columns", [1, 3])
def test_solves_like_a_dense_solver(columns, dtype, device):
    matrix = positive_matrix(60, condition=100.0, dtype=dtype, device=device)
    b = vectors(60, columns, dtype, device)
    tolerance = 1e-10 if dtype == torch.float64 else 1e-5
    cg = make(matrix, b, tolerance=tolerance)
    run(cg)
    expected = np.linalg.solve(matrix.double().cpu().numpy(), host(b).astype(float))
    error = np.abs(host(cg.current.solution) - expected).max() / np.abs(expected).max()
    assert error < 200 * tolerance
    assert host(cg.current.solution).dtype == host(b).dtype


@pytest.mark.parametrize("columns", [1, 3])
def test_tensors_and_arrays_take_the_same_course(columns):
    """What runs on a GPU is the same code on tensors."""
    matrix, b = positive_matrix(60, condition=1e3), vectors(60, columns)
    b[:, 0] *= 1e-3 * np.arange(60)
    on_arrays = make(matrix, b, tolerance=1e-8)
    on_tensors = ConjugateGradients(lambda v: matrix @ v, identity, torch.tensor(b), tolerance=1e-8)
    run(on_arrays)
    run(on_tensors)
    assert isinstance(on_tensors.current.solution, torch.Tensor)
    np.testing.assert_allclose(
        host(on_tensors.current.solution), on_arrays.current.solution, rtol=1e-5, atol=1e-6
    )


def test_exact_preconditioner_needs_one_step():
    matrix = positive_matrix(40, condition=1e8)
    inverse = np.linalg.inv(matrix.numpy())
    cg = make(matrix, vectors(40, 1), lambda v: inverse @ v, tolerance=1e-6)
    cg.step()
    cg.refresh()
    assert cg.converged


def test_columns_are_independent_and_frozen_once_converged():
    matrix, b = positive_matrix(50, condition=1e3), vectors(50, 3)
    b[:, 1] = matrix.numpy() @ np.ones(50) * 1e-3  # smooth and small: converges at another step
    together = make(matrix, b, tolerance=1e-8)
    counts, seen = np.zeros(3, dtype=int), None
    while not together.converged:
        counts += ~together.current.converged
        together.step()
        together.refresh(together.claims())
        if together.current.converged[1] and seen is None:
            seen = together.current.solution[:, 1].copy()
    assert len(set(counts.tolist())) > 1
    np.testing.assert_array_equal(together.current.solution[:, 1], seen)
    for column in range(3):
        alone = make(matrix, b[:, [column]], tolerance=1e-8)
        run(alone)
        np.testing.assert_allclose(
            together.current.solution[:, column], alone.current.solution[:, 0], rtol=1e-6, atol=1e-9
        )


def test_energy_is_that_of_the_solution_and_falls_with_every_step():
    matrix, b = positive_matrix(50, condition=1e5), vectors(50, 1)
    cg = make(matrix, b, tolerance=1e-8)
    last = 0.0
    for _ in range(40):
        cg.step()
        x = cg.current.solution[:, 0]
        assert cg.energy < last
        assert cg.energy == pytest.approx(0.5 * x @ matrix.numpy() @ x - b[:, 0] @ x, rel=1e-9)
        last = cg.energy


def test_convergence_needs_a_recomputed_residual():
    """A product that drifts fools the recurrence, not the check."""
    matrix, b = positive_matrix(50, condition=100.0).numpy(), vectors(50, 1)
    exact = False

    def drifting(v):
        return matrix @ v * (1.0 if exact else 1.01)

    cg = ConjugateGradients(drifting, identity, b, tolerance=1e-6)
    while not np.any(cg.claims()):
        cg.step()
    assert not cg.converged
    exact = True
    drift = cg.refresh()
    assert drift > 0.1 and cg.current.fresh[0]
    assert not cg.converged and cg.relative_residual > 1e-3
    run(cg)
    np.testing.assert_allclose(matrix @ cg.current.solution, b, atol=1e-5)


def test_a_start_is_used():
    matrix, b = positive_matrix(30), vectors(30, 1)
    solution = np.linalg.solve(matrix.numpy(), b)
    assert make(matrix, b, tolerance=1e-6, start=solution).converged


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_end_it_with_the_last_iterate(bad):
    matrix, b = positive_matrix(30).numpy(), vectors(30, 1)
    poisoned = False
    cg = ConjugateGradients(
        lambda v: matrix @ v + (bad if poisoned else 0.0), identity, b, tolerance=1e-12
    )
    cg.step()
    before, poisoned = cg.current, True
    with pytest.raises(BreakdownError, match="finite"):
        cg.step()
    assert cg.current is before and np.isfinite(before.solution).all()


@pytest.mark.parametrize("what", ["matrix", "preconditioner"])
def test_an_indefinite_direction_is_noticed(what):
    sign = np.ones(30)
    sign[3:] = -1.0
    matrix = torch.tensor(np.diag(sign)) if what == "matrix" else positive_matrix(30)
    precondition = identity if what == "matrix" else lambda v: sign * v
    with pytest.raises(BreakdownError, match=f"{what} is not positive definite"):
        make(matrix, vectors(30, 1), precondition, tolerance=1e-6).step()


@pytest.mark.parametrize("where", ["product", "preconditioner"])
def test_an_interruption_leaves_the_step_before(where):
    matrix, b = positive_matrix(30).numpy(), vectors(30, 1)
    calls = {"product": 0, "preconditioner": 0}

    def count(name, result):
        calls[name] += 1
        if name == where and calls[name] == 5:
            raise KeyboardInterrupt
        return result

    cg = ConjugateGradients(
        lambda v: count("product", matrix @ v),
        lambda v: count("preconditioner", v.copy()),
        b,
        tolerance=1e-12,
    )
    for _ in range(4):
        cg.step()
    before = cg.current
    with pytest.raises(KeyboardInterrupt):
        cg.step()
    assert cg.current is before
    np.testing.assert_allclose(b - matrix @ before.solution, before.residual, atol=1e-12)
    cg.step()
