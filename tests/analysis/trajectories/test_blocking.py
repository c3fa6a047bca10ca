"""Standard errors and stationarity against processes whose statistics are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from kraft.analysis.trajectories import (
    blocked_mean,
    cumulative_mean,
    degrees_of_freedom,
    drift,
    kinetic_energies,
    pooled_mean,
    stationarity,
)
from kraft.core.errors import OptionError


def autoregressive(n, coefficient, seed):
    """A stationary AR(1) process of unit variance."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=n) * np.sqrt(1.0 - coefficient**2)
    noise[0] = rng.normal()
    return lfilter([1.0], [1.0, -coefficient], noise)


@pytest.mark.parametrize("coefficient", [0.0, 0.6, 0.95])
def test_errors_of_an_autoregressive_process(coefficient):
    n = 1 << 15
    exact = np.sqrt((1.0 + coefficient) / (1.0 - coefficient) / n)
    errors = [blocked_mean(autoregressive(n, coefficient, s)).standard_error for s in range(12)]
    assert np.mean(errors) == pytest.approx(exact, rel=0.08)
    found = blocked_mean(autoregressive(n, coefficient, 1))
    assert found.converged and abs(found.mean) < 4.0 * exact
    assert found.n_effective == pytest.approx(n * (1 - coefficient) / (1 + coefficient), rel=0.4)


def test_blocks_that_are_all_alike_have_no_error():
    found = blocked_mean(np.tile([1.0, -1.0], 64))
    assert found.standard_error == 0.0 and found.n_effective == np.inf


def test_a_series_that_is_too_short_says_so():
    assert not blocked_mean(np.arange(100.0)).converged
    assert np.isnan(blocked_mean([1.0, 2.0]).standard_error)
    assert blocked_mean(np.full(50, 3.0)).standard_error == 0.0
    with pytest.raises(OptionError, match="finite"):
        blocked_mean([1.0, np.nan])


def test_replicas_are_independent_and_beads_are_not():
    series = [autoregressive(4096, 0.5, seed) for seed in range(4)]
    one = blocked_mean(series[0])
    pooled = pooled_mean(series)
    assert pooled.mean == pytest.approx(np.mean(series))
    assert pooled.standard_error == pytest.approx(one.standard_error / 2, rel=0.3)
    same = pooled_mean([series[0]] * 4, independent=False)
    assert same.standard_error == pytest.approx(one.standard_error)
    with pytest.raises(OptionError, match="one length"):
        pooled_mean([series[0], series[1][:5]], independent=False)


def test_stationarity_passes_about_as_often_as_it_should():
    passed = [stationarity(autoregressive(4096, 0.7, seed)).stationary for seed in range(40)]
    assert 33 <= sum(passed) <= 40


def test_a_slow_start_is_found_and_can_be_discarded():
    series = autoregressive(4096, 0.7, 3)
    series[:400] += 5.0
    found = stationarity(series)
    assert not found.stationary and found.z > 2.5 and found.discard in (0.1, 0.2)
    steady = stationarity(series + 0.01 * np.arange(4096))
    assert not steady.stationary and steady.discard is None
    with pytest.raises(OptionError, match="at least 40"):
        stationarity(np.zeros(5))


def test_cumulative_mean_of_large_numbers():
    series = -1e6 + np.array([0.001, 0.003, 0.002])
    np.testing.assert_allclose(cumulative_mean(series) + 1e6, [0.001, 0.002, 0.002], atol=1e-9)


def test_drift_is_found_with_its_error():
    times = np.arange(4000.0)  # fs
    noise = 0.01 * autoregressive(4000, 0.8, 0)
    found = drift(times, 3.0 - 0.05 * 1e-3 * times + noise)
    assert abs(found.slope + 0.05) < 3.5 * found.standard_error
    slopes = [drift(times, 0.01 * autoregressive(4000, 0.8, seed)).slope for seed in range(30)]
    assert found.standard_error == pytest.approx(np.std(slopes), rel=0.45)
    assert found.duration == pytest.approx(3.999)
    with pytest.raises(OptionError, match="at least 3"):
        drift([0.0, 1.0], [0.0, 1.0])


def test_kinetic_energy_and_degrees_of_freedom():
    rng = np.random.default_rng(0)
    masses = np.array([16.0, 1.0, 1.0, 12.0])
    positions, velocities = rng.normal(size=(2, 5, 4, 3))
    joule = 1.66053906660e-27 * 1e10  # u Å²/fs² in J
    expected = 0.5 * (masses[:, None] * velocities**2).sum(axis=(1, 2)) * joule / 1.602176634e-19
    np.testing.assert_allclose(kinetic_energies(velocities, masses), expected, rtol=1e-6)
    assert degrees_of_freedom(velocities, positions, masses) == 12
    velocities -= np.einsum("n,tnx->tx", masses / masses.sum(), velocities)[:, None]
    assert degrees_of_freedom(velocities, positions, masses) == 9
