"""Spectra of oscillators whose frequencies, widths and areas are known."""

from __future__ import annotations

import numpy as np
import pytest

import kraft
from kraft.analysis.trajectories import (
    BondGraph,
    SpectrumSum,
    normal_modes,
    select_atoms,
    velocity_spectrum,
    vibrations,
    without_rigid_motion,
)
from kraft.analysis.trajectories.velocity_spectrum import LIGHT
from kraft.core.errors import DataError, OptionError
from kraft.interfaces.surface import relax


def oscillation(wavenumber, interval, n, amplitude=1.0, phase=0.3):
    return amplitude * np.cos(2 * np.pi * LIGHT * wavenumber * interval * np.arange(n) + phase)


def velocities(n=6000, interval=1.0):
    """Two atoms: one at 1000 and 3000 /cm, the other at 300 /cm."""
    v = np.zeros((n, 2, 3))
    v[:, 0, 0] = oscillation(1000.0, interval, n)
    v[:, 0, 1] = oscillation(3000.0, interval, n, 0.5)
    v[:, 1, 2] = oscillation(300.0, interval, n, 0.8)
    return v


@pytest.mark.parametrize("window", ["hann", "blackman", "boxcar"])
def test_peaks_widths_and_areas(window):
    v = velocities()
    found = velocity_spectrum(v, 1.0, resolution=20.0, window=window)
    peaks = found.peaks(0.1)[:3]
    np.testing.assert_allclose(peaks, [1000.0, 300.0, 3000.0], atol=1.0)
    step = found.wavenumbers[1]
    assert np.trapezoid(found.intensities, dx=step) == pytest.approx(1.0)
    assert found.mean_square == pytest.approx((v**2).sum(axis=(1, 2)).mean(), rel=0.01)
    near = np.abs(found.wavenumbers - 3000.0) < 150.0
    share = found.intensities[near].sum() * step
    assert share == pytest.approx(0.25 / (1.0 + 0.25 + 0.64), rel=0.08)
    highest = np.where(np.abs(found.wavenumbers - 1000.0) < 150.0, found.intensities, 0.0)
    above = highest > 0.5 * highest.max()
    assert above.sum() * step == pytest.approx(20.0, abs=step)
    assert found.resolution == pytest.approx(20.0, rel=0.01)
    assert found.nyquist == pytest.approx(0.5 / LIGHT)


def test_it_is_the_transform_of_the_autocorrelation():
    rng = np.random.default_rng(0)
    v = rng.normal(size=(4000, 1, 3)).cumsum(axis=0) * 0.01 + rng.normal(size=(4000, 1, 3))
    v -= v.mean(axis=0)
    found = velocity_spectrum(v, 1.0, resolution=400.0, window="boxcar")
    n = round(1.0 / (LIGHT * found.resolution) * 0.885893)
    lags = np.arange(n)
    correlation = [(v[: len(v) - k] * v[k:]).sum() / (len(v) - k) for k in lags]
    triangle = 1.0 - lags / n
    phases = np.cos(2 * np.pi * LIGHT * found.wavenumbers[:, None] * lags)
    weights = np.where(lags == 0, 1.0, 2.0) * triangle * correlation
    oracle = phases @ weights
    oracle /= oracle.sum() * found.wavenumbers[1]
    assert np.abs(found.intensities - oracle).max() < 0.06 * oracle.max()


def test_masses_weight_and_differences_are_corrected():
    n, interval = 6000, 2.0
    v = velocities(n, interval)
    masses = np.array([12.0, 1.0])
    weighted = velocity_spectrum(v, interval, masses=masses, resolution=20.0)
    assert weighted.peaks(0.005)[0] == pytest.approx(1000.0, abs=1.0)
    # m <v²> in eV: 1 u Å²/fs² = 103.64 eV
    expected = 103.6427 * (masses[:, None] * v**2).sum(axis=(1, 2)).mean()
    assert weighted.mean_square == pytest.approx(expected, rel=0.01)
    rates = 2 * np.pi * LIGHT * np.array([1000.0, 3000.0, 300.0])
    x = np.zeros((n, 2, 3))
    for (atom, axis), rate, wave, size in zip(
        ((0, 0), (0, 1), (1, 2)), rates, (1000.0, 3000.0, 300.0), (1.0, 0.5, 0.8), strict=True
    ):
        x[:, atom, axis] = oscillation(wave, interval, n, size / rate, 0.3 - np.pi / 2)
    from_positions = SpectrumSum(
        interval, np.ones(2), mass_weighted=False, resolution=20.0, differences=True
    )
    from_positions.add(np.diff(x, axis=0) / interval)
    direct = velocity_spectrum(v, interval, resolution=20.0)
    found = from_positions.spectrum()
    assert found.source == "positions"
    assert np.abs(found.intensities - direct.intensities).max() < 0.03 * direct.intensities.max()
    assert found.mean_square == pytest.approx(direct.mean_square, rel=0.02)


