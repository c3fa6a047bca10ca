"""Which features are kept, and models retrained with them."""

from __future__ import annotations

import numpy as np
import pytest
from molecules import WATER
from toy_models import toy_dataset, toy_parameters

import kraft
from kraft.analysis.feature_patterns import range_shares
from kraft.analysis.importance import FeatureImportance, feature_importance
from kraft.analysis.reduction import (
    reduced_model,
    reduction_curve,
    select_features,
    smallest_accurate,
    valid_error,
)
from kraft.analysis.retraining import Retraining, original_frames
from kraft.core.errors import DataError, OptionError
from kraft.symmetry.orbits import feature_orbits


def importance(**changes) -> FeatureImportance:
    """Ten features of five atoms in seven orbits; by share, orbit 2 matters least."""
    labels = np.array([0, 1, 2, 2, 3, 4, 4, 5, 5, 6])
    losses = np.array([9.0, 8.0, 1.0, 4.0, 6.0, 12.0, 2.0])
    distances = np.array([1.0, 1.5, 6.0, 6.0, 2.0, 3.0, 3.0, 8.0, 8.0, 4.5])
    values = {
        "n_atoms": 5,
        "features": np.arange(10),
        "labels": labels,
        "orbit_losses": losses,
        "mean_distances": distances,
        "largest_distances": distances + 0.1,
        "n_frames": 3,
    }
    return FeatureImportance(**{**values, **changes})


def test_the_least_important_orbits_go_first():
    found = importance()
    assert found.ascending.tolist() == [2, 6, 4, 3, 5, 1, 0]  # by 0.5, 2, 3, 4, 6, 8, 9
    assert select_features(found, keep=8).features.tolist() == [0, 1, 4, 5, 6, 7, 8, 9]
    assert select_features(found, keep=0.5).features.tolist() == [0, 1, 4, 7, 8]
    assert select_features(found, keep=1.0).features.tolist() == list(range(10))


def test_no_fewer_than_asked_for_are_kept_and_orbits_stay_whole():
    found = importance()
    for keep in range(2, 11):
        kept = select_features(found, keep=keep).features
        assert len(kept) >= keep
        labels = set(found.labels[kept].tolist())
        assert np.isin(found.labels, list(labels)).sum() == len(kept)


def test_a_percentile_removes_the_features_below_it():
    found = importance()
    limit = np.percentile(found.losses, 40)
    kept = select_features(found, percentile=40.0)
    assert kept.features.tolist() == np.flatnonzero(found.losses >= limit).tolist()
    assert len(select_features(found, percentile=0.0).features) == 10


def test_short_ranged_features_stay():
    found = importance()
    kept = select_features(found, keep=5, cutoff=5.0)
    assert kept.features.tolist() == [0, 1, 4, 5, 6, 9]
    assert kept.n_short_range == 6 and "all kept, more than the 5" in kept.notices[0]
    more = select_features(found, percentile=90.0, cutoff=5.0)
    assert set(more.features.tolist()) >= {0, 1, 4, 5, 6, 9}


def test_shares_are_of_all_pairs_for_a_model_reduced_before():
    found = importance(features=np.arange(20, 30), n_atoms=9)  # 10 of 36 pairs
    assert select_features(found, keep=0.25).features.tolist() == list(range(20, 30))
    assert select_features(found, keep=0.2).features.tolist() == [20, 21, 24, 25, 26, 27, 28]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "not both"),
        ({"keep": 0.5, "percentile": 3.0}, "not both"),
        ({"keep": 0.0}, "share above 0"),
        ({"keep": 11}, "share above 0"),
        ({"percentile": 100.0}, "percentile from 0"),
        ({"keep": 0.5, "cutoff": -1.0}, "cutoff above 0"),
    ],
)
def test_what_makes_no_sense_is_refused(options, said):
    with pytest.raises(OptionError, match=said):
        select_features(importance(), **options)


def test_shares_of_short_and_long_range():
    shares = range_shares(importance(), [1.0, 0.5])
    assert (shares.n_short.tolist(), shares.n_long.tolist()) == ([6, 3], [4, 2])
    assert shares.n_short_in_all == 6


@pytest.fixture(scope="module")
def retrain(ethanol_parts, ethanol_force_field) -> Retraining:
    return Retraining(
        ethanol_force_field.parameters,
        ethanol_parts.train,
        ethanol_parts.test.subset(np.arange(50)),
        length_scale=10.0,
        regularization=1e-10,
    )


