"""Figures of reduced descriptors: errors and speed by size, importance against distance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kraft.analysis.feature_patterns import SHORT_RANGE, FeatureScaling, RangeShares
from kraft.analysis.importance import FeatureImportance
from kraft.core.typing import FloatArray, IntArray
from kraft.data.units import Units
from kraft.reports.figures import save_figure, tidy, titled_panels

if TYPE_CHECKING:  # matplotlib is slow to import: only where a figure is drawn
    from matplotlib.figure import Figure

__all__ = [
    "CurvePoint",
    "importance_figure",
    "reduction_figure",
    "save_figure",
    "scaling_figure",
]

_BLUE, _RED, _GREEN = "#1f5fa8", "#d1382c", "#2e8b57"
_GRAY, _LIGHT = "#5c6670", "#d9dee3"


@dataclass(frozen=True)
class CurvePoint:
    """A descriptor size: share of the pairs kept, errors in the units shown, time in seconds."""

    fraction: float
    force_mae: float
    energy_mae: float | None
    prediction_seconds: float
    iteration_seconds: float | None = None


def reduction_figure(
    points: Sequence[CurvePoint],
    *,
    shares: RangeShares | None = None,
    units: Units | None = None,
    title: str = "",
) -> Figure:
    """Draw errors, speed-up and, if given, short and long-ranged features by descriptor size.

    Parameters
    ----------
    points
        Of a curve.
    shares
        Features by range.
    units
        Of the errors; eV and Å by default.
    title
        Above the figure.
    """
    shown = units or Units()
    figure, panels = _panels(2 if shares is None else 3, title)
    ordered = sorted(points, key=lambda point: -point.fraction)
    _draw_errors(panels[0], ordered, shown)
    _draw_speed(panels[1], ordered)
    if shares is not None:
        _draw_shares(panels[2], shares)
    _finish(panels)
    for axes in panels:
        axes.set_xlabel("share of all pairs of atoms kept")
        axes.set_xlim(1.03, 0.0)
    return figure


def importance_figure(
    importance: FeatureImportance,
    kept: IntArray | None = None,
    *,
    cutoff: float | None = None,
    units: Units | None = None,
    title: str = "",
) -> Figure:
    """Draw the importance of features against their distance, and how it is distributed.

    Parameters
    ----------
    importance
        Of all features.
    kept
        Features of a reduced descriptor, to be set off from those removed.
    cutoff
        Å, marked.
    units
        To show; eV and Å by default.
    title
        Above the figure.
    """
    shown = units or Units()
    figure, (left, right) = _panels(2, title)
    changes = importance.force_changes / shown.force_factor
    chosen = np.ones(len(changes), dtype=bool)
    if kept is not None:
        chosen = np.isin(importance.features, kept)
    for part, color, name in ((~chosen, _RED, "removed"), (chosen, _BLUE, "kept")):
        if part.any():
            label = f"{name}, {part.sum()}"
            left.semilogy(
                importance.mean_distances[part],
                changes[part],
                ".",
                color=color,
                markersize=4,
                alpha=0.6,
                label=label,
            )
    left.axvline(SHORT_RANGE if cutoff is None else cutoff, color=_GRAY, linewidth=0.8, ls=":")
    left.set_xlabel("mean distance (Å)")
    left.set_ylabel(f"RMS change of forces by masking ({shown.force_label})")
    left.set_title("Importance against distance", loc="left", fontsize=10.5)
    order = np.sort(changes)[::-1]
    right.semilogy(np.arange(1, len(order) + 1), order, color=_BLUE, linewidth=1.8)
    if kept is not None:
        right.axvline(chosen.sum(), color=_RED, linewidth=0.9, ls="--")
        right.annotate(
            f" {chosen.sum()} kept", (chosen.sum(), order[0]), color=_RED, fontsize=9, va="top"
        )
    right.set_xlabel("features, most important first")
    right.set_title("Distribution", loc="left", fontsize=10.5)
    _finish((left, right))
    if kept is not None:
        left.legend(frameon=False, fontsize=9)
    return figure


def scaling_figure(scaling: FeatureScaling, *, title: str = "") -> Figure:
    """Draw the numbers of features kept, and of all pairs, against the number of atoms."""
    figure, panels = _panels(1, title)
    (axes,) = panels
    atoms = np.array(scaling.n_atoms)
    grid = np.linspace(2.0, 1.1 * atoms.max(), 200)
    axes.plot(grid, grid * (grid - 1.0) / 2.0, color=_GRAY, label="all pairs, N(N-1)/2")
    label = f"{scaling.per_atom:.1f} features an atom"
    axes.plot(grid, scaling.per_atom * grid, color=_BLUE, ls="--", label=label)
    axes.plot(atoms, scaling.n_features, "o", color=_RED, label="reduced descriptors")
    for name, x, y in zip(scaling.names, scaling.n_atoms, scaling.n_features, strict=True):
        right = x > 0.6 * atoms.max()
        axes.annotate(
            name,
            (x, y),
            xytext=(-6 if right else 7, 6 if right else -3),
            textcoords="offset points",
            ha="right" if right else "left",
            fontsize=8.5,
            color=_GRAY,
        )
    axes.set_ylim(0.0, 2.2 * max(scaling.n_features))
    axes.set_xlabel("atoms")
    axes.set_ylabel("features")
    axes.legend(frameon=False, fontsize=8.5, loc="upper left")
    _finish(panels)
    return figure


def _panels(count: int, title: str) -> tuple[Figure, Any]:
    return titled_panels(count, 4.5, 3.9, title)


def _finish(panels: Sequence[Any]) -> None:
    for axes in panels:
        axes.grid(color=_LIGHT, linewidth=0.6)
    tidy(panels)


def _draw_errors(axes: Any, points: Sequence[CurvePoint], units: Units) -> None:
    x = [point.fraction for point in points]
    axes.plot(x, [point.force_mae for point in points], "o-", color=_BLUE, label="forces")
    axes.set_ylabel(f"force MAE ({units.force_label})", color=_BLUE)
    axes.set_ylim(bottom=0.0)
    energies = [(p.fraction, p.energy_mae) for p in points if p.energy_mae is not None]
    if energies:
        beside = axes.twinx()
        beside.plot(*zip(*energies, strict=True), "s--", color=_RED, markersize=4)
        beside.set_ylabel(f"energy MAE ({units.energy_label})", color=_RED)
        beside.set_ylim(bottom=0.0)
        beside.tick_params(labelsize=9)
        beside.spines[["top"]].set_visible(False)
    axes.set_title("Errors", loc="left", fontsize=10.5)


def _draw_speed(axes: Any, points: Sequence[CurvePoint]) -> None:
    x = np.array([point.fraction for point in points])
    for values, color, name in (
        ([point.prediction_seconds for point in points], _BLUE, "predictions"),
        ([point.iteration_seconds or np.nan for point in points], _GREEN, "CG iterations"),
    ):
        seconds: FloatArray = np.array(values, dtype=np.float64)
        if np.isfinite(seconds[0]):
            axes.plot(x, seconds[0] / seconds, "o-", color=color, label=name)
    axes.axhline(1.0, color=_GRAY, linewidth=0.8, ls=":")
    axes.set_ylabel(f"times faster than with {100 * x[0]:.0f} % of the pairs")
    axes.set_title("Speed", loc="left", fontsize=10.5)
    axes.legend(frameon=False, fontsize=9)


def _draw_shares(axes: Any, shares: RangeShares) -> None:
    axes.plot(shares.fractions, shares.n_short, "o-", color=_GREEN, label="short-ranged")
    axes.plot(shares.fractions, shares.n_long, "o-", color=_BLUE, label="long-ranged")
    axes.axhline(shares.n_short_in_all, color=_GREEN, linewidth=1.0, ls="--")
    axes.set_ylabel("features kept")
    axes.set_title(
        f"Always below {shares.cutoff:g} Å, and others (dashed: all short-ranged)",
        loc="left",
        fontsize=9.5,
    )
    axes.legend(frameon=False, fontsize=9)
