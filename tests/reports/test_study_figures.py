from __future__ import annotations

import numpy as np
import pytest

from kraft.analysis.preconditioner_study.accuracy import Solution
from kraft.analysis.preconditioner_study.candidates import Candidate
from kraft.analysis.preconditioner_study.iterations import IterationCount
from kraft.analysis.preconditioner_study.rules import RulePoint, compare_rules
from kraft.analysis.preconditioner_study.spectra import Spectrum
from kraft.reports.figures import save_figure
from kraft.reports.study_figures import (
    IterationPanel,
    RuleSeries,
    SpectrumPanel,
    TimePanel,
    cost_figure,
    iterations_figure,
    rule_figure,
    spectra_figure,
    time_figure,
)
from kraft.reports.study_tables import (
    iterations_details,
    iterations_overview,
    prediction_table,
    spectra_table,
)
from kraft.solvers.rank_rule import RankRule


def count(method: str, remainder: str, rank: int, iterations: int, status: str = "converged"):
    return IterationCount(
        method, remainder, rank, rank, iterations, status, 1e-4, 8 * rank, 0.1, 0.01
    )


COUNTS = (
    count("uniform", "shift", 100, 900, "max_iterations"),
    count("uniform", "shift", 400, 300),
    count("uniform", "blocks", 100, 200),
    count("uniform", "blocks", 400, 90),
    count("jacobi", "", 0, 900, "max_iterations"),
)
POINTS = (RulePoint(100, 200, 9.0), RulePoint(400, 50, 4.0), RulePoint(800, 25, 7.0))
SPECTRUM = Spectrum(np.arange(1, 6), np.array([50.0, 9.0, 4.0, 2.0, 1.0]), 1.0, True)


def solution(rank: int, seconds: float, status: str = "converged") -> Solution:
    return Solution("pcg", "uniform", rank, 50, 0, status, 1e-5, seconds, 10**9, 2 * 10**9)


def line(axes, label: str):
    return next(each for each in axes.lines if each.get_label() == label)


def test_iterations_against_shares_of_the_columns():
    figure = iterations_figure([IterationPanel("ethanol", 4000, COUNTS)])
    (axes,) = figure.axes
    curves = [
        each for each in axes.lines if len(each.get_xdata()) == 2 and each.get_marker() == "None"
    ]
    shares = {tuple(each.get_xdata()): None for each in curves}
    assert (2.5, 10.0) in shares
    assert {tuple(each.get_ydata()) for each in curves} >= {(900, 300), (200, 90)}
    hollow = [each for each in axes.lines if each.get_markerfacecolor() == "white"]
    assert [tuple(each.get_ydata()) for each in hollow] == [(900,)]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["uniform", "uniform + blocks", "jacobi: > 900", "10 % of n"]
    assert "% of $n$" in axes.get_xlabel()


def test_spectra_are_drawn_as_they_are():
    panel = SpectrumPanel("k = 5", {"none": SPECTRUM, "uniform + blocks": SPECTRUM})
    figure = spectra_figure([panel, panel])
    assert len(figure.axes) == 2
    drawn = line(figure.axes[0], "not preconditioned")
    np.testing.assert_array_equal(drawn.get_ydata(), SPECTRUM.values)
    assert line(figure.axes[1], "uniform + blocks").get_linestyle() == "--"
    assert figure.axes[0].get_yscale() == "log"


def test_rule_is_a_straight_line_through_its_points():
    rule = RankRule(k_min=50.0, m=1.0)
    points = [RulePoint(k, round(rule.iterations(k, 10_000)), 1.0) for k in (100, 1000)]
    figure = rule_figure({"leverage": [RuleSeries("ethanol", 10_000, points, rule)]})
    dots, fit = figure.axes[0].lines
    np.testing.assert_allclose(dots.get_ydata(), [0.5, 0.05])
    np.testing.assert_allclose(np.interp(1000, fit.get_xdata(), fit.get_ydata()), 0.05, rtol=0.01)


def test_best_rank_is_starred_and_predictions_are_lines():
    figure = time_figure([TimePanel("ethanol", POINTS, {"default": 250, "1 %": 120})])
    (axes,) = figure.axes
    star = next(each for each in axes.lines if each.get_marker() == "*")
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (400, 4.0)
    assert line(axes, "default").get_xdata()[0] == 250


def test_cost_beside_the_dense_solver(tmp_path):
    series = {"uniform + blocks": [solution(50, 3.0), solution(100, 2.0, "max_iterations")]}
    figure = cost_figure(1000, series, solution(0, 9.0))
    time, memory, iterations = figure.axes
    np.testing.assert_allclose(line(time, "uniform + blocks").get_xdata(), [5.0, 10.0])
    assert line(time, "dense").get_ydata()[0] == 9.0
    assert line(memory, "uniform + blocks").get_ydata()[0] == pytest.approx(2.0)
    assert [each.get_label() for each in iterations.lines].count("dense") == 0
    save_figure(figure, tmp_path / "cost.png")
    assert (tmp_path / "cost.png").read_bytes().startswith(b"\x89PNG")


def test_every_label_is_inside_the_figure():
    figure = iterations_figure([IterationPanel("ethanol", 4000, COUNTS)], title="A title")
    figure.draw_without_rendering()
    width, height = figure.bbox.width, figure.bbox.height
    for text in figure.legends[0].get_texts():
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height


def test_overview_has_a_row_for_each_series():
    overview = iterations_overview(COUNTS)
    assert overview.header == ("preconditioner", "k = 100", "k = 400")
    assert overview.rows == (
        ("uniform", "> 900", "300"),
        ("uniform + blocks", "200", "90"),
        ("jacobi", "> 900", "> 900"),
    )
    assert overview.markdown().splitlines()[1] == "| --- | ---: | ---: |"
    assert overview.csv().splitlines()[1] == "uniform,> 900,300"
    assert len(iterations_details(COUNTS).rows) == len(COUNTS)


def test_bounds_of_incomplete_spectra_are_marked():
    partial = Spectrum(SPECTRUM.indices, SPECTRUM.values, 0.5, False)
    table = spectra_table(
        {Candidate("none", "", 0): SPECTRUM, Candidate("svd", "shift", 9): partial}
    )
    assert table.rows[0][-2:] == ("1", "50")
    assert table.rows[1][-2:] == ("≤ 0.5", "≥ 100")


def test_predictions_beside_the_best():
    rules = {"default": RankRule(k_min=10.0, m=1.0)}
    table = prediction_table(POINTS, compare_rules(POINTS, 20_000, rules))
    assert table.rows[0] == ("best measured", "400", "4", "1")
    assert table.rows[-1][:2] == ("1 %", "200")
    assert table.rows[-1][3] == f"{(9.0 - 5.0 / 3.0) / 4.0:.2f}"
