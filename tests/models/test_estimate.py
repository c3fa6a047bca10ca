from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import kraft
from kraft.core.errors import OptionError
from kraft.kernels import KernelOperator
from kraft.models import estimate as module
from kraft.models.estimate import estimate_training
from kraft.models.preparation import training_arrays
from kraft.models.selection import Request
from kraft.models.solver_options import SolverOptions

GIVEN = Request("matern52", 20.0, 1e-10)


def test_counts_are_those_of_the_training(ethanol):
    estimate = estimate_training(ethanol, 60, request=GIVEN)
    parts = kraft.split(ethanol, n_train=60)
    _, result = kraft.train(parts.train, kernel="matern52", length_scale=20.0, regularization=1e-10)
    assert estimate.n_labels == len(result.outcome.coefficients)
    assert estimate.n_symmetries == len(result.permutations)
    assert estimate.seconds.choice == 0.0
    assert estimate.plan.solver == result.plan.solver
    # Times on a busy machine vary by much more than the estimate is off.
    assert 0.02 < estimate.seconds.total / result.timings.total < 50.0


@pytest.mark.parametrize("solver", ["dense", "iterative"])
def test_memory_is_what_the_solver_asks_for(ethanol, solver):
    training = ethanol.subset(range(40))
    options = SolverOptions(solver, rank=100)
    estimate = estimate_training(training, 40, request=GIVEN, solver_options=options)
    route = getattr(estimate, solver)
    assert estimate.chosen is route and estimate.solver_memory == route.solver_memory
    # what the product keeps is left away when it does not fit
    kept = 0 if solver == "dense" else _kept_by_the_product(training)
    parts = {
        "kernel": "matern52", "length_scale": 20.0, "regularization": 1e-10,
        "solver_options": options,
    }  # fmt: skip
    kraft.train(training, max_memory=route.solver_memory, **parts)
    with pytest.raises(MemoryError):
        kraft.train(training, max_memory=route.solver_memory - kept - 8, **parts)


def _kept_by_the_product(training):
    result = kraft.train(training, kernel="matern52", length_scale=20.0, regularization=1e-10)[1]
    arrays = training_arrays(training, None, result.permutations, None, 0.0, "cpu")
    return arrays.operator("matern52", 20.0)[0].product().memory


def test_growth_with_the_number_of_frames(ethanol):
    few = ethanol.subset(range(50))
    small = estimate_training(few, 1000, request=GIVEN)
    large = estimate_training(few, 2000, request=GIVEN)
    assert large.n_labels == 2 * small.n_labels
    dense = large.dense.solver_memory / small.dense.solver_memory
    assert dense == pytest.approx(4.0, rel=0.2)
    assert large.iterative.solver_memory < large.dense.solver_memory
    assert large.iterative.iterations > 0 and large.iterative.rank > 0
    huge = estimate_training(few, 10**6, request=GIVEN)
    assert huge.plan.solver == "iterative"
    assert huge.dense.solver_memory > huge.allowed


def test_both_routes_are_told_and_limits_kept(ethanol):
    few = ethanol.subset(range(50))
    limit = 10**8
    options = SolverOptions(max_memory=limit)
    estimate = estimate_training(few, 900, request=GIVEN, solver_options=options)
    assert estimate.plan.solver == "iterative" and "does not fit" in estimate.plan.reason
    assert estimate.iterative.solver_memory <= limit < estimate.dense.solver_memory
    assert estimate.fits and estimate.iterations_measured
    forced = SolverOptions("dense", max_memory=limit)
    assert not estimate_training(few, 900, request=GIVEN, solver_options=forced).fits


def test_permutations_and_energies_count(ethanol):
    few = ethanol.subset(range(30))
    plain = estimate_training(few, 30, request=GIVEN, permutations=None)
    assert plain.n_symmetries == 1
    assert plain.seconds.symmetry == 0.0
    given = estimate_training(few, 30, request=GIVEN, permutations=[np.arange(9)])
    assert given.n_symmetries == 1
    energies = estimate_training(few, 30, request=GIVEN, permutations=None, energy_weight=1.0)
    assert energies.n_labels == plain.n_labels + 30


def test_a_choice_takes_time_and_memory(ethanol, monkeypatch):
    few = ethanol.subset(range(30))
    fixed = estimate_training(few, 200, request=GIVEN, permutations=None)
    one = estimate_training(few, 200, request=Request("matern52"), permutations=None)
    assert one.seconds.choice > 0.0
    assert one.dense.memory >= fixed.dense.memory
    assert one.dense.solver_memory == fixed.dense.solver_memory


def test_nothing_is_trained_and_the_data_stay_as_they_are(ethanol, monkeypatch):
    def never(*arguments, **options):
        raise AssertionError("the system was solved")

    monkeypatch.setattr(KernelOperator, "matmul", never)
    estimate = estimate_training(ethanol.subset(range(20)), 500)
    assert dataclasses.is_dataclass(estimate)
    assert module.available_memory("cpu") > 0


@pytest.mark.parametrize("sizes", [(0, 0), (10, -1)])
def test_impossible_sizes(ethanol, sizes):
    with pytest.raises(OptionError, match="Expected at least 1"):
        estimate_training(ethanol, sizes[0], n_valid=sizes[1])
