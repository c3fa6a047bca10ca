"""Options of the solver: what they accept, and that both solvers lead to the same model."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest

import kraft
from kraft.core.errors import MemoryLimitError, OptionError, SolverError
from kraft.models.selection import Choice
from kraft.models.solver_options import RESIDUAL_OF_VALIDATION, SolverOptions
from kraft.models.training_notices import conditioning_notices
from kraft.solvers.preconditioners import METHODS

PAPERS = {"kernel": "matern52", "length_scale": 10.0, "regularization": 1e-10}


@pytest.fixture(scope="module")
def parts(ethanol):
    return kraft.split(ethanol, n_train=60, n_valid=20, n_test=40, seed=3)


@pytest.fixture(scope="module")
def dense(parts):
    return kraft.train(parts.train, parts.valid, solver="dense", **PAPERS)


def _options(**changed):
    return SolverOptions(**{"solver": "iterative", "rank": 250, **changed})


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"solver": "magic"}, "magic.*auto, dense, iterative"),
        ({"preconditioner": "magic"}, "magic.*random-pivoting"),
        ({"stop": "never"}, "never.*residual, validation"),
        ({"rank": 0}, "at least 1"),
        ({"rank": 1.5}, "fraction"),
        ({"rank": float("nan")}, "rank"),
        ({"rank": "much"}, "much.*rule"),
        ({"rank": True}, "rank"),
        ({"tolerance": 0.0}, "between 0 and 1"),
        ({"tolerance": float("nan")}, "between 0 and 1"),
        ({"block_geometries": -1}, "-1"),
        ({"max_iterations": 0}, "positive"),
        ({"max_memory": -5}, "positive"),
        ({"max_time": 0.0}, "positive"),
    ],
)
def test_wrong_values_are_explained(wrong, words):
    with pytest.raises(OptionError, match=words):
        SolverOptions(**wrong)


@pytest.mark.parametrize("name", ["auto", *METHODS])
@pytest.mark.parametrize("rank", ["fastest", "rule", "auto", 1, 500, 0.05])
def test_right_values_are_taken(name, rank):
    assert SolverOptions(preconditioner=name, rank=rank).identity()["rank"] == rank


def test_arguments_override_options():
    options = SolverOptions("iterative", rank=7, max_memory=10)
    assert options.overridden("auto", None) == options
    changed = options.overridden("dense", 20)
    assert (changed.solver, changed.max_memory, changed.rank) == ("dense", 20, 7)


@pytest.mark.parametrize("energy_weight", [0.0, 1.0])
@pytest.mark.parametrize("block_geometries", [0, 4])
def test_both_solvers_give_the_same_model(parts, energy_weight, block_geometries):
    weights = np.linspace(0.8, 1.2, 36)
    common = {
        **PAPERS, "regularization": 1e-7, "energy_weight": energy_weight, "permutations": None,
        "feature_weights": weights,
    }  # fmt: skip
    expected, _ = kraft.train(parts.train, solver="dense", **common)
    options = _options(rank=400, tolerance=1e-8, block_geometries=block_geometries)
    got, result = kraft.train(parts.train, solver_options=options, **common)
    assert result.outcome.status == "converged" and result.outcome.iterations > 0
    assert result.plan.solver == "iterative" and result.outcome.relative_residual <= 1e-8
    positions = parts.test.positions
    scale = np.abs(expected.predict(positions).forces).mean()
    difference = got.predict(positions).forces - expected.predict(positions).forces
    assert np.abs(difference).max() < 1e-5 * scale


def test_accuracy_at_the_default_tolerance(parts, dense):
    """Table II of paper 004: force errors differ in the fourth digit only."""
    model, result = kraft.train(parts.train, parts.valid, solver_options=_options(), **PAPERS)
    assert result.outcome.relative_residual <= 1e-4
    assert result.valid_force_mae == pytest.approx(dense[1].valid_force_mae, rel=2e-3)
    measured = [p.valid_force_mae for p in result.outcome.history if p.valid_force_mae is not None]
    assert measured
    record = model.record
    assert record.converged and not record.caution and record.tolerance == 1e-4
    assert (record.status, record.solver) == ("converged", "iterative")
    assert record.iterations == result.outcome.iterations and record.rank >= 250


def test_periodic_cells_work_in_the_iterative_solver(parts):
    cell = np.diag([9.0, 9.5, 10.0])
    some = kraft.Dataset(
        parts.train.atomic_numbers, parts.train.positions, parts.train.forces, cell=cell
    ).subset(range(25))
    common = {**PAPERS, "regularization": 1e-6}
    expected, _ = kraft.train(some, solver="dense", **common)
    got, _ = kraft.train(some, solver_options=_options(tolerance=1e-7), **common)
    positions = parts.test.positions[:5]
    np.testing.assert_allclose(
        got.predict(positions).forces, expected.predict(positions).forces, rtol=0, atol=1e-4
    )


def test_stopping_by_the_validation_error(parts, dense):
    options = _options(rank=60, stop="validation", tolerance=1e-10)
    _, result = kraft.train(parts.train, parts.valid, solver_options=options, **PAPERS)
    assert result.outcome.status == "validation" and result.outcome.converged
    assert result.outcome.relative_residual > 1e-10
    # it ends on a plateau; which one depends on when errors were measured, so on other work
    assert result.valid_force_mae == pytest.approx(dense[1].valid_force_mae, rel=0.05)
    with pytest.raises(OptionError, match="--n-valid"):
        kraft.train(parts.train, solver_options=options, **PAPERS)


def test_an_unconverged_solution_is_an_error_unless_accepted_and_marked_for_ever(parts, tmp_path):
    given = {"rank": 30, "max_iterations": 10}
    with pytest.raises(SolverError, match="--accept-unconverged"):
        kraft.train(parts.train, solver_options=_options(**given), **PAPERS)
    model, result = kraft.train(
        parts.train, solver_options=_options(**given, accept_unconverged=True), **PAPERS
    )
    assert not result.outcome.converged
    path = tmp_path / "m.safetensors"
    model.save(path)
    record = kraft.load(path).record
    assert not record.converged and record.status == "max_iterations"
    assert record.iterations == result.outcome.iterations
    assert "unconverged" in record.caution and record.caution in result.notices
    with pytest.warns(UserWarning, match="unconverged"):
        kraft.KraftCalculator(path)


def test_a_converged_model_brings_no_warning(dense):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kraft.KraftCalculator(dense[0])
    assert dense[0].record.converged and dense[0].record.status == "exact"
    assert dense[0].record.tolerance is None


def test_memory_too_small_for_either_solver(parts):
    with pytest.raises(MemoryLimitError, match="--max-memory"):
        kraft.train(parts.train, max_memory=100_000, **PAPERS)


@pytest.mark.parametrize(
    ("criterion", "regularization", "told"),
    [("validation", 3e-7, True), ("validation", 1e-9, False), ("given", 1e-3, False)],
)
def test_a_large_regularization_that_was_chosen_is_reported(criterion, regularization, told):
    notices = conditioning_notices(Choice("matern52", 10.0, regularization, criterion))
    assert bool(notices) == told
    if told:
        assert re.search("3,000 times", notices[0])


def test_stopping_by_validation_is_planned_for_with_fewer_digits():
    assert SolverOptions(tolerance=1e-5).expected_residual == 1e-5
    assert SolverOptions(stop="validation").expected_residual == RESIDUAL_OF_VALIDATION
    assert SolverOptions(stop="validation", tolerance=0.01).expected_residual == 0.01
