import dataclasses

import numpy as np
import pytest

from kraft.core.errors import OptionError
from kraft.models.uncertainty.calibration import Calibration, fit_calibration

RNG = np.random.default_rng


def normal_data(n, scale, *, seed=0, n_atoms=4):
    """Errors that are ``scale`` times wider than their standard deviations claim."""
    rng = RNG(seed)
    std = rng.uniform(0.5, 2.0, size=(n, n_atoms, 3))
    energies_std = rng.uniform(0.1, 0.4, size=n)
    errors = scale * std * rng.normal(size=std.shape)
    return errors, std, 3.0 * scale * energies_std * rng.normal(size=n), energies_std


@pytest.mark.parametrize("scale", [0.1, 1.0, 7.0])
def test_factors_are_the_ratio_of_errors_to_claims(scale):
    calibration = fit_calibration(*normal_data(4000, scale), method="exact")
    assert calibration.forces == pytest.approx(scale, rel=0.02)
    assert calibration.energies == pytest.approx(3.0 * scale, rel=0.06)
    assert calibration.method == "exact" and calibration.n_geometries == 4000
    assert calibration.forces_coverage_after == pytest.approx(0.95, abs=0.001)
    assert calibration.energies_coverage_after == pytest.approx(0.95, abs=0.002)
    expected = (
        np.abs(normal_data(4000, scale)[0]) <= 1.959964 * normal_data(4000, scale)[1]
    ).mean()
    assert calibration.forces_coverage == pytest.approx(expected, abs=1e-9)


def test_the_factor_scales_with_the_errors_and_against_the_deviations():
    errors, std, energy_errors, energies_std = normal_data(60, 1.0)
    plain = fit_calibration(errors, std, energy_errors, energies_std, method="exact")
    scaled = fit_calibration(6.0 * errors, 2.0 * std, energy_errors, energies_std, method="exact")
    assert scaled.forces == pytest.approx(3.0 * plain.forces)
    assert scaled.energies == plain.energies


@pytest.mark.parametrize("n", [20, 40, 100])
def test_new_data_are_covered_on_average_however_few_were_calibrated_on(n):
    """Heavy tails and errors that a whole geometry shares, the worst for a plain quantile."""
    covered, energies_covered = [], []
    for seed in range(300):
        rng = RNG(seed)
        shared = rng.standard_t(3, size=(n + 200, 1, 1))
        errors = shared * np.sign(rng.normal(size=(n + 200, 3, 3)))
        std = np.ones_like(errors)
        energy_errors = rng.standard_t(3, size=n + 200)
        calibration = fit_calibration(
            errors[:n], std[:n], energy_errors[:n], np.ones(n), method="exact"
        )
        covered.append((np.abs(errors[n:]) <= 1.959964 * calibration.forces).mean())
        energies_covered.append(
            (np.abs(energy_errors[n:]) <= 1.959964 * calibration.energies).mean()
        )
    assert 0.945 < np.mean(covered) < 0.985
    assert 0.945 < np.mean(energies_covered) < 0.985


def test_independent_components_need_no_margin_for_few_geometries():
    """Twenty geometries of 300 independent components tell the quantile of forces well."""
    factors = [
        fit_calibration(*normal_data(20, 1.0, seed=seed, n_atoms=100), method="exact").forces
        for seed in range(20)
    ]
    assert np.mean(factors) == pytest.approx(1.0, abs=0.01)


def test_without_energies():
    errors, std, _, _ = normal_data(50, 1.0)
    calibration = fit_calibration(errors, std, None, None, method="exact")
    assert calibration.energies is None and calibration.energies_coverage is None


def test_components_that_symmetry_makes_vanish_are_met():
    errors, std, energy_errors, energies_std = normal_data(50, 1.0)
    errors[:, 0, 2] = std[:, 0, 2] = 0.0
    calibration = fit_calibration(errors, std, energy_errors, energies_std, method="exact")
    assert 0.5 < calibration.forces < 1.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: [part[:19] for part in data], "at least 20 geometries.*got 19"),
        (lambda data: [0.0 * data[0], *data[1:]], "errors of the forces are zero"),
        (lambda data: [data[0], 0.0 * data[1], *data[2:]], "deviations of the forces are zero"),
        (lambda data: [data[0] * np.nan, *data[1:]], "forces are not finite"),
        (lambda data: [data[0], -data[1], *data[2:]], "finite or negative"),
        (lambda data: [*data[:2], data[2], 0.0 * data[3]], "deviations of the energies are zero"),
        (lambda data: [*data[:2], 0.0 * data[2], data[3]], "errors of the energies are zero"),
    ],
)
def test_data_that_cannot_be_calibrated_to(change, message):
    with pytest.raises(OptionError, match=message):
        fit_calibration(*change(normal_data(30, 1.0)), method="exact")


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), float("inf")])
def test_factors_are_positive(factor):
    good = fit_calibration(*normal_data(30, 1.0), method="exact")
    for name in ("forces", "energies"):
        with pytest.raises(OptionError, match=name):
            dataclasses.replace(good, **{name: factor})
    assert isinstance(good, Calibration)


@pytest.mark.parametrize("method", ["auto", "guessed"])
def test_the_method_is_a_known_one(method):
    with pytest.raises(OptionError, match=method):
        fit_calibration(*normal_data(30, 1.0), method=method)
