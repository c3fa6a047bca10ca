import math

import numpy as np
import pytest
from metric_cases import arrays_of, bond_frames, toy_arrays
from molecules import TWO_ROTORS, WATER
from toy_models import toy_dataset

import kraft
from kraft.core.errors import OptionError, SolverError
from kraft.models.metric import MetricOptions, learn_metric
from kraft.models.metric.learning import LEAST_EARLY
from kraft.models.metric.objective import CRITERIA
from kraft.symmetry.orbits import feature_orbits, feature_permutations

BOND, TO_THIRD_ATOM = 0, [1, 2]


DEFAULT = MetricOptions()


def learned(arrays, options=DEFAULT, *, start=(3.0, 1e-5), **keywords):
    indices = np.arange(arrays.n_train)
    return learn_metric(arrays, indices, "matern52", *start, options, **keywords)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_features_that_do_not_matter_lose_weight(criterion):
    arrays = arrays_of(bond_frames(12), np.arange(3)[None], bond_frames(12, seed=1))
    options = MetricOptions(criterion=criterion, prior_deviation=2.0, max_steps=40, least_gain=0.0)
    metric = learned(arrays, options)
    assert metric.feature_weights[BOND] > 4.0 * metric.feature_weights[TO_THIRD_ATOM].max()


def test_learned_weights_predict_better_where_features_do_not_matter():
    training, test = bond_frames(12), bond_frames(50, seed=2)
    metric = learned(arrays_of(training, np.arange(3)[None]), MetricOptions(prior_deviation=2.0))
    errors = []
    for weights in (None, metric.feature_weights):
        model, _ = kraft.train(
            training, kernel="matern52", permutations=None, feature_weights=weights
        )
        errors.append(np.abs(model.predict(test.positions).forces - test.forces).mean())
    assert errors[1] < 0.6 * errors[0]


def test_weights_are_tied_over_orbits_and_keep_the_typical_distance():
    arrays = toy_arrays(TWO_ROTORS, 6)
    metric = learned(arrays, MetricOptions(max_steps=4), start=(8.0, 1e-4))
    orbits = feature_orbits(TWO_ROTORS.permutations)
    assert all(np.ptp(metric.feature_weights[orbit]) == 0.0 for orbit in orbits)
    assert len(set(metric.feature_weights)) > 10
    assert metric.orbits.max() + 1 == len(orbits)
    values = arrays.descriptor.values(arrays.positions).numpy()
    i, j = np.triu_indices(6, 1)

    def median(x):  # of an odd number of pairs
        return np.median(np.linalg.norm(x[i] - x[j], axis=1))

    mixed = values * metric.feature_weights @ metric.feature_mixing
    assert median(mixed) == pytest.approx(median(values), rel=1e-12)


def test_the_trace_descends_and_ends_at_the_result():
    metric = learned(toy_arrays(WATER, 8), MetricOptions(max_steps=6, least_gain=0.0))
    values = [step.objective for step in metric.steps]
    assert values == sorted(values, reverse=True)
    assert metric.gain == values[0] - values[-1] > 0.0
    assert metric.n_evaluations >= len(metric.steps)
    assert len(set(metric.steps[0].orbit_weights)) == 1
    ratio = metric.steps[-1].orbit_weights[metric.orbits] / metric.feature_weights
    np.testing.assert_allclose(ratio, math.sqrt(5.0) / metric.length_scale, rtol=1e-12)
    assert metric.steps[-1].regularization == metric.regularization


