"""Which method is taken."""

from dataclasses import replace

import pytest
from molecules import WATER
from toy_models import toy_parameters

import kraft.models.uncertainty.choice as module
from kraft.core.errors import MemoryLimitError, OptionError
from kraft.models.uncertainty import UncertaintyOptions
from kraft.models.uncertainty.choice import uncertainty_model

DIRECTIONS = {"exact": "exact", "committee": "estimate", "landmarks": "upper bound"}


@pytest.mark.parametrize("method", DIRECTIONS)
def test_method_asked_for(method):
    model = uncertainty_model(toy_parameters(WATER), UncertaintyOptions(method=method), "cpu")
    assert (model.method, model.direction) == (method, DIRECTIONS[method])
    assert model.description.endswith(".")


def test_exact_for_small_models_and_a_committee_for_large_ones(monkeypatch):
    parameters = replace(toy_parameters(WATER, n_train=4), regularization=1e-6)
    options = UncertaintyOptions()
    assert uncertainty_model(parameters, options, "cpu").method == "exact"
    monkeypatch.setattr(module, "EXACT_LABELS", 11)  # it has 12
    assert uncertainty_model(parameters, options, "cpu").method == "committee"


def test_exact_when_there_are_too_few_geometries_for_a_committee(monkeypatch):
    monkeypatch.setattr(module, "EXACT_LABELS", 1)
    model = uncertainty_model(toy_parameters(WATER, n_train=3), UncertaintyOptions(), "cpu")
    assert model.method == "exact"


def test_memory_limit():
    with pytest.raises(MemoryLimitError):
        options = UncertaintyOptions(method="exact", max_memory=100)
        uncertainty_model(toy_parameters(WATER), options, "cpu")


@pytest.mark.parametrize(
    "options", [{"method": "guess"}, {"n_members": 1}, {"max_memory": 0}], ids=str
)
def test_options_are_checked(options):
    with pytest.raises(OptionError):
        UncertaintyOptions(**options)
