"""Figures of a study of preconditioners, after those of papers 004 and 000."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kraft.analysis.preconditioner_study.accuracy import Solution
from kraft.analysis.preconditioner_study.iterations import IterationCount
from kraft.analysis.preconditioner_study.rules import RulePoint, best_point
from kraft.analysis.preconditioner_study.spectra import Spectrum
from kraft.reports.figures import tidy
from kraft.solvers.rank_rule import RankRule

if TYPE_CHECKING:  # matplotlib is slow to import: only where a figure is drawn
    from matplotlib.figure import Figure

DPI = 110
_GRAY, _LIGHT, _INK = "#5c6670", "#e3e7ea", "#22272b"
_COLORS = {
    "uniform": "#1f5fa8",
    "leverage": "#d97a1f",
    "rank-leverage": "#c9a21b",
    "incomplete-cholesky": "#d1382c",
    "random-pivoting-plain": "#17849c",
    "random-pivoting": "#2e8b57",
    "geometries": "#8e44ad",
    "svd": "#22272b",
    "jacobi": "#8a949e",
    "atomic-blocks": "#b03a75",
    "none": "#b9c0c6",
}
_RULE_COLORS = {
    "default": "#1f5fa8",
    "specific": "#d1382c",
    "paper": "#2e8b57",
    "1 %": "#8e44ad",
}
_MARKERS = "osD^vP*X<>h"
_SERIES_COLORS = ("#1f5fa8", "#d1382c", "#2e8b57", "#d97a1f", "#8e44ad", "#17849c", "#b03a75")
_PANEL_WIDTH, _PANEL_HEIGHT, _MOST_COLUMNS = 4.3, 3.5, 3
_LEGEND_WIDTH = 2.7
_ONE_PANEL_WIDTH = 6.0


@dataclass(frozen=True)
class IterationPanel:
    """Iterations of one system.

    Attributes
    ----------
    title
        Above the panel.
    n_labels
        ``n = 3NM``.
    counts
        What was measured.
    """

    title: str
    n_labels: int
    counts: Sequence[IterationCount]


@dataclass(frozen=True)
class SpectrumPanel:
    """Spectra of one system and rank, by the names of the preconditioners' series.

    Attributes
    ----------
    title
        Above the panel.
    spectra
        By series; ``"none"`` is the matrix itself.
    """

    title: str
    spectra: Mapping[str, Spectrum]


@dataclass(frozen=True)
class RuleSeries:
    """Iterations against rank and the rule that they follow.

    Attributes
    ----------
    label
        In the legend.
    n_labels
        ``n = 3NM``.
    points
        Converged measurements.
    rule
        Fitted, or None.
    """

    label: str
    n_labels: int
    points: Sequence[RulePoint]
    rule: RankRule | None


@dataclass(frozen=True)
class TimePanel:
    """Run times of one system against rank, and the ranks that rules predict.

    Attributes
    ----------
    title
        Above the panel.
    points
        Converged measurements.
    predictions
        Ranks by the names of the rules.
    """

    title: str
    points: Sequence[RulePoint]
    predictions: Mapping[str, int]


def iterations_figure(panels: Sequence[IterationPanel], *, title: str = "") -> Figure:
    """Draw iterations against rank (paper 004, figures 5 and 10).

    Open symbols with an arrow did not converge. Dashed lines have blocks of one geometry as
    remainder, dotted ones larger blocks. Methods without columns are horizontal lines.
    """
    figure, axes = _figure(len(panels), title)
    series = list(dict.fromkeys(count.candidate.series for p in panels for count in p.counts))
    for axis, panel in zip(axes, panels, strict=True):
        _logarithmic(axis)
        for name in series:
            some = [count for count in panel.counts if count.candidate.series == name]
            _draw_counts(axis, name, some, panel.n_labels)
        _parity_line(axis, panel)
        axis.set_xlabel("columns of the preconditioner $k$, % of $n$")
        axis.set_ylabel("iterations")
        axis.set_title(panel.title, loc="left", fontsize=10.5)
    _legend(figure, axes)
    return figure  # type: ignore[no-any-return]


def spectra_figure(panels: Sequence[SpectrumPanel], *, title: str = "") -> Figure:
    """Draw the largest eigenvalues of ``P⁻¹ K_λ`` (paper 004, figures 4 and 8)."""
    figure, axes = _figure(len(panels), title)
    for axis, panel in zip(axes, panels, strict=True):
        axis.set(xscale="log", yscale="log")
        axis.grid(color=_LIGHT, linewidth=0.6)
        for name, spectrum in panel.spectra.items():
            axis.plot(
                spectrum.indices,
                spectrum.values,
                linestyle=_line(name),
                color=_color(name),
                linewidth=2.4 if name == "none" else 1.5,
                label="not preconditioned" if name == "none" else name,
            )
        axis.set_xlabel("index of the eigenvalue")
        axis.set_ylabel(r"eigenvalue of $P^{-1}K_\lambda$")
        axis.set_title(panel.title, loc="left", fontsize=10.5)
    _legend(figure, axes)
    return figure  # type: ignore[no-any-return]


def rule_figure(panels: Mapping[str, Sequence[RuleSeries]], *, title: str = "") -> Figure:
    """Draw ``#/n`` against rank with the fitted rules (paper 004, figure 6), a panel a title."""
    figure, axes = _figure(len(panels), title)
    for axis, (heading, series) in zip(axes, panels.items(), strict=True):
        _logarithmic(axis)
        for number, each in enumerate(series):
            color = _SERIES_COLORS[number % len(_SERIES_COLORS)]
            ranks = np.array([point.rank for point in each.points], dtype=float)
            shares = np.array([point.iterations / each.n_labels for point in each.points])
            marker = _MARKERS[number % len(_MARKERS)]
            axis.plot(ranks, shares, marker, color=color, markersize=6, label=each.label)
            if each.rule is not None and len(ranks):
                line = np.geomspace(0.8 * ranks.min(), 1.25 * ranks.max(), 50)
                axis.plot(line, (each.rule.k_min / line) ** each.rule.m, color=color, linewidth=1.2)
        axis.set_xlabel("columns of the preconditioner $k$")
        axis.set_ylabel("iterations / $n$")
        axis.set_title(heading, loc="left", fontsize=10.5)
        if series:
            axis.legend(frameon=False, fontsize=8.5)
    return figure  # type: ignore[no-any-return]


