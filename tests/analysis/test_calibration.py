from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from kraft.analysis.calibration import (
    LEVELS,
    QuantityCalibration,
    UncertaintyReport,
    quantity_calibration,
    rank_correlation,
)
from kraft.core.errors import OptionError
from kraft.data.units import Units


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    """Errors of normal distributions with the standard deviations claimed."""
    rng = np.random.default_rng(1)
    std = rng.gamma(4.0, 0.1, size=(4000, 1, 1)) * rng.uniform(0.5, 1.5, size=(4000, 5, 3))
    return std * rng.normal(size=std.shape), std


def test_honest_deviations_are_calibrated(data):
    report = quantity_calibration(*data)
    np.testing.assert_allclose(report.coverage, LEVELS, atol=0.006)
    assert report.interval_coverage == report.coverage[LEVELS.index(0.95)]
    assert report.miscalibration < 0.005 and abs(report.bias) < 0.005
    assert report.rank_correlation > 0.8


def test_likelihood_length_and_sharpness_against_scipy(data):
    errors, std = data
    report = quantity_calibration(errors, std)
    assert report.nll == pytest.approx(-scipy.stats.norm.logpdf(errors, scale=std).mean())
    lower, upper = scipy.stats.norm.interval(0.95, scale=std)
    assert report.interval_length == pytest.approx((upper - lower).mean())
    assert report.interval_coverage == pytest.approx(
        ((lower <= errors) & (errors <= upper)).mean(), abs=1e-9
    )
    assert report.sharpness == pytest.approx(np.sqrt((std**2).mean()))


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_miscalibration_of_scaled_deviations_is_the_closed_form(data, factor):
    errors, std = data
    report = quantity_calibration(errors, factor * std)
    levels = np.linspace(0.0, 1.0, 20001)[:-1]
    observed = 2.0 * scipy.stats.norm.cdf(factor * scipy.stats.norm.ppf(0.5 + levels / 2.0)) - 1.0
    assert report.miscalibration == pytest.approx(np.abs(observed - levels).mean(), abs=0.004)
    assert np.sign(report.bias) == np.sign(1.0 - factor)  # positive: too narrow
    assert abs(report.bias) == pytest.approx(report.miscalibration, abs=1e-3)


def test_the_best_likelihood_is_that_of_the_true_scale(data):
    errors, std = data
    values = [quantity_calibration(errors, f * std).nll for f in (0.7, 0.9, 1.0, 1.1, 1.4)]
    assert np.argmin(values) == 2


def test_rank_correlation_is_spearmans_with_ties():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 6, size=50).astype(float)
    second = first + rng.normal(size=50)
    assert rank_correlation(first, second) == pytest.approx(
        scipy.stats.spearmanr(first, second).statistic
    )
    assert rank_correlation(first, np.exp(first)) == pytest.approx(1.0)
    assert np.isnan(rank_correlation(first, np.ones(50)))


def test_ranks_are_those_of_the_means_over_geometries(data):
    errors, std = data
    report = quantity_calibration(errors, std)
    np.testing.assert_allclose(report.geometry_std, std.mean(axis=(1, 2)))
    np.testing.assert_allclose(report.geometry_error, np.abs(errors).mean(axis=(1, 2)))
    assert report.rank_correlation == pytest.approx(
        scipy.stats.spearmanr(report.geometry_std, report.geometry_error).statistic
    )


def test_energies_are_one_value_a_geometry():
    report = quantity_calibration(np.array([0.5, -1.0, 3.0]), np.ones(3))
    assert report.interval_coverage == pytest.approx(2.0 / 3.0)
    np.testing.assert_array_equal(report.geometry_error, [0.5, 1.0, 3.0])
    assert np.isnan(report.rank_correlation)


def test_what_symmetry_makes_vanish_is_left_out():
    errors, std = np.array([[1.0, 0.0], [0.5, 0.0]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    assert (
        quantity_calibration(errors, std).nll == quantity_calibration(errors[:, :1], std[:, :1]).nll
    )
    certain_but_wrong = quantity_calibration(np.array([[1.0, 0.1]]), np.array([[1.0, 0.0]]))
    assert certain_but_wrong.nll == np.inf
    assert certain_but_wrong.coverage[-1] == 0.5


def test_units_change_lengths_and_the_zero_of_the_likelihood(data):
    errors, std = data
    forces = quantity_calibration(errors, std)
    report = UncertaintyReport(forces, forces, 4000, "exact", "exact", "as told", True)
    shown = report.in_units(Units("kcal/mol"))
    factor = 1.0 / Units("kcal/mol").force_factor
    again = quantity_calibration(errors * factor, std * factor)
    for name in ("interval_length", "nll", "sharpness", "miscalibration", "coverage"):
        assert getattr(shown.forces, name) == pytest.approx(getattr(again, name)), name
    assert shown.units.energy == "kcal/mol" and isinstance(shown.energies, QuantityCalibration)
    assert shown.energies.sharpness == pytest.approx(
        forces.sharpness / Units("kcal/mol").energy_factor
    )
    np.testing.assert_allclose(shown.forces.geometry_error, again.geometry_error)


@pytest.mark.parametrize(
    ("errors", "std", "message"),
    [
        (np.ones(3), np.ones(4), "one shape"),
        (np.ones(0), np.ones(0), "one shape"),
        (np.array([np.nan]), np.ones(1), "finite"),
        (np.ones(2), np.array([1.0, -1.0]), "at least zero"),
        (np.zeros(2), np.zeros(2), "nothing can be compared"),
    ],
)
def test_input_that_means_nothing(errors, std, message):
    with pytest.raises(OptionError, match=message):
        quantity_calibration(errors, std)
