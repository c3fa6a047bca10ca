"""Plots of benchmarks: curves with markers in panels, in few colors, as small PNG files."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, ScalarFormatter
from PIL import Image

GRAY, LIGHT = "#5c6670", "#e3e7ea"
COLORS = ("#1f5fa8", "#d1382c", "#2e8b57", "#d97a1f", "#8e44ad", "#17849c")
DPI, PALETTE = 110, 128


@dataclass(frozen=True)
class Series:
    """A curve: points ``(x, y)``, its name, and the style it shares with others of its name."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    color: str = COLORS[0]
    style: str = "o-"
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    """Bounds of a band around the curve."""


@dataclass(frozen=True)
class Panel:
    """Curves that share their axes; ``bars`` stand behind them on an axis of their own."""

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    bars: Sequence[Series] = ()
    bars_label: str = ""
    log: bool = True
    lines: Sequence[float] = field(default_factory=tuple)
    """Horizontal lines."""


def panels_figure(panels: Sequence[Panel], *, columns: int = 3) -> Figure:
    """Draw panels in rows of ``columns``."""
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure: Any = Figure(figsize=(4.3 * columns, 3.4 * rows), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for axes, panel in zip(grid, panels, strict=False):
        _draw(axes, panel)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    return figure


def save_png(figure: Figure, path: Path) -> None:
    """Write a PNG with a palette: a fraction of the size."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    buffer.seek(0)
    image = Image.open(buffer).convert("RGB").quantize(PALETTE, dither=Image.Dither.NONE)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, optimize=True)


def _draw(axes: Any, panel: Panel) -> None:
    if panel.bars:
        _draw_bars(axes, panel)
    for series in panel.series:
        axes.plot(
            series.x, series.y, series.style, color=series.color, label=series.name, markersize=4
        )
        if series.low is not None and series.high is not None:
            axes.fill_between(series.x, series.low, series.high, color=series.color, alpha=0.15)
    for level in panel.lines:
        axes.axhline(level, color=GRAY, linewidth=0.8, linestyle=":")
    if panel.log:
        axes.set_xscale("log")
        axes.set_yscale("log")
        ticks = sorted({x for series in panel.series for x in series.x})
        axes.set_xticks(ticks if len(ticks) < 8 else ticks[::2])
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_locator(LogLocator(subs=_subdivisions(axes.get_ylim())))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_title(panel.title, fontsize=10, loc="left", fontweight="bold")
    axes.set_xlabel(panel.x_label, fontsize=9)
    axes.set_ylabel(panel.y_label, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(color=LIGHT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False)


def _subdivisions(limits: tuple[float, float]) -> tuple[float, ...]:
    """Return which multiples of powers of ten get a label, by how many decades are shown."""
    decades = math.log10(limits[1] / limits[0])
    if decades < 0.5:
        return (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
    return (1.0, 2.0, 3.0, 5.0) if decades < 1.5 else (1.0, 3.0) if decades < 3.0 else (1.0,)


def _draw_bars(axes: Any, panel: Panel) -> None:
    beside = axes.twinx()
    axes.set_zorder(beside.get_zorder() + 1)
    axes.patch.set_visible(False)
    for number, series in enumerate(panel.bars):
        shift = 1.0 + 0.05 * (2 * number - len(panel.bars) + 1)
        beside.bar(
            [x * shift for x in series.x],
            series.y,
            width=[0.08 * x for x in series.x],
            color=series.color,
            alpha=0.25,
        )
    beside.set_ylabel(panel.bars_label, fontsize=9, color=GRAY)
    beside.tick_params(labelsize=8, colors=GRAY)
    beside.spines[["top"]].set_visible(False)
