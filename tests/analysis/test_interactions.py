"""Interaction maps against partial evaluations of the model, and trends with distance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from molecules import CHIRAL, TWO_ROTORS
from toy_models import toy_parameters

from kraft.analysis.interactions import InteractionMap, distance_trends, interaction_map
from kraft.core.errors import OptionError
from kraft.models import ForceField
from kraft.models.parameters import descriptors_and_coefficients


@pytest.mark.parametrize("mixes", [False, True], ids=["plain", "mixed"])
def test_contributions_are_forces_of_models_with_one_atoms_coefficients(mixes):
    parameters = toy_parameters(CHIRAL, mixes=mixes)
    positions = CHIRAL.frames(3, seed=4)
    found = interaction_map(ForceField(parameters), positions)
    for atom in range(CHIRAL.n_atoms):
        alone = np.zeros_like(parameters.coefficients)
        alone[:, atom] = parameters.coefficients[:, atom]
        _, products = descriptors_and_coefficients(parameters.training_positions, alone, None)
        partial = ForceField(replace(parameters, coefficients=alone, feature_coefficients=products))
        norms = np.linalg.norm(partial.predict(positions).forces, axis=2)
        np.testing.assert_allclose(found.contributions[:, atom], norms, atol=1e-10)


@pytest.mark.parametrize("mixes", [False, True], ids=["plain", "mixed"])
def test_the_map_goes_with_the_atoms(mixes):
    force_field = ForceField(toy_parameters(TWO_ROTORS, mixes=mixes))
    positions = TWO_ROTORS.frames(2, seed=4)
    found = interaction_map(force_field, positions)
    atoms = TWO_ROTORS.permutations[-1]
    moved = interaction_map(force_field, positions[:, atoms])
    expected = found.contributions[:, atoms][:, :, atoms]
    np.testing.assert_allclose(moved.contributions, expected, atol=1e-9)
    np.testing.assert_allclose(moved.distances, found.distances[:, atoms][:, :, atoms])
    np.testing.assert_allclose(
        found.distances[0], np.linalg.norm(positions[0][:, None] - positions[0], axis=2)
    )


def made_up(n: int = 40) -> InteractionMap:
    """Three atoms: pair 01 follows its distance, 02 does so in part, 12 is constant."""
    rng = np.random.default_rng(0)
    distances, contributions = np.zeros((2, n, 3, 3))
    for (a, b), mean in {(0, 1): 1.0, (0, 2): 2.0, (1, 2): 4.0}.items():
        distances[:, a, b] = distances[:, b, a] = mean + 0.1 * rng.normal(size=n)
    contributions[:, 0, 1] = 6.0 - 4.0 * distances[:, 0, 1]
    contributions[:, 1, 0] = 2.0
    contributions[:, 0, 2] = contributions[:, 2, 0] = (
        1.0 + distances[:, 0, 2] + 0.2 * rng.normal(size=n)
    )
    contributions[:, 1, 2] = contributions[:, 2, 1] = 0.5
    return InteractionMap(contributions, distances)


def test_trends_are_fits_of_straight_lines():
    found = made_up()
    trends = distance_trends(found)
    assert trends.slopes[0] == pytest.approx(-2.0) and trends.r_squared[0] == pytest.approx(1.0)
    x, y = found.pair_distances[:, 1], found.pair_contributions[:, 1]
    assert trends.slopes[1] == pytest.approx(np.polyfit(x, y, 1)[0])
    assert trends.r_squared[1] == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2)
    assert trends.slopes[2] == trends.r_squared[2] == 0.0
    assert trends.share_linear(0.99) == pytest.approx(1 / 3)
    some = distance_trends(found, np.array([1]))
    assert some.r_squared.tolist() == trends.r_squared[1:2].tolist()
    with pytest.raises(OptionError, match="at least 3 frames"):
        distance_trends(made_up(2))


def test_the_decay_of_linear_pairs():
    trends = distance_trends(made_up())
    x, y = np.log(trends.mean_distances[:2]), np.log(trends.mean_contributions[:2])
    assert trends.decay_exponent() is None  # of two pairs only
    r_squared = np.array([1.0, 0.9, 0.8])
    distances = np.array([1.0, 2.0, 4.0])
    law = replace(
        trends, r_squared=r_squared, mean_distances=distances, mean_contributions=3.0 / distances**2
    )
    assert law.decay_exponent() == pytest.approx(-2.0)
    assert len(x) == len(y)
