from __future__ import annotations

import dataclasses

import pytest
import torch

from kraft.kernels import KernelOperator
from kraft.models.iteration_rule import IterationRule
from kraft.models.solver_choice import (
    DENSE_LABELS,
    Speeds,
    choose_route,
    fastest_route,
    plan_solution,
)
from kraft.models.solver_costs import SystemSize, dense_cost, iterative_cost, iterative_memory
from kraft.models.solver_options import SolverOptions
from kraft.models.solver_speeds import MachineSpeeds, SystemSpeeds
from kraft.solvers.rank_rule import rank_rule

PLENTY = 10**13
SPEEDS = Speeds(MachineSpeeds(6e10, 1.5e10), SystemSpeeds(2e-7, 6e-7, 100.0, 1e-6, 2e-5))
"""Of aspirin on two cores, about."""


class Sized:
    """An operator that has a size only."""

    def __init__(self, n_geometries: int) -> None:
        self.block_size, self.size = 21, 21 * n_geometries
        self.dtype, self.device = torch.float64, torch.device("cpu")


def route(n_geometries, options=None, allowed=PLENTY, speeds=SPEEDS, **rule):
    size = SystemSize(n_geometries, 57)
    return choose_route(
        size,
        SolverOptions() if options is None else options,
        allowed,
        speeds,
        IterationRule(**{"k_min": 75.0, **rule}),
    )


def test_small_systems_are_factorized_without_measuring(monkeypatch):
    monkeypatch.setattr(Speeds, "measure", None)
    plan = plan_solution(Sized(20), SolverOptions(max_memory=10**9))
    assert plan.solver == "dense" and "quickly" in plan.reason
    assert DENSE_LABELS >= 20 * 21


def test_the_faster_solver_is_taken():
    large = route(1000)
    assert large.solver == "iterative" and large.iterative_seconds < large.dense_seconds
    hopeless = route(1000, k_min=1e5)
    assert hopeless.solver == "dense" and hopeless.iterative_seconds > hopeless.dense_seconds
    assert (hopeless.rank, hopeless.preconditioner) == (0, "")
    for plan in (large, hopeless):
        assert " s and " in plan.reason or " min and " in plan.reason
        assert "by iteration" in plan.reason and "by factorization" in plan.reason


def test_memory_limits_decide_against_time():
    slow = {"k_min": 1e5}
    plan = route(1000, allowed=4 * 10**9, **slow)
    assert plan.solver == "iterative" and "does not fit" in plan.reason
    assert plan.dense_memory > 4 * 10**9 >= plan.iterative_memory
    assert plan.rank < route(1000, SolverOptions("iterative"), **slow).rank


def test_the_rank_is_the_best_one():
    size, rule = SystemSize(500, 57), IterationRule(75.0)
    best = fastest_route(size, SolverOptions(), PLENTY, SPEEDS, rule)
    for factor in (0.5, 0.8, 1.25, 2.0):
        rank = round(factor * best.rank)
        cost = iterative_cost(
            size, rank, best.block_geometries, rule, SPEEDS.machine, SPEEDS.system
        )
        assert cost.seconds > 0.98 * best.cost.seconds
    assert 100 < best.rank < 10_000
    assert 1 <= best.block_geometries * 57 <= 600


def test_slower_products_want_a_larger_rank():
    slow = dataclasses.replace(SPEEDS, system=dataclasses.replace(SPEEDS.system, kept_product=1e-6))
    given = SolverOptions("iterative")
    assert route(500, given, speeds=slow).rank > route(500, given).rank


def test_what_is_given_is_taken():
    given = SolverOptions("iterative", preconditioner="uniform", rank=0.1, block_geometries=0)
    plan = plan_solution(Sized(100), given)
    assert (plan.preconditioner, plan.rank, plan.block_geometries) == ("uniform", 210, 0)
    assert plan_solution(Sized(10**5), SolverOptions("dense")).solver == "dense"
    ruled = plan_solution(Sized(1000), SolverOptions("iterative", rank="rule", max_memory=PLENTY))
    assert ruled.rank == rank_rule(21_000)
    less = plan_solution(Sized(1000), SolverOptions("iterative", rank="rule", max_memory=10**8))
    assert less.rank < ruled.rank and less.iterative_memory <= 10**8
    assert route(500, SolverOptions("iterative", rank=77, block_geometries=3)).rank == 77


def test_a_stored_matrix_is_planned_for_too():
    plan = plan_solution(Sized(1000), SolverOptions("iterative", max_memory=PLENTY))
    assert plan.rank > 0 and plan.iterations > 0 and plan.iterative_seconds > 0.0


def test_tolerance_and_cache_change_the_time():
    size, rule = SystemSize(500, 57), IterationRule(75.0)
    arguments = (SPEEDS.machine, SPEEDS.system)
    kept = iterative_cost(size, 500, 2, rule, *arguments)
    needed = iterative_memory(size, 500, 2)
    assert kept.memory == needed + 100 * 500**2
    bare = iterative_cost(size, 500, 2, rule, *arguments, needed)
    assert bare.memory == needed and bare.solution > kept.solution
    rough = iterative_cost(size, 500, 2, IterationRule(75.0, tolerance=1e-2), *arguments)
    assert rough.iterations == pytest.approx(0.25 * kept.iterations, abs=1)
    dense = dense_cost(size, *arguments)
    assert dense.factorization > 0.9 * 28500**3 / 3 / 6e10


def test_speeds_are_those_of_the_system(operator_of):
    operator = operator_of(30)
    speeds = Speeds.measure(operator)
    for part in (speeds.machine, speeds.system):
        assert all(value > 0.0 for value in dataclasses.astuple(part))
    assert speeds.system.kept_bytes == pytest.approx(operator.product().memory / 30**2)


@pytest.fixture
def operator_of(ethanol):
    from kraft.models.preparation import training_arrays

    def make(n_geometries: int) -> KernelOperator:
        few = ethanol.subset(range(n_geometries))
        arrays = training_arrays(few, None, _identity(few.n_atoms), None, 0.0, "cpu")
        return arrays.operator("matern52", 20.0)[0]

    return make


def _identity(n_atoms):
    from kraft.symmetry.group import identity

    return identity(n_atoms)[None]