def test_pieces_and_several_series_give_the_same():
    v = velocities(3000)
    whole = velocity_spectrum(v, 1.0, resolution=40.0)
    pieces = SpectrumSum(1.0, np.ones(2), mass_weighted=False, resolution=40.0)
    for start in range(0, 3000, 70):
        pieces.add(v[start : start + 70])
    np.testing.assert_allclose(pieces.spectrum().intensities, whole.intensities, rtol=1e-12)
    twice = velocity_spectrum([v, v], 1.0, resolution=40.0)
    assert twice.n_segments == 2 * whole.n_segments
    np.testing.assert_allclose(twice.intensities, whole.intensities)


def test_what_is_too_short_or_coarse_is_refused():
    with pytest.raises(DataError, match="needs at least"):
        velocity_spectrum(velocities(100), 1.0, resolution=1.0)
    with pytest.raises(OptionError, match="finer resolution"):
        velocity_spectrum(velocities(100), 100.0, resolution=1000.0)
    with pytest.raises(OptionError, match="positive"):
        velocity_spectrum(velocities(100), 1.0, resolution=0.0)
    with pytest.raises(DataError, match="Nothing moves"):
        velocity_spectrum(np.zeros((2000, 1, 3)), 1.0, resolution=50.0)


def test_rigid_motion_is_removed_and_nothing_else():
    rng = np.random.default_rng(1)
    masses = rng.uniform(1.0, 16.0, 5)
    positions = rng.normal(size=(4, 5, 3))
    rigid = rng.normal(size=(4, 1, 3)) + np.cross(rng.normal(size=(4, 1, 3)), positions)
    np.testing.assert_allclose(without_rigid_motion(rigid, positions, masses), 0.0, atol=1e-12)
    anything = rng.normal(size=(4, 5, 3))
    inner = without_rigid_motion(anything, positions, masses)
    np.testing.assert_allclose(
        without_rigid_motion(anything + rigid, positions, masses), inner, atol=1e-12
    )
    momentum = np.einsum("n,tnx->tx", masses, np.cross(positions, inner))
    assert np.abs(momentum).max() < 1e-12
    line = np.zeros((1, 3, 3))
    line[0, :, 2] = [-1.2, 0.0, 1.2]
    stretch = np.zeros((1, 3, 3))
    stretch[0, :, 2] = [1.0, 0.0, -1.0]
    np.testing.assert_allclose(
        without_rigid_motion(stretch, line, np.array([16.0, 12.0, 16.0])), stretch, atol=1e-12
    )


def test_modes_of_a_diatomic():
    masses, stiffness = np.array([1.0, 35.0]), 32.0  # u, eV/Å²
    axis = np.array([0.0, 0.6, 0.8])
    block = stiffness * np.outer(axis, axis)
    hessian = np.block([[block, -block], [-block, block]])
    waves, modes = normal_modes(hessian, masses, np.stack([0 * axis, 1.3 * axis]))
    reduced = masses.prod() / masses.sum()
    exact = np.sqrt(stiffness * 1.602176634e-19 * 1e20 / (reduced * 1.66053906660e-27))
    assert len(waves) == 1
    assert waves[0] == pytest.approx(exact / (2 * np.pi * 2.99792458e10), rel=1e-6)
    assert np.square(modes[0]).sum(axis=1)[0] == pytest.approx(35.0 / 36.0)
    unstable, _ = normal_modes(-hessian, masses, np.stack([0 * axis, 1.3 * axis]))
    assert unstable[0] == pytest.approx(-waves[0])


def test_a_linear_molecule_keeps_its_bends():
    rng = np.random.default_rng(0)
    line = np.outer([0.0, 1.16, 2.22], [0.0, 0.6, 0.8])
    half = rng.normal(size=(9, 9))
    for bent, n_modes in ((0.0, 4), (1e-5, 4), (0.2, 3)):
        points = line.copy()
        points[1, 0] += bent
        assert len(normal_modes(half @ half.T, [12.0, 12.0, 16.0], points)[0]) == n_modes


def test_vibrations_of_a_model(ethanol_force_field: kraft.ForceField, ethanol_parts):
    start = ethanol_parts.test.positions[3]
    found = vibrations(ethanol_force_field, relax(ethanol_force_field, start, fmax=1e-4).positions)
    assert found.wavenumbers.shape == (21,) and found.modes.shape == (21, 9, 3)
    assert found.max_force < 1e-4
    stretches = found.wavenumbers[found.wavenumbers > 2500.0]
    assert len(stretches) == 6  # five C-H and one O-H
    graph = BondGraph.of(ethanol_parts.test.atomic_numbers, found.positions)
    # the hydrogen atom of O-H has a stretch to itself, the highest
    hydroxyl = found.weights(select_atoms("H bonded to O", graph))
    assert hydroxyl[-1] > 0.8
    grid = np.linspace(0.0, 4500.0, 9001)
    curve = found.broadened(grid, 10.0)
    assert curve.sum() * 0.5 == pytest.approx(1.0, rel=1e-3)
    as_it_is = vibrations(ethanol_force_field, start)
    assert as_it_is.max_force > 0.1
