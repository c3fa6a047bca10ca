from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from molecules import MOLECULES, WATER
from toy_models import toy_parameters

from kraft.core.errors import GeometryError, OptionError
from kraft.models.parameters import symmetric_mean
from kraft.symmetry.orbits import feature_permutations


@pytest.mark.parametrize("molecule", MOLECULES, ids=str)
def test_the_center_commutes_with_the_group(molecule):
    parameters = toy_parameters(molecule)
    center = parameters.feature_center
    assert center.shape == parameters.feature_weights.shape
    for row in parameters.feature_permutations:
        np.testing.assert_allclose(center[row], center)


def test_symmetric_mean_without_symmetry_is_the_mean():
    features = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_allclose(symmetric_mean(features, np.arange(3)[None]), features.mean(axis=0))
    table = feature_permutations(WATER.permutations)
    mean = symmetric_mean(features, table)
    both = np.concatenate([features[:, row] for row in table]).mean(axis=0)
    np.testing.assert_allclose(mean, both)


def test_the_scale_holds_the_length_scale_and_the_weights():
    parameters = toy_parameters(WATER, weighted=True)
    expected = np.sqrt(5.0) / parameters.length_scale * parameters.feature_weights
    np.testing.assert_allclose(parameters.feature_scale, expected)


@pytest.mark.parametrize(
    "name, value",
    [
        ("permutations", np.zeros((2, 4), dtype=int)),
        ("feature_weights", np.ones(4)),
        ("feature_coefficients", np.ones((3, 3))),
        ("energy_coefficients", np.ones(7)),
        ("cell", np.eye(2)),
        ("coefficients", np.ones((4, 2, 3))),
    ],
)
def test_shapes_that_do_not_fit_are_named(name, value):
    with pytest.raises(GeometryError, match=rf"model's {name} should have shape"):
        replace(toy_parameters(WATER), **{name: value})


def test_unknown_kernel():
    with pytest.raises(OptionError):
        _ = replace(toy_parameters(WATER), kernel="rbf").radial_kernel


def test_frozen():
    with pytest.raises(FrozenInstanceError):
        toy_parameters(WATER).length_scale = 3.0