@pytest.fixture(scope="module")
def measured(ethanol_parts, ethanol_force_field) -> FeatureImportance:
    return feature_importance(ethanol_force_field, ethanol_parts.test.positions[:5])


def test_all_features_give_the_same_model(retrain, measured, ethanol_force_field, ethanol_parts):
    point = reduced_model(select_features(measured, keep=1.0), retrain)
    positions = ethanol_parts.test.positions[:5]
    expected = ethanol_force_field.predict(positions)
    found = point.force_field.predict(positions)
    np.testing.assert_array_equal(found.forces, expected.forces)
    np.testing.assert_array_equal(found.energies, expected.energies)


def test_reduced_models_are_symmetric_force_fields(
    retrain, measured, ethanol_parts, ethanol_force_field
):
    selection = select_features(measured, keep=0.8)  # 30 of 36
    point = reduced_model(selection, retrain, test=ethanol_parts.test)
    model, positions = point.force_field, ethanol_parts.test.positions[:3]
    orbits = feature_orbits(ethanol_force_field.permutations)
    assert all(np.isin(o, selection.features).all() for o in orbits if o[0] in selection.features)
    forces = model.predict(positions).forces
    for atoms in model.permutations:
        moved = model.predict(positions[:, atoms]).forces
        np.testing.assert_allclose(moved, forces[:, atoms], atol=1e-9)
    assert point.test is not None and point.valid is None
    assert len(selection.features) == 30
    assert point.test.force_mae < 0.2 * point.test.force_spread
    assert point.prediction_seconds > 0.0 and point.iteration_seconds is None


def test_the_metric_is_that_of_the_features_kept():
    model = toy_parameters(WATER, weighted=True, mixes=True)
    options = {"length_scale": 2.0, "regularization": 1e-6}
    retrain = Retraining(model, toy_dataset(WATER, 6), **options)
    found, _ = retrain(np.array([0, 1]))
    np.testing.assert_array_equal(found.parameters.feature_mixing, model.feature_mixing[:2, :2])
    np.testing.assert_array_equal(found.parameters.feature_weights, model.feature_weights[:2])
    whole, _ = retrain(np.arange(3))
    np.testing.assert_array_equal(whole.parameters.feature_mixing, model.feature_mixing)


def test_a_curve_stops_where_the_error_rises(retrain, measured, ethanol_parts):
    held = ethanol_parts.test.subset(np.arange(50))
    sizes = (0.3, 1.0, 0.6, 0.15)
    whole = reduction_curve(measured, retrain, validation=held, keeps=sizes)
    counts = [len(point.selection.features) for point in whole]
    assert counts == sorted(counts, reverse=True) and len(whole) == 4
    errors = [valid_error(point) for point in whole]
    assert errors[-1] > 1.5 * min(errors)  # six of 36 distances are not enough for ethanol
    stopped = reduction_curve(measured, retrain, validation=held, keeps=sizes, until_rise=0.5)
    rises = [error > 1.5 * min(errors[: i + 1]) for i, error in enumerate(errors)]
    assert len(stopped) == rises.index(True) + 1
    best = smallest_accurate(whole, rise=0.5)
    assert valid_error(best) <= 1.5 * min(errors)
    assert best.selection.features.size == min(
        n for n, e in zip(counts, errors, strict=True) if e <= 1.5 * min(errors)
    )


def test_a_rise_needs_validation_frames(retrain, measured):
    with pytest.raises(OptionError, match="validation frames"):
        reduction_curve(measured, retrain, until_rise=0.1)


def test_the_frames_of_a_model_are_found(ethanol, ethanol_parts, ethanol_force_field):
    train, valid = original_frames(ethanol_force_field, ethanol)
    np.testing.assert_array_equal(
        np.sort(train.positions[:, 0, 0]), np.sort(ethanol_parts.train.positions[:, 0, 0])
    )
    assert valid is None
    with pytest.raises(DataError, match="trained on 60 frames"):
        original_frames(ethanol_force_field, ethanol.subset(np.arange(100)))
    other = kraft.Dataset(ethanol.atomic_numbers, ethanol.positions, ethanol.forces)
    with pytest.raises(DataError, match="Expected the data that the model was made from"):
        original_frames(ethanol_force_field, other)
