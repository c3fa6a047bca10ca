"""Figures of a training: how errors fall with more data, and how predictions compare."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import chemical_symbols

from kraft.core.errors import OptionError
from kraft.core.files import atomic_path
from kraft.core.typing import FloatArray, IntArray
from kraft.data.units import Units

if TYPE_CHECKING:  # matplotlib is slow to import: only where a figure is drawn
    from matplotlib.figure import Figure

DPI = 160

_BLUE, _GRAY, _LIGHT = "#1f5fa8", "#5c6670", "#d9dee3"
_ELEMENT_COLORS = {1: "#8a949e", 6: "#2b2f33", 7: "#3563c9", 8: "#d1382c", 16: "#c9a21b"}
_OTHER_COLORS = ("#2e8b57", "#8e44ad", "#d97a1f", "#17849c", "#b03a75")
_RANGE_OF_ERRORS = 99.0
_N_BINS = 45


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """Test errors of models trained on more and more geometries.

    Attributes
    ----------
    n_train
        ``(K,)`` numbers of training geometries, rising.
    force_mae
        ``(K,)`` mean absolute errors of force components on the test set in eV/Å.
    n_test
        Size of the test set.
    """

    n_train: IntArray
    force_mae: FloatArray
    n_test: int

    @property
    def exponent(self) -> float | None:
        """Power of the number of geometries with which the error falls; None for one point."""
        if len(self.n_train) < 2:
            return None
        return float(np.polyfit(np.log(self.n_train), np.log(self.force_mae), 1)[0])


def learning_figure(
    curve: LearningCurve,
    atomic_numbers: IntArray,
    reference_forces: FloatArray,
    predicted_forces: FloatArray,
    *,
    units: Units | None = None,
    title: str = "",
) -> Figure:
    """Draw a learning curve, predicted against reference forces, and the errors by element.

    Parameters
    ----------
    curve
        The learning curve.
    atomic_numbers
        ``(N,)``.
    reference_forces, predicted_forces
        ``(B, N, 3)`` of the test set in eV/Å.
    units
        To show; eV and Å by default.
    title
        Above the figure.

    Raises
    ------
    OptionError
        When the shapes do not fit together.
    """
    if reference_forces.shape != predicted_forces.shape or reference_forces.ndim != 3:
        raise OptionError(
            f"Expected forces of one shape (B, N, 3), got {reference_forces.shape} and "
            f"{predicted_forces.shape}. Predict the forces of the test set."
        )
    shown = units or Units()
    figure = titled_figure(12.0, 4.2, title)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.0, 1.05, 1.0))
    reference = reference_forces / shown.force_factor
    errors = (predicted_forces - reference_forces) / shown.force_factor
    _draw_curve(left, curve, shown)
    _draw_scatter(figure, middle, reference, errors, shown)
    _draw_errors(right, atomic_numbers, errors, shown)
    tidy((left, middle, right))
    return figure  # type: ignore[no-any-return]


def titled_figure(width: float, height: float, title: str) -> Any:
    """Return an empty figure of a size in inches with a title at its left."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title, fontsize=12.5, x=0.008, ha="left", fontweight="bold")
    return figure


def titled_panels(count: int, width: float, height: float, title: str) -> tuple[Figure, Any]:
    """Return a titled figure and its panels side by side, each of a size in inches."""
    figure = titled_figure(width * count, height, title)
    return figure, figure.subplots(1, count, squeeze=False)[0]


