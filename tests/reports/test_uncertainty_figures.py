from __future__ import annotations

import numpy as np
import pytest

from kraft.analysis.calibration import UncertaintyReport, quantity_calibration
from kraft.reports.uncertainty_figures import calibration_figure, save_figure


def report(*, energies: bool = True, n: int = 40) -> UncertaintyReport:
    rng = np.random.default_rng(0)
    std = rng.uniform(0.5, 2.0, size=(n, 4, 3))
    forces = quantity_calibration(std * rng.normal(size=std.shape), std)
    of_energies = quantity_calibration(std[:, 0, 0] * rng.normal(size=n), std[:, 0, 0])
    return UncertaintyReport(
        forces, of_energies if energies else None, n, "exact", "exact", "As told.", True
    )


@pytest.mark.parametrize("energies", [True, False])
def test_panels_are_those_of_the_quantities(energies):
    shown = report(energies=energies)
    figure = calibration_figure(shown, title="water")
    panels = figure.axes
    assert len(panels) == (3 if energies else 2)
    curve = panels[0].lines[1]
    np.testing.assert_allclose(curve.get_xdata(), 100 * shown.forces.expected)
    np.testing.assert_allclose(curve.get_ydata(), 100 * shown.forces.observed)
    points = panels[1].collections[0].get_offsets()
    np.testing.assert_allclose(points[:, 0], shown.forces.geometry_std)
    np.testing.assert_allclose(points[:, 1], shown.forces.geometry_error)
    means = panels[1].lines[1]
    assert means.get_xdata().mean() == pytest.approx(shown.forces.geometry_std.mean())
    assert means.get_ydata().mean() == pytest.approx(shown.forces.geometry_error.mean())
    assert "eV/Å" in panels[1].get_xlabel() and "eV" in panels[-1].get_ylabel()


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_it_is_written(tmp_path, suffix):
    save_figure(calibration_figure(report(n=3)), tmp_path / f"f.{suffix}")
    assert (tmp_path / f"f.{suffix}").stat().st_size > 5000
    assert [path.name for path in tmp_path.iterdir()] == [f"f.{suffix}"]
