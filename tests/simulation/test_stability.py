from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import kraft
from kraft.core.errors import GeometryError, OptionError
from kraft.data.geometry import pair_distances
from kraft.simulation import check_stability
from kraft.simulation.guards import DistanceGuard, visited_distances


def test_a_good_force_field_is_stable(ethanol_force_field, starts):
    found = check_stability(
        ethanol_force_field, starts, temperature=300.0, duration=0.3, n_replicas=6
    )
    assert found.stable and found.failures == ()
    np.testing.assert_allclose(found.times, 0.3)
    assert found.total_time == pytest.approx(1.8)
    assert found.failure_rate == 0.0
    assert found.failure_rate_bound == pytest.approx(-np.log(0.05) / 1.8e-3)
    assert (found.largest_novelty < 1.6).all()
    assert found.mean_temperatures.mean() == pytest.approx(300.0, rel=0.25)
    assert found.summary.startswith("Stable in 6 replicas of 0.3 ps at 300 K: fewer than 1664")


def test_a_poor_one_is_not_although_its_starts_are_sound(poor, starts):
    told = []
    found = check_stability(
        poor,
        starts,
        duration=0.3,
        n_replicas=4,
        check_interval=5,
        progress=lambda *stage: told.append(stage),
    )
    assert not found.stable and len(found.failures) >= 3
    assert {f.replica for f in found.failures} <= set(range(4))
    times = [failure.time for failure in found.failures]
    assert times == sorted(times)
    guard = DistanceGuard.of(poor.atomic_numbers, starts, visited=visited_distances(poor))
    for failure in found.failures:
        assert failure.reason in ("close contact", "broken bond", "temperature")
        assert found.times[failure.replica] < failure.time
        lengths = pair_distances(failure.last_good[None])[0]
        assert (lengths >= guard.lower).all() and (lengths <= guard.upper).all()
    assert found.failure_rate_bound > found.failure_rate > 0.0
    first = found.failures[0]
    assert found.summary.startswith("Not stable:") and first.message in found.summary
    assert told[0] == ("dynamics", 5, 600)


def test_seeds_decide_and_replicas_are_independent(poor, starts):
    runs = [
        check_stability(poor, starts, duration=0.05, n_replicas=n, seed=seed)
        for n, seed in ((4, 0), (4, 0), (2, 0), (4, 1))
    ]
    np.testing.assert_array_equal(runs[0].times, runs[1].times)
    np.testing.assert_array_equal(runs[0].largest_novelty, runs[1].largest_novelty)
    np.testing.assert_allclose(runs[0].largest_novelty[:2], runs[2].largest_novelty, atol=1e-6)
    assert not np.allclose(runs[0].mean_temperatures, runs[3].mean_temperatures)


def test_novelty_is_a_failure_on_request(ethanol_force_field, starts):
    found = check_stability(
        ethanol_force_field, starts, duration=0.02, n_replicas=2, max_novelty=0.01
    )
    assert [failure.reason for failure in found.failures] == ["novelty", "novelty"]
    assert found.failures[0].time == pytest.approx(0.005)
    np.testing.assert_array_equal(found.failures[1].last_good, starts[1])
    assert np.isnan(found.largest_novelty).all() and np.isnan(found.mean_temperatures).all()
    assert found.total_time == 0.0 and found.failure_rate == np.inf


def test_starts_are_training_geometries_unless_given(ethanol_force_field):
    found = check_stability(ethanol_force_field, duration=0.01, n_replicas=3, max_novelty=0.01)
    trained = ethanol_force_field.parameters.training_positions
    for failure in found.failures:
        assert np.abs(trained - failure.last_good).max(axis=(1, 2)).min() == 0.0
    parameters = dataclasses.replace(
        ethanol_force_field.parameters, training_positions=None, coefficients=None
    )
    with pytest.raises(OptionError, match="give geometries to start from"):
        check_stability(kraft.ForceField(parameters))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature in K"),
        ({"duration": -1.0}, "duration in ps"),
        ({"duration": 1e-5}, "at least one time step"),
        ({"timestep": float("inf")}, "timestep in fs"),
        ({"n_replicas": 0}, "n_replicas of at least 1"),
        ({"check_interval": 0}, "check_interval of at least 1"),
        ({"friction": 0.0}, "friction"),
    ],
)
def test_options_out_of_range(ethanol_force_field, starts, options, message):
    with pytest.raises(OptionError, match=message):
        check_stability(ethanol_force_field, starts, **options)


def test_starts_that_do_not_fit(ethanol_force_field, starts):
    with pytest.raises(GeometryError, match="molecule of 9 atoms"):
        check_stability(ethanol_force_field, starts[:, :8])
    with pytest.raises(GeometryError, match="finite starts"):
        check_stability(ethanol_force_field, starts * np.nan)
    with pytest.raises(GeometryError, match="unit of length"):
        check_stability(ethanol_force_field, 0.529 * starts)