def tidy(panels: Sequence[Any]) -> None:
    """Take away what frames of panels do not need."""
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=9)
        axes.set_axisbelow(True)


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure, atomically; the suffix of ``path`` chooses the format.

    Raises
    ------
    OSError
        When the file cannot be written.
    """
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DPI)


def _draw_curve(axes: Any, curve: LearningCurve, units: Units) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    errors = curve.force_mae / units.force_factor
    axes.grid(which="both", color=_LIGHT, linewidth=0.6)
    axes.loglog(curve.n_train, errors, "o-", color=_BLUE, linewidth=2.0, markersize=7)
    for n_train, error in zip(curve.n_train, errors, strict=True):
        axes.annotate(
            f"{error:#.3g}",
            (n_train, error),
            xytext=(5, 7),
            textcoords="offset points",
            fontsize=9,
            color=_GRAY,
        )
    axes.set_xticks(curve.n_train.tolist(), [str(n) for n in curve.n_train])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(_plain))
    axes.yaxis.set_minor_formatter(FuncFormatter(_plain_minor))
    axes.tick_params(which="minor", labelsize=8, colors=_GRAY)
    axes.margins(x=0.15, y=0.16)
    axes.set_xlabel("training geometries")
    axes.set_ylabel(f"force MAE ({units.force_label})")
    exponent = curve.exponent
    law = "" if exponent is None else f", falls as $n^{{{exponent:.2f}}}$"
    axes.set_title(f"Learning curve{law}", loc="left", fontsize=10.5)


def _draw_scatter(
    figure: Any, axes: Any, reference: FloatArray, errors: FloatArray, units: Units
) -> None:
    from matplotlib.colors import LogNorm

    x, y = reference.ravel(), (reference + errors).ravel()
    low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    pad = 0.04 * max(high - low, 1e-12)
    extent = (low - pad, high + pad)
    axes.plot(extent, extent, color=_GRAY, linewidth=0.8, zorder=1)
    cells = axes.hexbin(
        x, y, gridsize=70, extent=(*extent, *extent), mincnt=1, cmap="viridis", norm=LogNorm()
    )
    cells.set_zorder(2)
    axes.set(xlim=extent, ylim=extent, aspect="equal")
    axes.set_xlabel(f"reference force component ({units.force_label})")
    axes.set_ylabel(f"predicted ({units.force_label})")
    bar = figure.colorbar(cells, ax=axes, shrink=0.8, pad=0.02, aspect=25)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8)
    bar.set_label("components per cell", fontsize=8.5, color=_GRAY)
    spread = float(reference.std())
    share = float(np.abs(errors).mean()) / spread if spread > 0.0 else float("nan")
    axes.set_title(
        f"{len(reference)} test geometries, MAE {100 * share:.1f} % of spread",
        loc="left",
        fontsize=10.5,
    )


def _draw_errors(axes: Any, atomic_numbers: IntArray, errors: FloatArray, units: Units) -> None:
    reach = float(np.percentile(np.abs(errors), _RANGE_OF_ERRORS)) or 1e-12
    bins = np.linspace(-reach, reach, _N_BINS + 1)
    axes.axvline(0.0, color=_LIGHT, linewidth=1.0)
    others = iter(_OTHER_COLORS * 20)
    for number in np.unique(atomic_numbers)[::-1].tolist():
        part = errors[:, atomic_numbers == number].ravel()
        density = np.histogram(part, bins)[0] / (len(part) * (bins[1] - bins[0]))
        color = _ELEMENT_COLORS.get(number) or next(others)
        label = f"{chemical_symbols[number]}  {np.abs(part).mean():#.3g}"
        axes.stairs(density, bins, color=color, linewidth=1.7, label=label)
        axes.stairs(density, bins, color=color, fill=True, alpha=0.08)
    axes.set(xlim=(-reach, reach), yticks=[])
    axes.set_ylim(bottom=0.0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(f"error of force component ({units.force_label})")
    axes.set_title("Errors by element", loc="left", fontsize=10.5)
    axes.legend(frameon=False, fontsize=9, loc="upper right", title="MAE", title_fontsize=9)


def _plain(value: float, _: object = None) -> str:
    """Return a tick label without powers of ten."""
    return f"{value:g}"


def _plain_minor(value: float, _: object = None) -> str:
    """Label only the minor ticks 2, 3, 5 and 7 of a decade."""
    leading = value / 10.0 ** np.floor(np.log10(value))
    return f"{value:g}" if round(leading, 6) in (2.0, 3.0, 5.0, 7.0) else ""
