from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from contracts.solver_contract import positive_matrix

from kraft.core.errors import MemoryLimitError, OptionError, SolverError
from kraft.core.progress import silent
from kraft.linalg.dense_operator import DenseOperator
from kraft.solvers import IterativeSolver, SolverState, StopReason
from kraft.solvers.preconditioners import METHODS, preconditioner_method

UNIFORM = preconditioner_method("uniform")


def labels(operator, columns=None, smooth=True):
    shape = (operator.size,) if columns is None else (operator.size, columns)
    values = torch.tensor(np.random.default_rng(5).normal(size=shape))
    values = values.to(operator.device, operator.dtype)
    return operator.matrix @ values if smooth else values


def dense(operator, regularization, y):
    eye = torch.eye(operator.size, dtype=torch.float64, device=operator.device)
    return torch.linalg.solve(operator.matrix.double() + regularization * eye, y.double())


def true_residual(operator, regularization, coefficients, y):
    applied = operator.matrix @ coefficients + regularization * coefficients
    return float((torch.linalg.vector_norm(y - applied, dim=0) / y.norm(dim=0)).max())


@dataclass
class FailingOperator(DenseOperator):
    """Raises or returns something else once it made so many products."""

    def __init__(self, matrix, block_size=1, *, after, error=None, value=None):
        super().__init__(matrix, block_size)
        self.left, self.error, self.value = after, error, value

    def product(self, *, max_memory=None):
        inner = super().product(max_memory=max_memory)

        class Failing:
            memory = 0

            def __call__(_, vectors):
                self.left -= 1
                if self.left < 0 and self.error is not None:
                    raise self.error
                return inner(vectors) + (self.value if self.left < 0 else 0.0)

        return Failing()


@dataclass(frozen=True)
class Scripted:
    """A preconditioner that is of use only from some rank on."""

    name: ClassVar[str] = "scripted"
    useful_rank: int

    def build(self, operator, regularization, rank, *, rng, progress=silent, previous=None):
        del rng, progress
        old = () if previous is None else previous.landmarks
        added = np.setdiff1d(np.arange(operator.size), old)[: rank - len(old)]
        inverse = np.linalg.inv(operator.matrix.numpy() + regularization * np.eye(operator.size))
        useful = rank >= self.useful_rank
        spread = 10.0 ** np.random.default_rng(0).uniform(-6.0, 6.0, operator.size)

        class Built:
            name, memory, description = "scripted", 1000, "scripted"
            landmarks = np.concatenate([old, added]).astype(np.int64)

            @property
            def rank(self):
                return len(self.landmarks)

            def solve(self, vectors):
                return inverse @ vectors if useful else spread * vectors

        return Built()


def hard_operator(size=300):
    """Without a preconditioner its residual makes no progress in hundreds of steps."""
    return DenseOperator(positive_matrix(size, condition=1e6))


@pytest.mark.parametrize("name", [name for name in METHODS if name != "atomic-blocks"])
def test_every_method_solves_like_a_dense_solver(name, dtype, device):
    condition, tolerance = (1e6, 1e-9) if dtype == torch.float64 else (1e2, 1e-4)
    matrix = positive_matrix(120, condition=condition, dtype=dtype, device=device)
    operator, y = DenseOperator(matrix, 6), None
    y = labels(operator)
    solver = IterativeSolver(preconditioner_method(name), 30, tolerance=tolerance)
    outcome = solver.prepare(operator, 1e-3).solve(y)
    assert outcome.status == "converged" and outcome.converged and outcome.advice == ""
    outcome.require_converged()
    expected = dense(operator, 1e-3, y)
    error = (outcome.coefficients.double() - expected).norm() / expected.norm()
    assert float(error) < 1e3 * tolerance
    assert outcome.coefficients.dtype == dtype
    assert outcome.coefficients.device.type == device
    assert (outcome.solver, outcome.preconditioner) == ("iterative", name)


@pytest.mark.parametrize("remainder", ["blocks", "shift"])
@pytest.mark.parametrize("kind", ["number", "one a row"])
def test_tolerance_is_honored_by_the_residual_recomputed_here(remainder, kind):
    operator = DenseOperator(positive_matrix(200, condition=1e10), 5)
    weights = 1e-8 if kind == "number" else torch.linspace(1e-8, 1e-6, 200).double()
    method = preconditioner_method("random-pivoting", remainder=remainder)
    y = labels(operator)
    outcome = IterativeSolver(method, 60, tolerance=1e-6).prepare(operator, weights).solve(y)
    true = true_residual(operator, weights, outcome.coefficients, y)
    assert true <= 1e-6
    assert outcome.relative_residual == pytest.approx(true, rel=1e-3)


