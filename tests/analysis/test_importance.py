"""Importance of features: eq. 4 of paper 003, whole orbits, shares, reduced models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from molecules import TWO_ROTORS, WATER
from toy_models import toy_atomized_parameters, toy_parameters

from kraft.analysis.importance import feature_importance
from kraft.core.errors import GeometryError, OptionError
from kraft.models import ForceField
from kraft.symmetry.orbits import feature_orbits


def test_losses_are_squared_changes_summed_over_frames():
    parameters = toy_parameters(TWO_ROTORS)
    positions = TWO_ROTORS.frames(5, seed=2)
    found = feature_importance(ForceField(parameters), positions)
    orbits = feature_orbits(parameters.permutations)
    before = ForceField(parameters).predict(positions).forces
    for index, orbit in enumerate(orbits):
        weights = parameters.feature_weights.copy()
        weights[orbit] = 0.0
        after = ForceField(replace(parameters, feature_weights=weights)).predict(positions).forces
        expected = np.square(after - before).sum()
        assert found.orbit_losses[index] == pytest.approx(expected, rel=1e-10)
        np.testing.assert_allclose(found.losses[orbit], expected / len(orbit), rtol=1e-10)
        np.testing.assert_array_equal(found.orbits[index], orbit)
    assert found.n_frames == 5
    rms = np.sqrt(found.losses / (5 * 3 * TWO_ROTORS.n_atoms))
    np.testing.assert_allclose(found.force_changes, rms)


@pytest.mark.parametrize("mixes", [False, True], ids=["plain", "mixed"])
def test_orbit_masks_keep_the_permutation_invariance(mixes):
    parameters = toy_parameters(TWO_ROTORS, mixes=mixes)
    positions = TWO_ROTORS.frames(3, seed=2)
    found = feature_importance(ForceField(parameters), positions)
    for atoms in parameters.permutations[[1, -1]]:
        again = feature_importance(ForceField(parameters), positions[:, atoms])
        np.testing.assert_allclose(again.orbit_losses, found.orbit_losses, rtol=1e-9)


def test_a_reduced_model_has_the_importance_of_its_own_features():
    parameters = toy_parameters(TWO_ROTORS)
    orbits = feature_orbits(parameters.permutations)
    kept = np.sort(np.concatenate(orbits[::2]))
    reduced = replace(
        parameters,
        features=kept,
        feature_weights=parameters.feature_weights[kept],
        training_descriptors=parameters.training_descriptors[:, kept],
        feature_coefficients=parameters.feature_coefficients[:, kept],
    )
    weights = np.zeros_like(parameters.feature_weights)
    weights[kept] = 1.0
    positions = TWO_ROTORS.frames(3, seed=2)
    found = feature_importance(ForceField(reduced), positions)
    whole = feature_importance(ForceField(replace(parameters, feature_weights=weights)), positions)
    np.testing.assert_array_equal(found.features, kept)
    np.testing.assert_allclose(found.losses, whole.losses[kept], rtol=1e-9)
    np.testing.assert_allclose(np.delete(whole.losses, kept), 0.0, atol=1e-20)


def test_distances_are_those_of_the_orbit():
    parameters = toy_parameters(WATER)
    positions = WATER.frames(4, seed=1)
    found = feature_importance(ForceField(parameters), positions)
    bonds = np.linalg.norm(positions[:, 1:] - positions[:, :1], axis=2)
    np.testing.assert_allclose(found.mean_distances[:2], bonds.mean())
    np.testing.assert_allclose(found.largest_distances[:2], bonds.max())
    np.testing.assert_array_equal(found.pairs, [[0, 1], [0, 2], [1, 2]])


def test_one_geometry_will_do():
    found = feature_importance(ForceField(toy_parameters(WATER)), WATER.positions)
    assert found.n_frames == 1


def test_what_does_not_fit_is_said():
    with pytest.raises(OptionError, match="Train an sGDML model"):
        feature_importance(ForceField(toy_atomized_parameters()), WATER.frames(2))
    force_field = ForceField(toy_parameters(WATER))
    with pytest.raises(GeometryError, match="same place"):
        feature_importance(force_field, np.zeros((1, 3, 3)))
    with pytest.raises(GeometryError, match="Expected positions"):
        feature_importance(force_field, np.zeros((1, 4, 3)))