def time_figure(panels: Sequence[TimePanel], *, title: str = "") -> Figure:
    """Draw run times against rank with the ranks that rules predict (paper 004, figure 7)."""
    figure, axes = _figure(len(panels), title)
    for axis, panel in zip(axes, panels, strict=True):
        _logarithmic(axis)
        points = sorted(panel.points, key=lambda point: point.rank)
        ranks, seconds = [p.rank for p in points], [p.seconds for p in points]
        axis.plot(ranks, seconds, "o-", color=_INK, linewidth=1.5, label="measured")
        if points:
            best = best_point(points)
            axis.plot(best.rank, best.seconds, "*", color=_SERIES_COLORS[3], markersize=15)
        for name, rank in panel.predictions.items():
            color = _RULE_COLORS.get(name, _GRAY)
            axis.axvline(rank, color=color, linestyle="--", label=name)
        axis.set_xlabel("columns of the preconditioner $k$")
        axis.set_ylabel("time, s")
        axis.set_title(panel.title, loc="left", fontsize=10.5)
    _legend(figure, axes)
    return figure  # type: ignore[no-any-return]


def cost_figure(
    n_labels: int, iterative: Mapping[str, Sequence[Solution]], dense: Solution, *, title: str = ""
) -> Figure:
    """Draw time, memory and iterations against rank beside the dense solver (paper 000, figure 4).

    Parameters
    ----------
    n_labels
        ``n = 3NM``.
    iterative
        Solutions at several ranks, by the names of the preconditioners' series.
    dense
        The dense solution.
    title
        Above the figure.
    """
    figure, axes = _figure(3, title)
    quantities: tuple[tuple[str, Callable[[Solution], float]], ...] = (
        ("time, s", lambda one: one.seconds),
        ("memory, GB", lambda one: (one.peak_memory or one.memory) / 1e9),
        ("iterations", lambda one: float(one.iterations)),
    )
    for axis, (label, value) in zip(axes, quantities, strict=True):
        _logarithmic(axis)
        for number, (name, solutions) in enumerate(iterative.items()):
            color = _SERIES_COLORS[number % len(_SERIES_COLORS)]
            shares = [100.0 * one.rank / n_labels for one in solutions]
            axis.plot(shares, list(map(value, solutions)), _line(name), color=color, label=name)
            for share, one in zip(shares, solutions, strict=True):
                filled = color if one.status == "converged" else "white"
                axis.plot(share, value(one), "o", color=color, markerfacecolor=filled)
        if label != "iterations":
            axis.axhline(value(dense), color=_GRAY, linestyle=":", label="dense")
        axis.set_xlabel("columns of the preconditioner $k$, % of $n$")
        axis.set_ylabel(label)
    _legend(figure, axes)
    return figure  # type: ignore[no-any-return]