def test_several_right_hand_sides():
    operator = DenseOperator(positive_matrix(100), 4)
    y = labels(operator, 3)
    prepared = IterativeSolver(UNIFORM, 20, tolerance=1e-10).prepare(operator, 1e-4)
    outcome = prepared.solve(y)
    assert outcome.coefficients.shape == (100, 3)
    torch.testing.assert_close(outcome.coefficients, dense(operator, 1e-4, y), rtol=1e-5, atol=1e-6)
    single = prepared.solve(y[:, 1])
    torch.testing.assert_close(
        single.coefficients, outcome.coefficients[:, 1], rtol=1e-4, atol=1e-6
    )
    assert prepared.state().coefficients.shape == (100,)


def test_zero_has_the_solution_zero():
    operator = DenseOperator(positive_matrix(10))
    outcome = IterativeSolver(UNIFORM, 3).prepare(operator, 1e-6).solve(torch.zeros(10).double())
    assert float(outcome.coefficients.abs().max()) == 0.0
    assert outcome.status == "converged" and outcome.iterations == 0


def test_arguments_are_not_changed():
    operator = DenseOperator(positive_matrix(40).clone())
    y, weights = labels(operator), torch.full((40,), 1e-3).double()
    kept = operator.matrix.clone(), y.clone(), weights.clone()
    IterativeSolver(UNIFORM, 10).prepare(operator, weights).solve(y)
    assert all(map(torch.equal, kept, (operator.matrix, y, weights)))


def test_the_same_seed_gives_the_same_solution():
    operator = DenseOperator(positive_matrix(80), 4)
    y = labels(operator)
    first, second, other = (
        IterativeSolver(UNIFORM, 20, seed=seed).prepare(operator, 1e-5).solve(y).coefficients
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, second) and not torch.equal(first, other)


def test_a_stall_restarts_with_a_stronger_preconditioner_and_keeps_its_columns():
    operator = hard_operator()
    y = labels(operator)
    solver = IterativeSolver(Scripted(40), 20, tolerance=1e-8, rank_growth=1.5)
    prepared = solver.prepare(operator, 1e-13)
    seen = []

    def watch(iterate):
        seen.append((iterate.rank, iterate.restarts, tuple(prepared.preconditioner.landmarks)))

    outcome = prepared.solve(y, monitor=watch)
    assert outcome.status == "converged"
    assert outcome.restarts == 2 and outcome.rank == 45
    assert [rank for rank, _, _ in seen][:: len(seen) - 1] == [20, 45]
    assert prepared.preconditioner.landmarks[:20].tolist() == list(seen[0][2])
    assert {point.rank for point in outcome.history} == {20, 30, 45}
    assert true_residual(operator, 1e-13, outcome.coefficients, y) <= 1e-8


def test_a_real_method_keeps_its_columns_when_it_grows():
    operator = DenseOperator(positive_matrix(100, condition=1e8), 4)
    prepared = IterativeSolver(UNIFORM, 20).prepare(operator, 1e-6)
    before = prepared.preconditioner.landmarks.tolist()
    prepared.build(35)
    assert prepared.preconditioner.landmarks[:20].tolist() == before
    assert prepared.preconditioner.rank == 35
    y = labels(operator)
    assert true_residual(operator, 1e-6, prepared.solve(y).coefficients, y) <= 1e-4


@pytest.mark.parametrize("limit", ["memory", "growth", "restarts"])
def test_without_growth_it_gives_up_after_one_more_restart(limit):
    """Single precision cannot reach this tolerance."""
    operator = DenseOperator(positive_matrix(60, condition=1e3, dtype=torch.float32))
    needed = IterativeSolver.required_memory(operator.size, 1, 10, itemsize=4)
    options = {
        "memory": {"max_memory": needed},
        "growth": {"rank_growth": 1.0},
        "restarts": {"max_restarts": 0},
    }[limit]
    method = preconditioner_method("uniform", remainder="shift")
    solver = IterativeSolver(method, 10, tolerance=1e-12, max_iterations=100_000, **options)
    outcome = solver.prepare(operator, 0.01).solve(labels(operator))
    assert outcome.status == "stalled" and not outcome.converged
    assert outcome.rank == 10 and outcome.restarts == 1
    assert outcome.relative_residual < 1e-5
    for hint in ("--rank", "regularization", "--tolerance", "--accept-unconverged"):
        assert hint in outcome.advice
    with pytest.raises(SolverError, match="no longer made progress"):
        outcome.require_converged()