def test_many_geometries_are_learned_from_in_two_stages():
    arrays = toy_arrays(WATER, 2 * LEAST_EARLY)
    calls = []
    options = MetricOptions(max_steps=2, least_gain=0.0)
    metric = learned(arrays, options, progress=lambda *call: calls.append(call))
    assert metric.n_train == 2 * LEAST_EARLY
    sizes = [step.n_train for step in metric.steps]
    assert sizes == [LEAST_EARLY] * 3 + [2 * LEAST_EARLY] * 3
    early, late = metric.steps[2], metric.steps[3]
    assert early.mixing.size == 0 and not late.mixing.any() and metric.steps[-1].mixing.any()
    np.testing.assert_array_equal(early.orbit_weights, late.orbit_weights)
    gains = [metric.steps[i].objective - metric.steps[j].objective for i, j in ((0, 2), (3, 5))]
    assert metric.gain == pytest.approx(sum(gains)) and min(gains) > 0.0
    assert metric.n_steps == 4
    assert {total for _, _, total in calls} == {4}
    assert [done for _, done, _ in calls] == [0, 1, 2, 2, 3, 4]


def test_a_strong_prior_leaves_the_metric_alone():
    options = MetricOptions(prior_deviation=1e-4, mixing_deviation=1e-4)
    metric = learned(toy_arrays(WATER, 8), options)
    np.testing.assert_allclose(metric.feature_weights, 1.0, rtol=1e-3)
    np.testing.assert_allclose(metric.feature_mixing, np.eye(3), atol=1e-3)
    assert metric.spread < 1e-3


def test_weights_alone():
    metric = learned(toy_arrays(WATER, 8), MetricOptions(mixing_deviation=0.0))
    assert metric.feature_mixing is None and metric.spread > 0.0
    assert metric.steps[-1].mixing.size == 0


def test_mixing_is_symmetric_and_commutes_with_the_permutations():
    metric = learned(toy_arrays(TWO_ROTORS, 6), MetricOptions(max_steps=4), start=(8.0, 1e-4))
    mixing = metric.feature_mixing
    np.testing.assert_array_equal(mixing, mixing.T)
    assert np.ptp(mixing - np.diag(np.diag(mixing))) > 1e-3
    for images in feature_permutations(TWO_ROTORS.permutations):
        np.testing.assert_array_equal(mixing[np.ix_(images, images)], mixing)


def test_stops_early_and_says_why():
    arrays = toy_arrays(WATER, 8)
    early = learned(arrays, MetricOptions(max_steps=60, least_gain=1.0))
    assert len(early.steps) == 6 and "gained less" in early.stop_reason
    limited = learned(arrays, MetricOptions(max_steps=3, least_gain=0.0))
    assert len(limited.steps) == 4 and "limit of 3" in limited.stop_reason


def test_is_the_same_every_time():
    first, second = (learned(toy_arrays(WATER, 8)) for _ in range(2))
    np.testing.assert_array_equal(first.feature_weights, second.feature_weights)


def test_an_interruption_passes_through():
    calls = []

    def progress(stage, done, total):
        calls.append((stage, done, total))
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learned(toy_arrays(WATER, 8), progress=progress)
    assert calls[0] == ("learning the metric", 0, MetricOptions().max_steps)
    assert [done for _, done, _ in calls] == [0, 1, 2]


def test_a_singular_start_is_an_error():
    frames = toy_dataset(WATER, 3)
    twice = kraft.Dataset(
        frames.atomic_numbers,
        np.repeat(frames.positions, 2, axis=0),
        np.repeat(frames.forces, 2, axis=0),
    )
    with pytest.raises(SolverError, match="singular at the start"):
        learned(arrays_of(twice, WATER.permutations), start=(2.0, 1e-30))


def test_turns_back_from_singular_systems():
    """Where a step leads to a system that cannot be solved, the descent goes on with a smaller."""
    import kraft.models.metric.objective as module

    arrays = toy_arrays(WATER, 8)
    objective = module.MetricObjective.__call__
    seen = []

    def fragile(self, point):
        seen.append(point)
        if len(seen) in (3, 4):
            return math.inf, np.zeros_like(point)
        return objective(self, point)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.MetricObjective, "__call__", fragile)
        metric = learned(arrays)
    assert len(metric.steps) > 2 and math.isfinite(metric.steps[-1].objective)


@pytest.mark.parametrize("name", ["max_labels", "max_steps"])
def test_refuses_options_below_one(name):
    with pytest.raises(OptionError, match=name):
        MetricOptions(**{name: 0})