def _figure(n_panels: int, title: str) -> tuple[Any, list[Any]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    n_columns = max(1, min(n_panels, _MOST_COLUMNS))
    if n_panels == 4:
        n_columns = 2
    n_rows = max(1, -(-n_panels // n_columns))
    width = _ONE_PANEL_WIDTH if n_panels == 1 else _PANEL_WIDTH * n_columns
    size = (width, _PANEL_HEIGHT * n_rows + 0.9)
    figure: Any = Figure(figsize=size, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title, fontsize=12, x=0.008, ha="left", fontweight="bold")
    axes = list(np.ravel(figure.subplots(n_rows, n_columns, squeeze=False)))
    for axis in axes[n_panels:]:
        axis.remove()
    axes = axes[:n_panels]
    tidy(axes)
    return figure, axes


def _logarithmic(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter

    axis.set(xscale="log", yscale="log")
    axis.grid(which="major", color=_LIGHT, linewidth=0.8)
    axis.tick_params(which="minor", labelsize=7.5, labelcolor=_GRAY)
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_formatter(FuncFormatter(_minor_label((2, 5))))
    axis.yaxis.set_minor_formatter(FuncFormatter(_minor_label((2, 3, 5, 7))))


def _minor_label(digits: tuple[int, ...]) -> Callable[[float, object], str]:
    """Return a formatter that labels only these minor ticks of a decade."""

    def label(value: float, _: object = None) -> str:
        leading = value / 10.0 ** np.floor(np.log10(value))
        return f"{value:g}" if round(float(leading), 6) in digits else ""

    return label


def _draw_counts(axis: Any, name: str, counts: Sequence[IterationCount], n_labels: int) -> None:
    if not counts:
        return
    color = _color(name)
    if counts[0].rank == 0:
        count = counts[0]
        if count.converged:
            axis.axhline(count.iterations, color=color, linestyle="-.", linewidth=1.3, label=name)
        else:
            axis.plot([], [], linestyle="none", label=f"{name}: > {count.iterations}")
        return
    ordered = sorted(counts, key=lambda count: count.rank)
    shares = [100.0 * count.rank / n_labels for count in ordered]
    marker = _MARKERS[list(_COLORS).index(name.split(" + ")[0]) % len(_MARKERS)]
    steps = [count.iterations for count in ordered]
    axis.plot(shares, steps, linestyle=_line(name), color=color, linewidth=1.4)
    for share, count in zip(shares, ordered, strict=True):
        filled = color if count.converged else "white"
        axis.plot(share, count.iterations, marker, color=color, markerfacecolor=filled)
        if not count.converged:
            axis.annotate(
                "↑", (share, count.iterations), xytext=(0, 3), textcoords="offset points",
                ha="center", color=color, fontsize=9,
            )  # fmt: skip
    axis.plot([], [], marker, linestyle=_line(name), color=color, label=name)


def _parity_line(axis: Any, panel: IterationPanel) -> None:
    """Draw 10 % of the iterations that cost as much as a direct solution, as the paper does."""
    axis.axhline(0.1 * panel.n_labels, color=_GRAY, linestyle=":", linewidth=1.2, label="10 % of n")


def _legend(figure: Any, axes: Sequence[Any]) -> None:
    """Draw one legend for all panels, below them."""
    entries: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        figure.legend(
            entries.values(),
            entries.keys(),
            loc="outside lower center",
            ncols=max(1, min(len(entries), int(figure.get_figwidth() / _LEGEND_WIDTH))),
            frameon=False,
            fontsize=9,
        )


def _color(series: str) -> str:
    return _COLORS.get(series.split(" + ")[0], _GRAY)


def _line(series: str) -> str:
    remainder = series.partition(" + ")[2]
    if not remainder:
        return "-"
    return ":" if ":" in remainder else "--"
