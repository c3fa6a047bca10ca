from __future__ import annotations

import numpy as np
import pytest

from kraft.analysis.trajectories import (
    HarmonicSpectrum,
    angle_histogram,
    free_energy_profile,
    occupations,
    velocity_spectrum,
)
from kraft.core.errors import OptionError
from kraft.data import Units
from kraft.reports.trajectory_figures import (
    Panel,
    dihedral_figure,
    joint_figure,
    save_figure,
    series_figure,
    spectrum_figure,
)

RNG = np.random.default_rng(0)
ANGLES = np.concatenate([RNG.normal(60, 12, 300), RNG.normal(-100, 12, 700)])


def test_series_are_drawn_against_time(tmp_path):
    values = RNG.normal(size=50)
    panels = [Panel("energy (eV)", [values], [np.zeros(50)]), Panel("size (Å)", [values])]
    figure = series_figure(panels, [np.arange(50) * 100.0], title="run")
    top, _, bottom, _ = figure.axes
    np.testing.assert_allclose(top.lines[0].get_ydata(), values)
    np.testing.assert_allclose(top.lines[1].get_ydata(), 0.0)
    assert top.lines[0].get_xdata()[-1] == pytest.approx(4.9)  # ps
    assert bottom.get_xlabel() == "time (ps)"
    assert series_figure(panels, [None]).axes[2].get_xlabel() == "frame"
    save_figure(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5000
    with pytest.raises(OptionError, match="at least one"):
        series_figure([], [])


def test_free_energy_is_drawn_in_the_units_asked_for():
    histogram, found = angle_histogram(ANGLES), occupations([(ANGLES,)])
    profile = free_energy_profile([ANGLES], 300.0)
    figure = dihedral_figure(histogram, found, profile, units=Units("kcal/mol"), name="a-b-c-d")
    density, energy = figure.axes
    labels = [text.get_text() for text in density.texts]
    assert labels[0].startswith("70.0 ±") and labels[1].startswith("30.0 ±")
    drawn, known = energy.lines[0].get_ydata(), np.isfinite(profile.free_energies)
    np.testing.assert_allclose(drawn[known], profile.free_energies[known] / 0.0433641, rtol=1e-5)
    assert "kcal/mol" in energy.get_ylabel() and "a-b-c-d" in energy.get_xlabel()
    assert len(dihedral_figure(histogram, found).axes) == 1


def test_a_map_has_the_first_angle_across():
    other = np.where(ANGLES > 0, 150.0, 20.0) + RNG.normal(size=1000)
    histogram = angle_histogram(ANGLES, other)
    figure = joint_figure(histogram, occupations([(ANGLES, other)]), names=("phi", "psi"))
    axes = figure.axes[0]
    assert axes.get_xlabel().startswith("phi") and axes.get_ylabel().startswith("psi")
    drawn = axes.collections[0].get_array().reshape(histogram.density.shape)
    expected = -np.log(histogram.density.T[histogram.density.T > 0] / histogram.density.max())
    np.testing.assert_allclose(drawn.compressed(), expected, atol=1e-12)
    first = axes.texts[0]
    assert first.get_text().startswith("70.0") and first.xy[0] < 0.0 < first.xy[1] < 40.0


def test_peaks_are_named_and_modes_drawn_below():
    times = np.arange(8000)
    v = np.zeros((8000, 1, 3))
    v[:, 0, 0] = np.cos(2 * np.pi * 2.99792458e-5 * 1600.0 * times)
    found = velocity_spectrum(v, 1.0, resolution=20.0)
    harmonic = HarmonicSpectrum(
        np.array([-50.0, 1650.0]),
        np.ones((2, 1, 3)) / np.sqrt(3.0),
        np.zeros((1, 3)),
        0.0,
        np.ones(1),
    )
    axes = spectrum_figure(found, harmonic, atoms=np.array([0])).axes[0]
    assert [text.get_text() for text in axes.texts] == ["1600"]
    assert axes.get_xlim()[1] == pytest.approx(1.1 * 1650.0)
    lowest = axes.lines[1]
    assert lowest.get_xdata()[lowest.get_ydata().argmin()] == pytest.approx(1650.0, abs=5.0)
    (stick,) = axes.collections[-1].get_segments()
    assert stick[0][0] == 1650.0
    assert spectrum_figure(found, upper=3000.0).axes[0].get_xlim()[1] == 3000.0
