"""Every feature function against automatic differentiation."""

import numpy as np
import pytest
import torch

from kraft.core.errors import OptionError
from kraft.descriptors import FEATURE_FUNCTIONS, feature_function

DISTANCES = np.array([0.7, 1.0, 1.5, 3.0, 9.0])


@pytest.fixture(params=FEATURE_FUNCTIONS)
def function(request):
    return feature_function(request.param)


def test_derivatives_are_those_of_the_value(function):
    distances = torch.tensor(DISTANCES)
    first = torch.func.vmap(torch.func.grad(function.value))
    torch.testing.assert_close(function.first(distances), first(distances))
    second = torch.func.vmap(torch.func.grad(torch.func.grad(function.value)))
    torch.testing.assert_close(function.second(distances), second(distances))
    pull = function.pull(distances, function.value(distances))
    torch.testing.assert_close(pull, -first(distances) / distances)


def test_near_pairs_have_large_features(function):
    assert (np.diff(function.value(DISTANCES)) < 0.0).all()
    assert (function.pull(DISTANCES, function.value(DISTANCES)) > 0.0).all()


def test_distances_come_back(function):
    np.testing.assert_allclose(function.distance(function.value(DISTANCES)), DISTANCES)


@pytest.mark.parametrize("of", ["value", "first", "second", "distance"])
def test_arrays_and_tensors_alike(function, of):
    values = function.value(DISTANCES) if of == "distance" else DISTANCES
    got = getattr(function, of)(torch.tensor(values))
    np.testing.assert_allclose(getattr(function, of)(values), got.numpy(), rtol=1e-14)


def test_atoms_in_one_place_do_not_pass_for_a_geometry(function):
    """Energies or forces there are not finite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        values = function.value(np.zeros(1))
        force = 0.0 * function.pull(np.zeros(1), values)
    assert not np.isfinite(values + force).any()


def test_known_values():
    assert feature_function("inverse").value(2.0) == 0.5
    assert feature_function("inverse-sqrt").value(np.float64(4.0)) == 0.5
    assert feature_function("inverse-square").value(2.0) == 0.25
    assert feature_function("log").value(np.float64(np.e)) == pytest.approx(-1.0)
    assert feature_function("exponential").value(np.float64(2.0)) == pytest.approx(np.exp(-1.0))


def test_unknown_names_are_refused():
    with pytest.raises(OptionError, match="inverse-sqrt"):
        feature_function("1/r")
