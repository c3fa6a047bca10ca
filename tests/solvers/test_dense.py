import numpy as np
import pytest
import torch
from contracts.solver_contract import MatrixOperator, SolverContract, positive_matrix

import kraft.solvers.dense as module
from kraft.core.errors import MemoryLimitError
from kraft.linalg.panels import panel_entries
from kraft.solvers import DenseCholesky


class TestDenseCholesky(SolverContract):
    make = DenseCholesky


def test_required_memory_bounds_what_is_allocated(monkeypatch):
    """Panels of the largest system, and what the factorization needs beside them."""
    assert DenseCholesky.required_memory(5000, 21) >= 8 * panel_entries(5000, 21)
    full = 8 * 20_000**2
    assert DenseCholesky.required_memory(20_000, 21) < 0.7 * full
    assert DenseCholesky.required_memory(5000, 21, 4) * 2 == DenseCholesky.required_memory(5000, 21)


def test_the_machine_sets_the_limit_when_none_is_given(monkeypatch):
    monkeypatch.setattr(module, "available_memory", lambda _: 10_000)
    with pytest.raises(MemoryLimitError, match=r"needs .* KiB for 50 labels, but may use 9\.8 KiB"):
        DenseCholesky().prepare(MatrixOperator(positive_matrix(50)), 1e-6)


def test_work_grows_with_the_cube():
    assert DenseCholesky.required_flops(2000) == pytest.approx(
        8 * DenseCholesky.required_flops(1000)
    )


def test_outcome_times_the_stages():
    operator = MatrixOperator(positive_matrix(50))
    y = torch.tensor(np.random.default_rng(0).normal(size=50))
    outcome = DenseCholesky().prepare(operator, 1e-6).solve(y)
    assert outcome.solver == "dense"
    seconds = (outcome.seconds_assembly, outcome.seconds_factorization, outcome.seconds_solve)
    assert all(second > 0.0 for second in seconds)


def test_the_prepared_factor_gives_the_log_determinant():
    matrix = positive_matrix(30)
    prepared = DenseCholesky().prepare(MatrixOperator(matrix), 1e-3)
    expected = torch.linalg.slogdet(matrix + 1e-3 * torch.eye(30, dtype=torch.float64))[1]
    assert prepared.factor.log_determinant() == pytest.approx(float(expected), rel=1e-10)
