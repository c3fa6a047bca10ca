"""Figure of predicted uncertainties: do intervals cover, and do deviations follow errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kraft.analysis.calibration import QuantityCalibration, UncertaintyReport
from kraft.core.typing import FloatArray
from kraft.reports.figures import save_figure, tidy, titled_panels

if TYPE_CHECKING:  # matplotlib is slow to import: only where a figure is drawn
    from matplotlib.figure import Figure

__all__ = ["calibration_figure", "save_figure"]

_FORCES, _ENERGY, _DARK, _GRAY, _LIGHT = "#1f5fa8", "#c0561f", "#23272b", "#5c6670", "#d9dee3"
_N_BINS = 10
_MEAN_OF_ABSOLUTE = np.sqrt(2.0 / np.pi)
"""Mean absolute value of a normal variable of unit standard deviation."""


def calibration_figure(report: UncertaintyReport, *, title: str = "") -> Figure:
    """Draw observed against expected coverage, and errors against standard deviations.

    Parameters
    ----------
    report
        In the units to show.
    title
        Above the figure.
    """
    quantities = [("forces", report.forces, report.units.force_label, _FORCES)]
    if report.energies is not None:
        quantities.append(("energies", report.energies, report.units.energy_label, _ENERGY))
    figure, panels = titled_panels(1 + len(quantities), 4.1, 4.2, title)
    _draw_coverage(panels[0], quantities)
    for axes, (name, quantity, unit, color) in zip(panels[1:], quantities, strict=True):
        _draw_errors(axes, name, quantity, unit, color)
    tidy(panels)
    return figure


def _draw_coverage(axes: Any, quantities: list[tuple[str, QuantityCalibration, str, str]]) -> None:
    axes.plot([0, 100], [0, 100], color=_GRAY, linewidth=0.8)
    for name, quantity, _, color in quantities:
        axes.plot(
            100 * quantity.expected,
            100 * quantity.observed,
            color=color,
            linewidth=2.0,
            label=f"{name}: 95 % intervals cover {100 * quantity.interval_coverage:.1f} %",
        )
    axes.grid(color=_LIGHT, linewidth=0.6)
    axes.set(xlim=(0, 100), ylim=(0, 100), aspect="equal")
    axes.set_xlabel("level of the intervals (%)")
    axes.set_ylabel("reference values inside (%)")
    axes.set_title("Above the line: intervals too wide", loc="left", fontsize=10.5)
    axes.legend(frameon=False, fontsize=8.5, loc="best", handlelength=1.2)


def _draw_errors(
    axes: Any, name: str, quantity: QuantityCalibration, unit: str, color: str
) -> None:
    std, error = quantity.geometry_std, quantity.geometry_error
    shown = (std > 0.0) & (error > 0.0)
    axes.scatter(std[shown], error[shown], s=12, color=color, alpha=0.35, linewidths=0)
    for axis, scale in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
        scale("log")
        _label_ticks(axis)
    if shown.any():
        low, high = std[shown].min(), std[shown].max()
        ends = np.array([low / 1.15, high * 1.15])
        axes.plot(ends, _MEAN_OF_ABSOLUTE * ends, color=_GRAY, linewidth=0.9, label="expected mean")
        axes.set_xlim(ends[0] / 1.05, ends[1] * 1.05)
        axes.plot(
            *_bin_means(std[shown], error[shown]), "o-", color=_DARK, markersize=4, linewidth=1.2,
            label="mean of a tenth",
        )  # fmt: skip
        axes.legend(frameon=False, fontsize=8.5, loc="lower right", handlelength=1.6)
    axes.grid(color=_LIGHT, linewidth=0.6)
    of = "mean of a geometry, " if name == "forces" else ""
    axes.set_xlabel(f"standard deviation ({of}{unit})")
    axes.set_ylabel(f"absolute error ({of}{unit})")
    axes.set_title(
        f"{name.capitalize()}: rank correlation {quantity.rank_correlation:.2f}",
        loc="left",
        fontsize=10.5,
    )


def _bin_means(std: FloatArray, error: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return mean deviation and mean error of tenths of the geometries, in order of deviation."""
    order = np.argsort(std)
    parts = [part for part in np.array_split(order, _N_BINS) if len(part)]
    means = [np.array([values[part].mean() for part in parts]) for values in (std, error)]
    return means[0], means[1]


def _label_ticks(axis: Any) -> None:
    """Label a logarithmic axis with plain numbers, at 1, 2 and 5 of every decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0), numticks=8))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
