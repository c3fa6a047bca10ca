"""Weights of the features of a model."""

import numpy as np
import pytest
from molecules import WATER
from toy_models import toy_dataset

import kraft
from kraft.core.errors import OptionError

PAPER = {"kernel": "matern52", "length_scale": 3.0, "regularization": 1e-10}


def test_ones_change_nothing():
    training = toy_dataset(WATER, 8)
    options = {**PAPER, "permutations": WATER.permutations}
    plain, _ = kraft.train(training, **options)
    ones, _ = kraft.train(training, feature_weights=np.ones(3), **options)
    positions = WATER.frames(3, seed=2)
    np.testing.assert_array_equal(ones.predict(positions).forces, plain.predict(positions).forces)


def test_they_divide_the_length_scale():
    training = toy_dataset(WATER, 8)
    positions = WATER.frames(3, seed=2)
    double, _ = kraft.train(
        training,
        feature_weights=np.full(3, 2.0),
        permutations=WATER.permutations,
        **{**PAPER, "length_scale": 6.0},
    )
    plain, _ = kraft.train(training, permutations=WATER.permutations, **PAPER)
    np.testing.assert_allclose(
        double.predict(positions).forces, plain.predict(positions).forces, atol=1e-7
    )


def test_a_weight_of_zero_removes_the_distance():
    training = toy_dataset(WATER, 8)
    model, _ = kraft.train(
        training,
        feature_weights=[1.0, 1.0, 0.0],
        permutations=WATER.permutations,
        **{**PAPER, "regularization": 1e-6},
    )
    forces = model.predict(WATER.frames(3, seed=2)).forces
    # without the H-H distance the hydrogens are only pulled along their bonds
    bonds = WATER.frames(3, seed=2)[:, 1] - WATER.frames(3, seed=2)[:, 0]
    assert np.abs(np.cross(bonds, forces[:, 1])).max() < 1e-6


@pytest.mark.parametrize(
    "weights, message",
    [
        (np.ones(4), "3 non-negative"),
        ([1.0, -1.0, 1.0], "non-negative"),
        ([np.nan, 1.0, 1.0], "non-negative"),
        ([np.inf, np.inf, 1.0], "non-negative"),
        (np.zeros(3), "not all zero"),
        ([1.0, 2.0, 1.0], "equivalent pairs"),
    ],
)
def test_what_does_not_fit_is_explained(weights, message):
    with pytest.raises(OptionError, match=message):
        kraft.train(
            toy_dataset(WATER, 4),
            feature_weights=weights,
            permutations=WATER.permutations,
            **PAPER,
        )