def test_resuming_reaches_the_same_solution():
    operator = DenseOperator(positive_matrix(200, condition=1e9), 5)
    y = labels(operator)
    solver = IterativeSolver(UNIFORM, 40, tolerance=1e-9, rank_growth=1.0)
    whole = solver.prepare(operator, 1e-6).solve(y)
    half = whole.iterations // 2

    def stop(iterate):
        return StopReason.INTERRUPTED if iterate.iteration == half else None

    first = solver.prepare(operator, 1e-6)
    interrupted = first.solve(y, monitor=stop)
    assert interrupted.status == "interrupted" and interrupted.iterations == half
    state = first.state()
    assert state.rank == 40 and state.history == interrupted.history
    second = solver.prepare(operator, 1e-6, start=state)
    assert second.preconditioner.landmarks.tolist() == state.landmarks.tolist()
    resumed = second.solve(y, start=state)
    assert resumed.status == "converged" and resumed.iterations > half
    assert resumed.history[: len(state.history)] == state.history
    assert resumed.history[-1].seconds > state.seconds
    torch.testing.assert_close(resumed.coefficients, whole.coefficients, rtol=1e-3, atol=1e-3)


def test_a_state_of_another_system_is_refused():
    operator = DenseOperator(positive_matrix(20))
    prepared = IterativeSolver(UNIFORM, 5).prepare(operator, 1e-3)
    with pytest.raises(ValueError, match=r"\(7,\).*\(20,\)"):
        prepared.solve(labels(operator), start=SolverState(np.zeros(7)))
    with pytest.raises(ValueError, match=r"expected right-hand sides \(20,\)"):
        prepared.solve(torch.zeros(7).double())


@pytest.mark.parametrize("reason", StopReason)
def test_a_monitor_stops_at_once_with_a_usable_solution(reason):
    operator = DenseOperator(positive_matrix(200, condition=1e9), 5)
    y = labels(operator)
    prepared = IterativeSolver(UNIFORM, 20, tolerance=1e-10).prepare(operator, 1e-8)
    told = []

    def monitor(iterate):
        told.append(iterate)
        if iterate.iteration == 20:
            iterate.record_validation(0.25)
        if iterate.iteration == 23:
            torch.testing.assert_close(
                iterate.coefficients(), torch.tensor(iterate.state().coefficients)
            )
            return reason
        return None

    outcome = prepared.solve(y, monitor=monitor)
    assert outcome.status == reason.value
    assert outcome.converged == (reason is StopReason.VALIDATION)
    assert bool(outcome.advice) != outcome.converged
    assert outcome.iterations == len(told) == 23
    assert [point.iteration for point in outcome.history] == [10, 20, 23]
    assert [point.valid_force_mae for point in outcome.history] == [None, 0.25, None]
    assert told[-1].seconds_left() is None or told[-1].seconds_left() >= 0.0
    true = true_residual(operator, 1e-8, outcome.coefficients, y)
    assert outcome.relative_residual == pytest.approx(true, rel=1e-6)
    np.testing.assert_allclose(prepared.state().coefficients, outcome.coefficients.numpy())


def test_max_iterations():
    operator = hard_operator()
    solver = IterativeSolver(Scripted(10_000), 20, tolerance=1e-12, max_iterations=7)
    outcome = solver.prepare(operator, 1e-13).solve(labels(operator))
    assert outcome.status == "max_iterations" and outcome.iterations == 7
    assert "7 iterations" in outcome.advice


def test_an_interruption_inside_the_product_leaves_a_usable_state():
    matrix = positive_matrix(200, condition=1e9)
    operator = FailingOperator(matrix, 5, after=40, error=KeyboardInterrupt())
    y = labels(operator)
    solver = IterativeSolver(UNIFORM, 20, tolerance=1e-6)
    prepared = solver.prepare(operator, 1e-6)
    assert prepared.state() is None
    with pytest.raises(KeyboardInterrupt):
        prepared.solve(y)
    state = prepared.state()
    assert 35 <= state.iteration <= 40
    true = true_residual(operator, 1e-6, torch.tensor(state.coefficients), y)
    assert state.relative_residual == pytest.approx(true, rel=1e-6)
    sound = DenseOperator(matrix, 5)
    assert solver.prepare(sound, 1e-6, start=state).solve(y, start=state).status == "converged"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_end_with_the_last_good_iterate(value):
    operator = FailingOperator(positive_matrix(200, condition=1e9), 5, after=60, value=value)
    y = labels(operator)
    outcome = IterativeSolver(UNIFORM, 20, tolerance=1e-10).prepare(operator, 1e-8).solve(y)
    assert outcome.status == "breakdown"
    assert torch.isfinite(outcome.coefficients).all()
    with pytest.raises(SolverError, match=r"broke down .*larger regularization"):
        outcome.require_converged()


