"""Figures of trajectories: series in time, dihedral angles, spectra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kraft.analysis.trajectories import (
    AngleHistogram,
    FreeEnergyProfile,
    HarmonicSpectrum,
    Occupations,
    ReplicaAverage,
    VelocitySpectrum,
)
from kraft.core.errors import OptionError
from kraft.core.typing import FloatArray, IntArray
from kraft.data.units import Units
from kraft.reports.figures import save_figure, tidy, titled_figure

if TYPE_CHECKING:  # matplotlib is slow to import: only where a figure is drawn
    from matplotlib.figure import Figure

__all__ = [
    "Panel",
    "dihedral_figure",
    "joint_figure",
    "save_figure",
    "series_figure",
    "spectrum_figure",
]

_COLORS = ("#1f5fa8", "#c0561f", "#2e8b57", "#8e44ad", "#17849c", "#b03a75")
_DARK, _GRAY, _LIGHT = "#23272b", "#5c6670", "#d9dee3"
_MAX_POINTS = 4000
"""Points drawn of a series; of more, every n-th."""


@dataclass(frozen=True, eq=False)
class Panel:
    """A quantity along trajectories.

    Attributes
    ----------
    label
        Of the axis, with unit.
    series
        ``(T,)`` for each trajectory.
    cumulative
        Cumulative means to draw over them, or None.
    title
        Above the panel.
    average
        Over the replicas that the trajectories are, drawn with a band of one standard error.
    """

    label: str
    series: Sequence[FloatArray]
    cumulative: Sequence[FloatArray] | None = None
    title: str = ""
    average: ReplicaAverage | None = None


def series_figure(
    panels: Sequence[Panel], times: Sequence[FloatArray | None], *, title: str = ""
) -> Figure:
    """Draw quantities against time, each with its distribution at the side.

    Parameters
    ----------
    panels
        From top to bottom.
    times
        ``(T,)`` in fs for each trajectory; the number of the frame is shown where one is None.
    title
        Above the figure.

    Raises
    ------
    OptionError
        When there is no panel.
    """
    if not panels:
        raise OptionError("Expected at least one quantity to draw.")
    figure = titled_figure(9.0, 1.0 + 2.4 * len(panels), title)
    axes = figure.subplots(len(panels), 2, squeeze=False, sharey="row", width_ratios=(5.0, 1.0))
    timed = all(time is not None for time in times)
    for row, panel in zip(axes, panels, strict=True):
        left, right = row
        for index, values in enumerate(panel.series):
            color = _COLORS[index % len(_COLORS)]
            x = _abscissa(times[index] if timed else None, len(values))
            step = max(1, -(-len(values) // _MAX_POINTS))
            faint = panel.cumulative is not None or panel.average is not None
            left.plot(
                x[::step], values[::step], color=color, linewidth=0.8, alpha=0.35 if faint else 0.9
            )
            if panel.cumulative is not None:
                mean = panel.cumulative[index]
                left.plot(x[::step], mean[::step], color=color, linewidth=2.0)
        if panel.average is not None:
            _draw_average(left, panel.average, timed)
        pooled = np.concatenate(list(panel.series))
        bins = min(60, max(10, round(np.sqrt(len(pooled)))))
        density, edges = np.histogram(pooled, bins, density=True)
        right.stairs(density, edges, orientation="horizontal", color=_DARK, linewidth=1.2)
        right.stairs(density, edges, orientation="horizontal", color=_GRAY, fill=True, alpha=0.15)
        right.set(xticks=[], xlim=(0.0, None))
        right.spines["bottom"].set_visible(False)
        left.ticklabel_format(axis="y", useOffset=False)
        left.set_ylabel(panel.label)
        left.set_title(panel.title, loc="left", fontsize=10.5)
        left.margins(x=0.01)
        left.tick_params(labelbottom=panel is panels[-1])
        left.grid(color=_LIGHT, linewidth=0.6)
    axes[-1][0].set_xlabel("time (ps)" if timed else "frame")
    tidy(axes.ravel())
    figure.align_ylabels(axes[:, 0])
    return figure  # type: ignore[no-any-return]


def dihedral_figure(
    histogram: AngleHistogram,
    occupied: Occupations,
    profile: FreeEnergyProfile | None = None,
    *,
    units: Units | None = None,
    name: str = "dihedral angle",
    title: str = "",
) -> Figure:
    """Draw the distribution of an angle with its occupations and, if given, its free energy.

    Parameters
    ----------
    histogram
        Of one angle.
    occupied
        Its minima.
    profile
        Free energy, drawn beneath with two standard errors.
    units
        To show; eV by default.
    name
        Of the angle.
    title
        Above the figure.
    """
    n_panels = 1 if profile is None else 2
    figure = titled_figure(7.0, 1.2 + 2.7 * n_panels, title)
    axes = figure.subplots(n_panels, 1, squeeze=False, sharex=True)[:, 0]
    density, edges = histogram.density, histogram.edges[0]
    axes[0].stairs(1e2 * density, edges, color=_COLORS[0], linewidth=1.6)
    axes[0].stairs(1e2 * density, edges, color=_COLORS[0], fill=True, alpha=0.12)
    height = 1e2 * float(density.max())
    for center, share in zip(occupied.basins.centers[:, 0], occupied.shares, strict=True):
        top = 1e2 * float(density[np.digitize(center, edges[1:-1])])
        axes[0].annotate(
            _share(share.mean, share.standard_error),
            (_inside(center, edges), top),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=9,
            color=_DARK,
        )
    axes[0].set_ylim(0.0, 1.18 * height)
    axes[0].set_ylabel("probability (% per degree)")
    if profile is not None:
        _draw_profile(axes[1], profile, units or Units())
    period = histogram.periods[0]
    for panel in axes:
        panel.grid(color=_LIGHT, linewidth=0.6)
        panel.set_xlim(-period / 2, period / 2)
        panel.set_xticks(np.linspace(-period / 2, period / 2, 7))
    axes[-1].set_xlabel(f"{name} (degrees)")
    tidy(axes)
    return figure  # type: ignore[no-any-return]


def joint_figure(
    histogram: AngleHistogram,
    occupied: Occupations,
    *,
    names: tuple[str, str] = ("first angle", "second angle"),
    title: str = "",
) -> Figure:
    """Draw the joint distribution of two angles, ``-ln p``, with the occupations of its minima.

    Parameters
    ----------
    histogram
        Of two angles.
    occupied
        Its minima.
    names
        Of the angles.
    title
        Above the figure.
    """
    figure = titled_figure(6.4, 5.6, title)
    axes = figure.subplots()
    density = histogram.density
    with np.errstate(divide="ignore"):
        depth = -np.log(density / density.max())
    shown = np.ma.masked_invalid(depth)
    first, second = histogram.edges
    mesh = axes.pcolormesh(first, second, shown.T, cmap="viridis_r", rasterized=True)
    bar = figure.colorbar(mesh, ax=axes, pad=0.02, aspect=30)
    bar.outline.set_visible(False)
    bar.set_label(r"$-\ln(p\,/\,p_\mathrm{max})$", color=_GRAY)
    for center, share in zip(occupied.basins.centers, occupied.shares, strict=True):
        axes.annotate(
            _share(share.mean, share.standard_error),
            (_inside(center[0], first), _inside(center[1], second)),
            ha="center",
            va="center",
            fontsize=8.5,
            color=_DARK,
            bbox={"boxstyle": "round,pad=0.25", "fc": "white", "ec": _LIGHT, "alpha": 0.9},
        )
    for axis, edges in ((axes.xaxis, first), (axes.yaxis, second)):
        axis.set_ticks(np.linspace(edges[0], edges[-1], 7))
    axes.set(xlim=(first[0], first[-1]), ylim=(second[0], second[-1]))
    axes.set_xlabel(f"{names[0]} (degrees)")
    axes.set_ylabel(f"{names[1]} (degrees)")
    if histogram.periods[0] == histogram.periods[1]:
        axes.set_aspect("equal")
    tidy([axes])
    return figure  # type: ignore[no-any-return]


def spectrum_figure(
    spectrum: VelocitySpectrum,
    harmonic: HarmonicSpectrum | None = None,
    *,
    atoms: IntArray | None = None,
    upper: float | None = None,
    title: str = "",
) -> Figure:
    """Draw a spectrum with its strongest peaks named, and below it the harmonic one.

    Parameters
    ----------
    spectrum
        From velocities.
    harmonic
        Of a model.
    atoms
        Numbers of the atoms whose share in the harmonic modes counts.
    upper
        Wavenumber to draw to; by default a little above the highest peak.
    title
        Above the figure.
    """
    figure = titled_figure(9.0, 4.4, title)
    axes = figure.subplots()
    x, y = spectrum.wavenumbers, spectrum.intensities
    peaks = spectrum.peaks()
    ends = [1.1 * float(peaks.max())] if peaks.size else []
    if harmonic is not None:
        ends.append(1.1 * float(harmonic.wavenumbers.max()))
    limit = min(upper or max(ends, default=spectrum.nyquist), spectrum.nyquist)
    drawn = x <= limit
    height = float(y[drawn].max())
    axes.plot(x[drawn], y[drawn] / height, color=_COLORS[0], linewidth=1.3, label="from velocities")
    axes.fill_between(x[drawn], y[drawn] / height, color=_COLORS[0], alpha=0.12, linewidth=0)
    named = _apart(peaks[peaks <= limit], 0.02 * limit)[:10]
    for peak in named:
        axes.annotate(
            f"{peak:.0f}",
            (peak, float(np.interp(peak, x, y)) / height),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            fontsize=8.5,
            color=_DARK,
        )
    low = 0.0
    if harmonic is not None:
        low = -0.75
        _draw_harmonic(axes, spectrum, harmonic, atoms, x[drawn])
    axes.axhline(0.0, color=_GRAY, linewidth=0.6)
    axes.set(xlim=(0.0, limit), ylim=(low, 1.12), yticks=[])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("wavenumber (1/cm)")
    axes.set_title(
        f"Spectrum of the velocity autocorrelation, resolution {spectrum.resolution:.3g} /cm",
        loc="left",
        fontsize=10.5,
    )
    if harmonic is not None:
        axes.legend(
            frameon=False, fontsize=9, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2
        )
    axes.grid(axis="x", color=_LIGHT, linewidth=0.6)
    tidy([axes])
    return figure  # type: ignore[no-any-return]


def _draw_average(axes: Any, average: ReplicaAverage, timed: bool) -> None:
    """Draw a mean over replicas with a band of one standard error."""
    x = _abscissa(average.times if timed else None, len(average.mean))
    low, high = (average.mean + sign * average.standard_error for sign in (-1.0, 1.0))
    axes.fill_between(x, low, high, color=_DARK, alpha=0.25, linewidth=0, zorder=3)
    label = f"mean of {average.counts[0]} replicas, band: standard error"
    axes.plot(x, average.mean, color=_DARK, linewidth=2.0, zorder=4, label=label)
    axes.legend(frameon=False, fontsize=9, loc="lower right", bbox_to_anchor=(1.0, 1.0))


def _draw_harmonic(
    axes: Any,
    spectrum: VelocitySpectrum,
    harmonic: HarmonicSpectrum,
    atoms: IntArray | None,
    x: FloatArray,
) -> None:
    """Draw the harmonic spectrum downwards, with a stick for each mode."""
    curve = harmonic.broadened(x, spectrum.resolution, atoms)
    weights = harmonic.weights(atoms)
    axes.plot(
        x,
        -0.7 * curve / curve.max(),
        color=_COLORS[1],
        linewidth=1.3,
        label="harmonic, the model's",
    )
    axes.fill_between(x, -0.7 * curve / curve.max(), color=_COLORS[1], alpha=0.12, linewidth=0)
    real = (harmonic.wavenumbers > 0.0) & (harmonic.wavenumbers <= x[-1])
    axes.vlines(
        harmonic.wavenumbers[real],
        -0.08 * weights[real] / weights.max(),
        0.0,
        color=_DARK,
        linewidth=1.0,
    )


def _draw_profile(axes: Any, profile: FreeEnergyProfile, units: Units) -> None:
    energies = profile.free_energies / units.energy_factor
    errors = 2.0 * np.nan_to_num(profile.standard_errors) / units.energy_factor
    shown = np.isfinite(energies)
    x = np.where(shown, profile.centers, np.nan)
    y = np.where(shown, energies, np.nan)
    axes.fill_between(x, y - errors, y + errors, color=_COLORS[1], alpha=0.2, linewidth=0)
    axes.plot(x, y, color=_COLORS[1], linewidth=1.8)
    axes.set_ylabel(f"free energy ({units.energy_label})")
    axes.set_title(
        rf"$-kT\;\ln\,p$ at {profile.temperature:g} K, band: two standard errors",
        loc="left",
        fontsize=10.5,
    )
    axes.set_ylim(bottom=0.0)


def _abscissa(times: FloatArray | None, n: int) -> FloatArray:
    """Return times in ps, or numbers of frames."""
    return np.arange(n, dtype=np.float64) if times is None else 1e-3 * times


def _share(mean: float, error: float) -> str:
    """Return an occupation in percent, with its standard error where it is known."""
    known = np.isfinite(error) and error > 0.0
    return f"{100 * mean:.1f} ± {100 * error:.1f} %" if known else f"{100 * mean:.1f} %"


def _inside(center: float, edges: FloatArray) -> float:
    """Return a place for a label that is not at the very edge."""
    margin = 0.09 * (edges[-1] - edges[0])
    return float(np.clip(center, edges[0] + margin, edges[-1] - margin))


def _apart(peaks: FloatArray, gap: float) -> FloatArray:
    """Return peaks, strongest first, without those too near a stronger one to be labeled."""
    kept: list[float] = []
    for peak in peaks.tolist():
        if all(abs(peak - other) > gap for other in kept):
            kept.append(peak)
    return np.array(kept)
