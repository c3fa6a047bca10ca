"""Figures of a metric: what they show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from analysis.test_metric import uneven
from matplotlib.colors import LogNorm, SymLogNorm
from molecules import TWO_ROTORS
from toy_models import toy_parameters

from kraft.analysis.importance import feature_importance
from kraft.analysis.metric import metric_map
from kraft.data.units import Units
from kraft.models import ForceField
from kraft.reports.metric_figures import metric_figure, save_figure


def test_weights_couplings_and_importance_are_drawn(tmp_path):
    force_field = ForceField(uneven())
    metric = metric_map(force_field)
    importance = feature_importance(force_field, TWO_ROTORS.frames(2, seed=2))
    figure = metric_figure(metric, importance, units=Units("kcal/mol"), title="t")
    weights, couplings, compared = figure.axes[:3]
    shown = weights.get_images()[0].get_array()
    np.testing.assert_array_equal(shown.filled(np.nan), metric.matrix)
    points = np.concatenate(
        [line.get_xydata() for line in compared.get_lines() if len(line.get_xydata())]
    )
    expected = importance.force_changes[metric.representatives] / Units("kcal/mol").force_factor
    np.testing.assert_allclose(np.sort(points[:, 1]), np.sort(expected))
    assert "rank correlation" in compared.get_title(loc="left")
    assert "kcal/mol/Å" in compared.get_ylabel()
    assert f"{len(metric.weights)} distances" in couplings.get_title(loc="left")
    save_figure(figure, tmp_path / "metric.png")
    assert (tmp_path / "metric.png").stat().st_size > 5000


def test_couplings_are_ordered_by_elements_and_distance():
    metric = metric_map(ForceField(uneven()))
    axes = metric_figure(metric).axes[1]
    shown = axes.get_images()[0].get_array().filled(np.nan)

    def place(feature):
        ranks = [
            {6: 0, 1: 999}.get(int(n), n) for n in metric.atomic_numbers[metric.pairs[feature]]
        ]
        return sorted(ranks), metric.mean_distances[feature]

    order = sorted(range(len(metric.weights)), key=place)
    expected = metric.couplings[np.ix_(order, order)]
    np.fill_diagonal(expected, np.nan)
    np.testing.assert_array_equal(shown, expected)
    low, high = axes.get_images()[0].get_clim()
    assert -low == high == np.nanmax(np.abs(expected))
    kinds = {tuple(place(feature)[0]) for feature in order}
    assert len(axes.get_lines()) == 2 * (len(kinds) - 1)


def test_a_model_without_mixing_has_one_panel_with_a_scale_that_fits():
    parameters = toy_parameters(TWO_ROTORS)
    figure = metric_figure(metric_map(ForceField(parameters)))
    assert len(figure.axes) == 2  # the panel and its scale
    assert not isinstance(figure.axes[0].get_images()[0].norm, LogNorm)
    metric = metric_map(ForceField(parameters))
    wide = replace(metric, weights=metric.weights * np.where(metric.labels == 0, 0.01, 1.0))
    assert isinstance(metric_figure(wide).axes[0].get_images()[0].norm, LogNorm)


@pytest.mark.parametrize("n_atoms, n_named", [(9, 9), (42, 21)])
def test_atoms_are_named_as_far_as_there_is_room(n_atoms, n_named):
    metric = metric_map(ForceField(toy_parameters(TWO_ROTORS)))
    first = np.triu_indices(n_atoms, 1)[0]
    larger = replace(
        metric,
        atomic_numbers=np.full(n_atoms, 6),
        features=np.arange(len(first)),
        weights=np.ones(len(first)),
    )
    axes = metric_figure(larger).axes[0]
    assert len(axes.get_xticklabels()) == n_named
    assert axes.get_yticklabels()[1].get_text() == ("C1" if n_named == n_atoms else "C2")


def test_many_couplings_share_cells_that_show_the_strongest():
    rng = np.random.default_rng(0)
    n_atoms = 36  # 630 distances: two of them to a cell's side
    parameters = toy_parameters(TWO_ROTORS)
    metric = metric_map(ForceField(parameters))
    couplings = 0.001 * rng.uniform(-1.0, 1.0, (630, 630))
    couplings = couplings + couplings.T
    couplings[100, 401] = couplings[401, 100] = -0.5
    larger = replace(
        metric,
        atomic_numbers=np.full(n_atoms, 6),
        features=np.arange(630),
        weights=np.ones(630),
        mean_distances=np.arange(630.0),
        couplings=couplings,
    )
    axes = metric_figure(larger).axes[1]
    (image,) = axes.get_images()
    cells = image.get_array().filled(np.nan)
    assert cells.shape == (315, 315) and np.isfinite(cells).all()
    assert cells[50, 200] == -0.5 and axes.get_xlim() == (-0.5, 629.5)
    block = couplings[20:22, 40:42]
    assert cells[10, 20] == block.flat[np.abs(block).argmax()]
    assert cells[10, 10] == couplings[20, 21]  # a feature with itself is left out
    assert isinstance(image.norm, SymLogNorm)
