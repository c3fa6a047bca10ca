from __future__ import annotations

import numpy as np
import pytest

from kraft.analysis.preconditioner_study.candidates import Candidate, build
from kraft.analysis.preconditioner_study.lockstep import count_iterations
from kraft.solvers.conjugate_gradients import ConjugateGradients

TOLERANCE = 1e-4


class Scaled:
    """A preconditioner that divides by given numbers."""

    def __init__(self, values):
        self._values = values

    def solve(self, vectors):
        return vectors / (self._values if vectors.ndim == 1 else self._values[:, None])


@pytest.fixture(scope="module")
def preconditioners(system):
    chosen = [
        Candidate("none", "", 0),
        Candidate("uniform", "shift", 60),
        Candidate("uniform", "blocks", 60),
        Candidate("random-pivoting", "shift", 120),
    ]
    return [build(c, system.operator, system.regularization).preconditioner for c in chosen]


def alone(matrix, system, preconditioner) -> int:
    """Iterations of the solver's own recurrence with one preconditioner."""

    def apply(vectors):
        return matrix @ vectors + system.regularization * vectors

    iteration = ConjugateGradients(
        apply, preconditioner.solve, system.right_hand_side.numpy()[:, None], tolerance=TOLERANCE
    )
    for step in range(1, 5000):
        iteration.step()
        if iteration.claims().any():
            iteration.refresh(iteration.claims())
        if iteration.converged:
            return step
    raise AssertionError("did not converge")


def test_counts_are_those_of_each_system_alone(system, matrix, preconditioners):
    counts = list(
        count_iterations(
            lambda v: matrix @ v,
            system.right_hand_side.numpy(),
            system.regularization,
            preconditioners,
            tolerance=TOLERANCE,
            max_iterations=5000,
        )
    )
    assert sorted(count.index for count in counts) == [0, 1, 2, 3]
    assert all(count.converged and count.relative_residual <= TOLERANCE for count in counts)
    for count in counts:
        expected = alone(matrix, system, preconditioners[count.index])
        # sums in another order change the last digits, and those a few of the many steps
        assert count.iterations == pytest.approx(expected, rel=0.08, abs=3)
    order = [count.iterations for count in counts]
    assert order == sorted(order)


def test_exact_inverse_converges_in_one_step():
    values = np.linspace(1.0, 50.0, 40)
    counts = list(
        count_iterations(
            lambda v: (values * v.T).T, np.ones(40), 0.0, [Scaled(values), Scaled(np.ones(40))]
        )
    )
    assert (counts[0].index, counts[0].iterations) == (0, 1)
    assert counts[1].index == 1 and 1 < counts[1].iterations <= 40


@pytest.mark.parametrize(
    ("limits", "status"),
    [({"max_iterations": 3}, "max_iterations"), ({"max_seconds": 0.0}, "max_time")],
)
def test_limits_end_what_has_not_converged(limits, status):
    values = np.geomspace(1.0, 1e6, 60)
    (count,) = count_iterations(
        lambda v: (values * v.T).T, np.ones(60), 0.0, [Scaled(np.ones(60))], **limits
    )
    assert (count.status, count.converged) == (status, False)
    assert count.relative_residual > 1e-4


def test_breakdown_of_one_does_not_stop_the_others():
    values = np.linspace(1.0, 50.0, 40)
    wrong = Scaled(np.where(np.arange(40) == 0, -1e-3, 1.0))
    counts = list(
        count_iterations(
            lambda v: (values * v.T).T,
            np.ones(40),
            0.0,
            [wrong, Scaled(np.ones(40)), Scaled(values)],
        )
    )
    assert {c.index: c.status for c in counts} == {0: "breakdown", 1: "converged", 2: "converged"}


def test_nothing_to_count():
    assert list(count_iterations(lambda v: v, np.ones(3), 0.0, [])) == []
