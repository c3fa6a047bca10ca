"""Effective weights and couplings of a metric: against explicit matrices."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from analysis.test_reduction import importance as made_up_importance
from molecules import BENZENE, TWO_ROTORS, WATER
from scipy.stats import rankdata
from toy_models import toy_atomized_parameters, toy_force_field, toy_parameters

from kraft.analysis.importance import feature_importance
from kraft.analysis.metric import compare_with_importance, metric_map
from kraft.core.errors import OptionError
from kraft.descriptors.feature_functions import INVERSE
from kraft.models import ForceField
from kraft.models.metric.variables import pair_labels
from kraft.symmetry.orbits import feature_orbits


def uneven(molecule=TWO_ROTORS, **options):
    """Return parameters with weights that differ, none of them zero, and features that mix."""
    parameters = toy_parameters(molecule, mixes=True, **options)
    weights = np.ones(parameters.n_features)
    for index, orbit in enumerate(feature_orbits(molecule.permutations, parameters.features)):
        weights[orbit] = 0.5 + (7 * index) % 5
    return replace(parameters, feature_weights=weights)


def metric_of(parameters):
    """Return ``w C² w`` by explicit products."""
    diagonal = np.diag(parameters.feature_weights)
    return diagonal @ parameters.feature_mixing @ parameters.feature_mixing @ diagonal


@pytest.mark.parametrize("molecule", [WATER, BENZENE, TWO_ROTORS], ids=lambda m: m.name)
def test_weights_shares_and_couplings_are_those_of_the_metric(molecule):
    parameters = uneven(molecule)
    found, metric = metric_map(ForceField(parameters)), metric_of(parameters)
    sizes = np.sqrt(np.diag(metric))
    np.testing.assert_allclose(found.weights, sizes, rtol=1e-12)
    np.testing.assert_allclose(found.couplings, metric / np.outer(sizes, sizes), atol=1e-12)
    mixing = parameters.feature_mixing
    own = [mixing[d, d] ** 2 / (mixing[:, d] @ mixing[:, d]) for d in range(len(mixing))]
    np.testing.assert_allclose(found.own_shares, own, rtol=1e-12)
    assert found.own_shares.max() < 1.0


def test_weights_are_how_far_kernel_features_move():
    parameters = uneven()
    found = metric_map(ForceField(parameters))
    scale = parameters.radial_kernel.scale(parameters.length_scale)
    moved = parameters.feature_map.push(np.eye(parameters.n_features))
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), scale * found.weights, rtol=1e-12)


def test_without_mixing_weights_are_the_weights_themselves():
    parameters = toy_parameters(WATER, weighted=True)  # 1 for O-H, 0 for H-H
    found = metric_map(ForceField(parameters))
    np.testing.assert_array_equal(found.weights, parameters.feature_weights)
    np.testing.assert_array_equal(found.own_shares, 1.0)
    assert found.couplings is None and found.strongest_couplings() == () and not found.equal
    expected = np.array([[np.nan, 1.0, 1.0], [1.0, np.nan, 0.0], [1.0, 0.0, np.nan]])
    np.testing.assert_array_equal(found.matrix, expected)
    assert found.name(2) == "H1-H2"
    assert metric_map(toy_force_field(WATER)).equal


def test_a_mixing_of_one_changes_nothing():
    parameters = replace(toy_parameters(WATER), feature_mixing=np.eye(3))
    found = metric_map(ForceField(parameters))
    assert found.equal and found.strongest_couplings() == ()
    np.testing.assert_array_equal(found.couplings, np.eye(3))


def test_a_feature_without_weight_couples_with_none():
    parameters = toy_parameters(WATER, weighted=True, mixes=True)
    found = metric_map(ForceField(parameters))
    assert found.weights[2] == 0.0 and np.isfinite(found.couplings).all()
    np.testing.assert_array_equal(found.couplings[2], [0.0, 0.0, 1.0])
    assert [(each.one, each.other) for each in found.strongest_couplings()] == [(0, 1)]


def test_the_strongest_couplings_are_one_of_each_orbit_of_pairs():
    parameters = uneven()
    found = metric_map(ForceField(parameters))
    labels = pair_labels(parameters.feature_permutations)
    pairs = list(combinations(range(parameters.n_features), 2))
    by_orbit = {}
    for pair in pairs:
        by_orbit.setdefault(labels[pair], []).append(pair)
    expected = sorted(by_orbit.values(), key=lambda orbit: -abs(found.couplings[orbit[0]]))
    told = found.strongest_couplings(len(pairs))
    assert len(told) == len(by_orbit)
    for each, orbit in zip(told, expected, strict=True):
        assert (each.one, each.other) == min(orbit)
        assert each.n_equivalent == len(orbit)
        assert each.strength == found.couplings[each.one, each.other]
    assert found.strongest_couplings(4) == told[:4]


def test_equivalent_atoms_have_equal_weights_and_couplings():
    found = metric_map(ForceField(uneven()))
    for atoms, images in zip(TWO_ROTORS.permutations, found.feature_permutations, strict=True):
        matrix = found.matrix[np.ix_(atoms, atoms)]
        np.testing.assert_allclose(matrix, found.matrix, rtol=1e-12)
        np.testing.assert_allclose(
            found.couplings[np.ix_(images, images)], found.couplings, atol=1e-12
        )
        np.testing.assert_allclose(found.mean_distances[images], found.mean_distances)


def test_reduced_models_have_no_weight_where_they_have_no_feature():
    kept = np.sort(np.concatenate(feature_orbits(TWO_ROTORS.permutations)[::2]))
    parameters = uneven(features=kept)
    found = metric_map(ForceField(parameters))
    first, second = (ends[kept] for ends in np.triu_indices(TWO_ROTORS.n_atoms, 1))
    np.testing.assert_array_equal(found.matrix[first, second], found.weights)
    assert np.isfinite(found.matrix).sum() == 2 * len(kept)
    np.testing.assert_array_equal(found.features, kept)
    distances = INVERSE.distance(parameters.training_descriptors)
    for orbit in feature_orbits(TWO_ROTORS.permutations, kept):
        np.testing.assert_allclose(found.mean_distances[orbit], distances[:, orbit].mean())


def test_rank_correlation_is_over_orbits():
    force_field = ForceField(uneven())
    metric = metric_map(force_field)
    importance = feature_importance(force_field, TWO_ROTORS.frames(3, seed=2))
    found = compare_with_importance(metric, importance)
    orbits = feature_orbits(TWO_ROTORS.permutations)
    weights = rankdata([metric.weights[orbit[0]] for orbit in orbits])
    changes = rankdata([importance.losses[orbit].mean() for orbit in orbits])
    expected = np.corrcoef(weights, changes)[0, 1]
    assert found.rank_correlation == pytest.approx(expected, rel=1e-10)
    assert abs(expected) < 0.999 and found.n_frames == 3
    assert found.features.tolist() == [orbit[0] for orbit in orbits]
    np.testing.assert_array_equal(found.force_changes, importance.force_changes[found.features])


def test_no_correlation_where_weights_are_equal_or_orbits_few():
    for molecule in (TWO_ROTORS, WATER):
        force_field = toy_force_field(molecule, weighted=molecule is WATER)
        importance = feature_importance(force_field, molecule.frames(2))
        found = compare_with_importance(metric_map(force_field), importance)
        assert found.rank_correlation is None


def test_what_does_not_fit_is_said():
    with pytest.raises(OptionError, match="Train an sGDML model"):
        metric_map(ForceField(toy_atomized_parameters()))
    with pytest.raises(OptionError, match="Measure it with this model"):
        compare_with_importance(metric_map(toy_force_field(WATER)), made_up_importance())
