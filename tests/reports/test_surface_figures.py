"""Figures of energy surfaces say what the numbers say."""

from __future__ import annotations

import numpy as np
import pytest

from kraft.analysis.trajectories import HarmonicSpectrum
from kraft.data import Units
from kraft.interfaces.surface import InternalCoordinate, ReactionPath, Scan
from kraft.reports.surface_figures import modes_figure, path_figure, scan_figure


@pytest.fixture
def turn():
    values = np.arange(0.0, 361.0, 15.0)
    angle = np.radians(3.0 * (values - 60.0))
    n = len(values)
    forces = np.zeros((n, 4, 3))
    return Scan(
        InternalCoordinate((0, 1, 2, 3)),
        values,
        0.05 * (1.0 - np.cos(angle)),
        0.05 * np.radians(3.0) * np.sin(angle),
        forces,
        forces,
        np.zeros(n),
        np.arange(n) > 2,
        np.zeros(n),
        np.ones(n),
        relaxed=True,
        full_turn=True,
        n_sweeps=3,
    )


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_a_scan_names_its_minima_and_tops(turn):
    figure = scan_figure([turn], name="dihedral", units=Units("meV"))
    assert sorted(texts(figure)) == ["0"] * 3 + ["100"] * 3
    assert figure.axes[0].get_xlabel() == "dihedral (degrees)"
    legend = figure.axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["not converged"]


def test_a_path_names_its_top():
    x = np.linspace(0.0, np.pi, 9)
    positions = np.zeros((9, 1, 3))
    positions[:, 0, 0] = x
    forces = np.zeros_like(positions)
    forces[:, 0, 0] = -0.1 * np.sin(2.0 * x)
    path = ReactionPath(
        positions, 0.1 * np.sin(x) ** 2, forces, x, 0.001, True, 5, True, (0.0, 0.0), (0,),
        np.ones(9),
    )  # fmt: skip
    assert path.top == 4 and path.forward == pytest.approx(0.1)
    assert "0.10" in " ".join(texts(path_figure(path)))


def test_imaginary_modes_stand_apart():
    modes = np.eye(6).reshape(6, 2, 3)
    found = HarmonicSpectrum(
        np.array([-300.0, 100.0, 200.0, 300.0, 400.0, 500.0]), modes, np.zeros((2, 3)), 0.0,
        np.ones(2),
    )  # fmt: skip
    axes = modes_figure([found], atoms=np.array([0]), share="share of H").axes[0]
    assert axes.get_xlim()[0] < -300.0 and "imaginary" in axes.get_xlabel()
    assert axes.get_ylabel() == "share of H"
