from __future__ import annotations

import numpy as np
import pytest
import torch

from kraft.models.iteration_rule import (
    FEWEST,
    SLOPES,
    TYPICAL_SLOPE,
    IterationRule,
    Samples,
    _fitted,
    measure_rule,
)
from kraft.models.preparation import training_arrays
from kraft.models.solver_choice import plan_solution
from kraft.models.solver_options import SolverOptions
from kraft.symmetry.group import identity


def test_the_rule_is_that_of_the_paper_with_a_floor():
    rule = IterationRule(k_min=100.0, m=1.5)
    assert rule.iterations(400, 8000) == pytest.approx(1000.0)
    assert rule.iterations(8000, 8000) == FEWEST
    assert IterationRule(100.0, 1.5, tolerance=1e-2).iterations(400, 8000) == pytest.approx(250.0)


def test_points_of_a_rule_give_it_back():
    ranks, n = [500.0, 250.0, 125.0], 2500
    true = IterationRule(k_min=60.0, m=1.4)
    rule = _fitted(ranks, [true.iterations(int(k), n) for k in ranks], n, 1e-4)
    assert (rule.k_min, rule.m) == (pytest.approx(60.0), pytest.approx(1.4)) and rule.measured
    one = _fitted(ranks[:1], [true.iterations(500, n)], n, 1e-4)
    assert one.m == TYPICAL_SLOPE
    assert one.iterations(500, n) == pytest.approx(true.iterations(500, n))
    steep = _fitted(ranks, [10.0, 200.0, 9000.0], n, 1e-4)
    assert steep.m == SLOPES[1]
    assert not IterationRule.typical(21).measured


@pytest.fixture
def samples(ethanol):
    few = ethanol.subset(range(40))
    arrays = training_arrays(few, None, identity(few.n_atoms)[None], None, 0.0, "cpu")
    operator = arrays.operator("matern52", 20.0)[0]
    labels = arrays.labels.vector(operator)
    return Samples(operator, arrays.labels.regularization(operator, 1e-6), labels)


def test_iterations_are_measured_on_a_subset(samples):
    rule = measure_rule(samples, "random-pivoting", None, 1e-4, seconds=60.0)
    assert rule.measured and 1.0 < rule.k_min < samples.operator.size
    again = measure_rule(samples, "random-pivoting", None, 1e-4, seconds=60.0)
    assert again == rule
    heavier = Samples(samples.operator, torch.full((840,), 1e-2), samples.labels)
    easier = measure_rule(heavier, "random-pivoting", None, 1e-4, seconds=60.0)
    assert easier.k_min < 0.5 * rule.k_min


def test_no_time_gives_the_typical_rule_or_a_rough_one(samples):
    rule = measure_rule(samples, "random-pivoting", 0, 1e-4, seconds=1e-9)
    assert np.isfinite(rule.k_min) and rule.tolerance == 1e-4


def test_the_plan_measures_when_asked(samples):
    options = SolverOptions("iterative", rank="auto", max_memory=10**10)
    plan = plan_solution(
        samples.operator,
        options,
        regularization=samples.regularization,
        labels=samples.labels,
    )
    measured = measure_rule(samples, "random-pivoting", None, 1e-4, seconds=60.0)
    assert plan.k_min == pytest.approx(measured.k_min, rel=0.5)
    assert plan.k_min != IterationRule.typical(21).k_min
