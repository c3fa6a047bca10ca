"""Smooth and dense data: a regularization that rounding defeats is not chosen, or raised."""

import re
from dataclasses import replace

import numpy as np
import pytest
from molecules import WATER
from smooth_data import vibrations

import kraft
import kraft.models.selection as selection
import kraft.models.training as training_module
from kraft.core.errors import IllConditionedError
from kraft.core.progress import silent
from kraft.models.preparation import training_arrays
from kraft.models.selection import Choice, Request, choose
from kraft.models.solver_options import SolverOptions
from kraft.solvers.rounding import norm_bound, shortfall

FIXED = {"permutations": None, "kernel": "gaussian", "feature_weights": None}
ITERATIVE = SolverOptions("iterative", rank=20)
TINY = Choice("gaussian", 3.0, 1e-22, "validation", reason="made up")
SOLVERS = pytest.mark.parametrize(
    "options", [SolverOptions("dense"), ITERATIVE], ids=["dense", "iterative"]
)


@pytest.mark.parametrize("weights", [None, "learned"])
def test_noise_that_no_model_fits_is_trained_with(weights):
    """This ended with a residual of 1e-2: the least error was found where rounding rules."""
    _, result = kraft.train(
        vibrations(40, noise=0.3),
        vibrations(20, seed=5),
        **{**FIXED, "feature_weights": weights},
        metric_options=kraft.MetricOptions(max_steps=2),
    )
    assert result.outcome.relative_residual < 1e-4 and result.outcome.jitter == 0.0
    assert result.choice.raised_from is None


@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_what_is_chosen_is_enough_for_rounding(noise, monkeypatch):
    """Also where it is extrapolated from a subset."""
    for name, labels in (("SMALL_SYSTEM", 30), ("LARGE_SYSTEM", 45), ("LARGEST_SYSTEM", 60)):
        monkeypatch.setattr(selection, name, labels)
    monkeypatch.setattr(selection, "SMALLEST_EXTRAPOLATED", 0.0)
    data, validation = vibrations(300, noise=noise), vibrations(30, seed=5)
    arrays = training_arrays(data, validation, WATER.permutations, None, 0.0, "cpu")
    choice = choose(arrays, Request("gaussian"), seed=0, progress=silent)
    operator, _ = arrays.operator(choice.kernel, choice.length_scale)
    assert choice.trials[-1].n_train == 20
    assert shortfall(norm_bound(operator), choice.regularization) < 1.1


@SOLVERS
def test_a_choice_that_rounding_defeats_is_raised_and_told_of(options, monkeypatch, tmp_path):
    monkeypatch.setattr(training_module, "choose", lambda *_, **__: TINY)
    model, result = kraft.train(
        vibrations(40, noise=0.3),
        solver_options=options,
        checkpoint=tmp_path / "state.safetensors",
        **FIXED,
    )
    choice = result.choice
    assert choice.raised_from == 1e-22 and choice.regularization >= 1e-21
    assert result.outcome.relative_residual < 1e-4 and result.outcome.jitter == 0.0
    assert model.parameters.regularization == choice.regularization
    assert "raised" in model.record.choice
    told = [notice for notice in result.notices if "chosen at first" in notice]
    assert len(told) == 1 and f"{choice.regularization:.1e}" in told[0]


@SOLVERS
def test_a_regularization_that_was_given_fails_and_tells_what_works(options):
    data = vibrations(40, noise=0.3)
    arguments = {**FIXED, "length_scale": 3.0, "solver_options": options}
    with pytest.raises(IllConditionedError, match=r"1\.0e-22; left out") as failure:
        kraft.train(data, regularization=1e-22, **arguments)
    advised = float(re.search(r"about (\S+) at least", str(failure.value)).group(1))
    given = 1e-22
    for _ in range(3):  # a failure that tells little leads on to one that tells more
        try:
            _, result = kraft.train(data, regularization=advised, **arguments)
            break
        except IllConditionedError as error:
            found = re.search(r"about (\S+) at least", str(error)).group(1)
            given, advised = advised, float(found)
            assert advised > given
    assert result.choice.regularization == advised and result.choice.raised_from is None


def test_jitter_is_told_of():
    data = vibrations(60)
    _, result = kraft.train(data, length_scale=3.0, regularization=1e-30, **FIXED)
    assert result.outcome.jitter > 0.0
    assert any("added to its diagonal" in notice for notice in result.notices)


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_uncertainty_of_what_kraft_chose(noise):
    model, _ = kraft.train(vibrations(40, noise=noise), vibrations(30, seed=5), **FIXED)
    far = vibrations(5, amplitude=0.1, seed=9).positions
    for method in ("exact", "committee", "landmarks"):
        predicted = model.with_uncertainty(method=method).predict(far, uncertainty=True)
        assert np.isfinite(predicted.forces_std).all() and (predicted.forces_std > 0.0).all()


@pytest.mark.parametrize("method", ["exact", "committee"])
def test_uncertainty_of_a_system_without_a_factor_tells_what_it_added(method):
    """A model of another program, say, with a regularization that is no more than rounding."""
    model, _ = kraft.train(vibrations(40), length_scale=3.0, regularization=1e-8, **FIXED)
    doubtful = replace(model.parameters, regularization=1e-30)
    uncertainty = kraft.ForceField(doubtful).with_uncertainty(method=method).uncertainty
    if method == "exact":
        assert "added to its diagonal" in uncertainty.description


def test_a_raised_choice_remembers_the_first():
    twice = TINY.raised(10.0).raised(100.0)
    assert twice.raised_from == 1e-22
    assert twice.regularization == pytest.approx(1e-19)