def test_an_indefinite_matrix_is_a_breakdown():
    matrix = positive_matrix(60)
    matrix[7, 7] = -5.0
    solver = IterativeSolver(preconditioner_method("none"), 0)
    outcome = solver.prepare(DenseOperator(matrix), 1e-10).solve(torch.ones(60).double())
    assert outcome.status == "breakdown"
    assert "not positive definite" in outcome.advice


@pytest.mark.parametrize("consistent", [True, False])
@pytest.mark.parametrize("remainder", ["blocks", "shift"])
@pytest.mark.parametrize("regularization", [0.0, 1e-16])
def test_duplicate_frames_end_with_a_clear_status(consistent, remainder, regularization):
    """A singular system; with labels that agree on the copies, and with some that do not."""
    base = positive_matrix(60, condition=1e4)
    rows = np.concatenate([np.arange(60), np.arange(9)])
    operator = DenseOperator(base[rows][:, rows].contiguous(), 3)
    y = labels(operator)
    if not consistent:
        y[-1] += 1.0
    method = preconditioner_method("uniform", remainder=remainder)
    try:
        prepared = IterativeSolver(method, 15).prepare(operator, regularization)
    except SolverError:
        return  # refused beforehand with advice of its own
    outcome = prepared.solve(y)
    assert torch.isfinite(outcome.coefficients).all()
    if outcome.status == "converged":
        assert consistent
        assert true_residual(operator, regularization, outcome.coefficients, y) <= 1e-4
    else:
        assert outcome.status in {"stalled", "breakdown", "max_iterations"}
        assert "regularization" in outcome.advice


def test_a_little_regularization_makes_duplicate_frames_solvable():
    rows = np.concatenate([np.arange(60), np.arange(9)])
    operator = DenseOperator(positive_matrix(60, condition=1e4)[rows][:, rows].contiguous(), 3)
    outcome = IterativeSolver(UNIFORM, 15).prepare(operator, 1e-10).solve(labels(operator))
    assert outcome.status == "converged"


def test_too_little_memory_is_refused_beforehand():
    operator = FailingOperator(positive_matrix(100), 5, after=0, error=AssertionError())
    needed = IterativeSolver.required_memory(100, 5, 30, block_geometries=1)
    with pytest.raises(MemoryLimitError, match=r"30 columns needs .*--rank .*--max-memory"):
        IterativeSolver(UNIFORM, 30, max_memory=needed - 1).prepare(operator, 1e-6)
    IterativeSolver(UNIFORM, 30, max_memory=needed).prepare(operator, 1e-6)


def test_required_memory_is_that_of_the_columns_and_little_more():
    size, rank = 63_000, 3150
    needed = IterativeSolver.required_memory(size, 57, rank, block_geometries=1)
    assert 8 * size * rank < needed < 1.25 * 8 * size * rank
    prepared = IterativeSolver(UNIFORM, 60).prepare(DenseOperator(positive_matrix(400), 5), 1e-3)
    assert prepared.memory <= IterativeSolver.required_memory(400, 5, 60, block_geometries=1)


@pytest.mark.parametrize(
    "options", [{"tolerance": 0.0}, {"tolerance": 1.0}, {"rank_growth": 0.5}, {"check_interval": 0}]
)
def test_options_outside_their_range(options):
    with pytest.raises(OptionError):
        IterativeSolver(UNIFORM, 10, **options)
    with pytest.raises(OptionError, match="-1"):
        IterativeSolver(UNIFORM, -1)


def test_interrupted_growth_can_be_solved_with_again():
    operator = DenseOperator(positive_matrix(100, condition=1e6), 4)
    y = labels(operator)
    prepared = IterativeSolver(UNIFORM, 20).prepare(operator, 1e-5)

    def interrupt(stage, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepared.build(40, interrupt)
    assert prepared.solve(y).status == "converged"
