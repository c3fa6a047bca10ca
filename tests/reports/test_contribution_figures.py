from __future__ import annotations

import numpy as np
import pytest
from matplotlib.patches import Circle
from molecules import CHIRAL, TWO_ROTORS

from kraft.core.errors import OptionError
from kraft.reports.contribution_figures import contributions_figure, save_figure


def figure_of(molecule, values):
    return contributions_figure(
        molecule.atomic_numbers, molecule.positions, values, label="energy (eV)", title="it"
    )


def test_every_atom_has_a_circle_and_a_bar_of_one_color():
    values = np.linspace(-1.0, 2.0, TWO_ROTORS.n_atoms)
    figure = figure_of(TWO_ROTORS, values)
    left, right = figure.axes[:2]
    circles = [patch for patch in left.patches if isinstance(patch, Circle)]
    bars = right.patches
    assert len(circles) == len(bars) == TWO_ROTORS.n_atoms
    np.testing.assert_allclose([bar.get_height() for bar in bars], values)
    for circle, bar in zip(circles, bars, strict=True):
        np.testing.assert_allclose(circle.get_facecolor(), bar.get_facecolor())
    assert circles[0].get_facecolor()[2] > circles[0].get_facecolor()[0]  # negative: blue
    assert circles[-1].get_facecolor()[0] > circles[-1].get_facecolor()[2]  # positive: red
    assert right.get_ylabel() == "energy (eV)"


def test_bonds_are_drawn_between_neighbors():
    figure = figure_of(CHIRAL, np.arange(5.0))
    assert len(figure.axes[0].lines) == 4  # from carbon to each of the others


def test_distances_in_the_plane_are_kept():
    flat = np.zeros((3, 3))
    flat[:, 1] = [0.0, 1.0, 3.0]
    figure = contributions_figure(np.array([1, 6, 8]), flat, np.zeros(3), label="none")
    centers = np.array([patch.center for patch in figure.axes[0].patches])
    assert np.linalg.norm(centers[2] - centers[0]) == pytest.approx(3.0)


def test_wrong_shapes():
    with pytest.raises(OptionError, match="one value of each of 5 atoms"):
        figure_of(CHIRAL, np.ones(4))


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_it_is_written(tmp_path, suffix):
    save_figure(figure_of(CHIRAL, np.arange(5.0)), tmp_path / f"f.{suffix}")
    assert (tmp_path / f"f.{suffix}").stat().st_size > 5000
