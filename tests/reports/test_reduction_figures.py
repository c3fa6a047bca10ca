"""Figures of reduced descriptors and of interactions: what they show."""

from __future__ import annotations

import numpy as np
import pytest
from analysis.test_interactions import made_up
from analysis.test_reduction import importance

from kraft.analysis.feature_patterns import feature_scaling, range_shares
from kraft.analysis.interactions import distance_trends
from kraft.core.errors import OptionError
from kraft.data.units import Units
from kraft.reports.interaction_figures import (
    map_figure,
    partner_figure,
    save_figure,
    trend_figure,
)
from kraft.reports.reduction_figures import (
    CurvePoint,
    importance_figure,
    reduction_figure,
    scaling_figure,
)

POINTS = [
    CurvePoint(1.0, 0.9, 0.5, 4e-3, 2e-2),
    CurvePoint(0.5, 0.8, 0.4, 2e-3, 1e-2),
    CurvePoint(0.2, 1.4, 0.9, 1e-3, 8e-3),
]


def test_the_curve_shows_errors_and_speed_from_large_to_small():
    shares = range_shares(importance(), [1.0, 0.5])
    figure = reduction_figure(POINTS[::-1], shares=shares, units=Units("kcal/mol"), title="t")
    errors, speed, ranges = figure.axes[:3]
    assert errors.get_lines()[0].get_xydata().tolist() == [[1.0, 0.9], [0.5, 0.8], [0.2, 1.4]]
    assert "kcal/mol/Å" in errors.get_ylabel()
    predictions, iterations = speed.get_lines()[:2]
    assert predictions.get_ydata() == pytest.approx([1.0, 2.0, 4.0])
    assert iterations.get_ydata() == pytest.approx([1.0, 2.0, 2.5])
    assert ranges.get_lines()[0].get_ydata().tolist() == [6, 3]
    assert errors.get_xlim()[0] > errors.get_xlim()[1]


def test_importance_is_drawn_for_what_is_kept_and_removed():
    found = importance()
    figure = importance_figure(found, np.array([0, 1, 4]))
    left = figure.axes[0]
    removed, kept = left.get_lines()[:2]
    assert kept.get_xdata().tolist() == found.mean_distances[[0, 1, 4]].tolist()
    assert len(removed.get_xdata()) == 7
    assert np.diff(figure.axes[1].get_lines()[0].get_ydata()).max() <= 0.0


def test_scaling_shows_the_molecules():
    figure = scaling_figure(feature_scaling({"a": (10, 30), "b": (40, 120)}))
    points = figure.axes[0].get_lines()[2].get_xydata().tolist()
    assert points == [[10.0, 30.0], [40.0, 120.0]]


def test_maps_share_a_scale_and_leave_atoms_on_themselves_out(tmp_path):
    found = made_up()
    figure = map_figure({"one": found, "two": found})
    distance, one, two = (axes.get_images()[0] for axes in figure.axes[:3])
    assert np.isnan(np.diag(one.get_array().filled(np.nan))).all()
    # the coefficients of atom 0 on atom 1 are in row 1 (the force), column 0
    assert one.get_array()[1, 0] == pytest.approx(found.mean_contributions[0, 1])
    assert one.get_clim() == two.get_clim()
    assert distance.get_array()[0, 2] == pytest.approx(found.mean_distances[0, 2])
    save_figure(figure, tmp_path / "maps.png")
    assert (tmp_path / "maps.png").stat().st_size > 5000
    with pytest.raises(OptionError, match="at least one"):
        map_figure({})


def test_trends_and_partners_are_drawn(tmp_path):
    trends = distance_trends(made_up())
    figure = trend_figure({"all": trends, "kept": trends})
    assert len(figure.axes[0].collections[0].get_offsets()) == 3
    save_figure(figure, tmp_path / "trends.pdf")
    positions = np.array([[0.0, 0, 0], [1.5, 0, 0], [3.0, 0.4, 0], [3.2, 1.4, 0]])
    figure = partner_figure(np.array([6, 6, 8, 1]), positions, np.array([0, 2, 5]), [0, 2])
    assert "2 of 3 partners" in figure.axes[0].get_title(loc="left")
    with pytest.raises(OptionError, match="0 to 3"):
        partner_figure(np.array([6, 6, 8, 1]), positions, np.array([0]), [4])
