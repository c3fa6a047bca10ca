"""Parts of plots in the style of ``plotting.py``: curves, maps, spectra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from plotting import COLORS, DPI, GRAY, LIGHT

Array = NDArray[np.float64]
DARK = "#23272b"
DEEPEST = 7.0
"""Maps show -ln(p / p_max) up to here."""


@dataclass(frozen=True, eq=False)
class Line:
    """A curve with its name; ``error`` is drawn as a band of two standard errors."""

    name: str
    x: Array
    y: Array
    color: str = COLORS[0]
    style: str = "-"
    error: Array | None = None
    fill: bool = False
    width: float = 1.4


def panels(
    rows: int, columns: int, width: float, height: float, **given: Any
) -> tuple[Figure, list[Any]]:
    """Return a figure and its panels, row by row."""
    figure: Any = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False, **given)
    return figure, list(grid.reshape(-1))


def tidy(axes: Any, title: str, x_label: str, y_label: str, *, legend: bool = True) -> None:
    """Give a panel its labels and the style of all."""
    axes.set_title(title, fontsize=10, loc="left", fontweight="bold")
    axes.set_xlabel(x_label, fontsize=9)
    axes.set_ylabel(y_label, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(color=LIGHT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if legend and axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False)


def curves(axes: Any, lines: Sequence[Line]) -> None:
    """Draw curves."""
    for line in lines:
        axes.plot(
            line.x, line.y, line.style, color=line.color, label=line.name, linewidth=line.width
        )
        if line.error is not None:
            band = 2.0 * line.error
            axes.fill_between(
                line.x, line.y - band, line.y + band, color=line.color, alpha=0.18, linewidth=0
            )
        if line.fill:
            axes.fill_between(line.x, line.y, color=line.color, alpha=0.12, linewidth=0)


def turn(axes: Any, which: str = "x", period: float = 360.0, start: float = -180.0) -> None:
    """Let an axis show a whole turn in degrees."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    setter = axes.set_xlim if which == "x" else axes.set_ylim
    setter(start, start + period)
    axis.set_ticks(np.linspace(start, start + period, 7))


def centers(density: Array, period: float = 360.0) -> Array:
    """Return the middles of the bins of a distribution over a period."""
    n = len(density)
    return (np.arange(n) + 0.5) * period / n - period / 2


def density_map(axes: Any, density: Array, periods: tuple[float, float]) -> Any:
    """Draw a joint distribution of two angles as ``-ln(p / p_max)``.

    Folded angles are shown from zero on: the minima of a methyl group are then in the middle.
    """
    starts = [-180.0 if period == 360.0 else 0.0 for period in periods]
    for axis, (start, n) in enumerate(zip(starts, density.shape, strict=True)):
        if start == 0.0:
            density = np.roll(density, n // 2, axis)
    with np.errstate(divide="ignore"):
        depth = -np.log(density / density.max())
    shown = np.ma.masked_greater(np.ma.masked_invalid(depth), DEEPEST)
    edges = [
        np.linspace(start, start + period, n + 1)
        for start, period, n in zip(starts, periods, density.shape, strict=True)
    ]
    mesh = axes.pcolormesh(
        *edges, shown.T, cmap="viridis_r", vmin=0.0, vmax=DEEPEST, rasterized=True
    )
    turn(axes, "x", periods[0], starts[0])
    turn(axes, "y", periods[1], starts[1])
    return mesh


def bar_of(figure: Any, mesh: Any, axes: Sequence[Any]) -> None:
    """Draw the color bar of maps."""
    bar = figure.colorbar(mesh, ax=list(axes), pad=0.015, aspect=30)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8)
    bar.set_label(r"$-\ln(p\,/\,p_\mathrm{max})$", fontsize=9, color=GRAY)


def sticks(axes: Any, wavenumbers: Array, weights: Array, color: str = DARK) -> None:
    """Draw harmonic modes downwards, as long as their weights."""
    real = wavenumbers > 0.0
    axes.vlines(wavenumbers[real], -weights[real] / weights.max(), 0.0, color=color, linewidth=1.2)


def scaled(x: Array, y: Array, low: float, high: float) -> tuple[Array, Array]:
    """Return the part of a curve between two places, its highest point one."""
    inside = (x >= low) & (x <= high)
    top = y[inside].max() if inside.any() else 1.0
    return x[inside], y[inside] / top
