"""The linear map to kernel features against automatic differentiation, and what it refuses."""

import numpy as np
import pytest
import torch
from kernel_cases import random_mixing
from molecules import TWO_ROTORS, WATER

from kraft.core.errors import OptionError
from kraft.descriptors import FeatureMap, checked_mixing
from kraft.symmetry.orbits import feature_permutations

TABLE = feature_permutations(WATER.permutations)


@pytest.fixture(params=[False, True], ids=["plain", "mixed"])
def feature_map(request):
    mixing = random_mixing(TABLE).numpy() if request.param else None
    return FeatureMap(np.array([2.0, 2.0, 0.5]), np.array([0.3, 0.3, -1.0]), mixing)


def test_against_automatic_differentiation(feature_map):
    rng = np.random.default_rng(0)
    features, directions, gradients = (torch.tensor(rng.normal(size=(4, 3))) for _ in range(3))
    matrix = np.diag(feature_map.scale)
    if feature_map.mixes:
        matrix = feature_map.mixing @ matrix

    def values(x):
        return (torch.tensor(matrix) @ (x - torch.tensor(feature_map.center)).T).T

    on_torch = feature_map.on("cpu")
    _, pushed = torch.func.jvp(values, (features,), (directions,))
    (pulled,) = torch.func.vjp(values, features)[1](gradients)
    torch.testing.assert_close(on_torch.values(features), values(features))
    torch.testing.assert_close(on_torch.push(directions), pushed)
    torch.testing.assert_close(on_torch.push_columns(directions.mT[None]).mT[0], pushed)
    torch.testing.assert_close(on_torch.pull(gradients), pulled)
    np.testing.assert_allclose(feature_map.pull(gradients.numpy()), pulled.numpy())
    back = on_torch.numpy()
    np.testing.assert_allclose(back.values(features.numpy()), values(features).numpy())


def test_a_mixing_that_fits_is_kept():
    assert checked_mixing(None, TABLE) is None
    mixing = random_mixing(feature_permutations(TWO_ROTORS.permutations)).numpy()
    table = feature_permutations(TWO_ROTORS.permutations)
    np.testing.assert_array_equal(checked_mixing(mixing.tolist(), table), mixing)


WRONG = {
    "shape": (np.eye(2), r"3 x 3 finite.*got shape \(2, 2\)"),
    "vector": (np.ones(3), r"3 x 3 finite.*got shape \(3,\)"),
    "nan": (np.full((3, 3), np.nan), "finite"),
    "zero": (np.zeros((3, 3)), "not be all zero"),
    "asymmetric": (np.eye(3) + np.array([[0, 0, 0], [0, 0, 0], [1e-9, 1e-9, 0]]), "symmetric"),
    "not commuting": (np.diag([1.0, 1.0 + 1e-9, 2.0]), "equivalent pairs.*Average"),
    "not commuting, beside the diagonal": (
        np.eye(3) + 0.1 * np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]]),
        "equivalent pairs.*Average",
    ),
}
"""Mixings of the distances of water, and what is said of them."""


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_explained(case):
    mixing, message = WRONG[case]
    with pytest.raises(OptionError, match=message):
        checked_mixing(mixing, TABLE)
