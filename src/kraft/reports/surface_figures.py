"""Figures of an energy surface: scans, reaction paths, normal modes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kraft.analysis.trajectories import HarmonicSpectrum
from kraft.core.typing import FloatArray, IntArray
from kraft.data.units import Units
from kraft.interfaces.surface import Profile, ReactionPath, Scan
from kraft.reports.figures import save_figure, tidy, titled_figure

if TYPE_CHECKING:  # matplotlib is slow to import: only where a figure is drawn
    from matplotlib.figure import Figure

__all__ = ["modes_figure", "path_figure", "save_figure", "scan_figure"]

_COLORS = ("#1f5fa8", "#c0561f", "#2e8b57", "#8e44ad")
_DARK, _GRAY, _LIGHT = "#23272b", "#5c6670", "#d9dee3"
_CURVE_POINTS = 600
_NEAR = 0.06
"""Labels of minima and tops nearer than this part of the range share a place: the first counts."""


def scan_figure(
    scanned: Sequence[Scan],
    *,
    name: str,
    labels: Sequence[str] = (),
    units: Units | None = None,
    title: str = "",
) -> Figure:
    """Draw the energies of scans along their coordinate, minima and tops of the first named.

    Parameters
    ----------
    scanned
        Of one coordinate; energies are relative to the lowest of the first.
    name
        Of the coordinate.
    labels
        Of the scans, for a legend.
    units
        To show; eV by default.
    title
        Above the figure.
    """
    units = units or Units()
    figure = titled_figure(7.6, 4.4, title)
    axes = figure.subplots()
    profiles = [each.profile for each in scanned]
    bottom = float(profiles[0].at(_fine(profiles[0])).min())
    for index, (each, profile) in enumerate(zip(scanned, profiles, strict=True)):
        label = labels[index] if labels else None
        _draw_profile(axes, profile, bottom, units, _COLORS[index], label, each.converged)
    _name_points(axes, profiles[0], bottom, units)
    axes.set_xlabel(f"{name} ({'Å' if scanned[0].coordinate.kind == 'bond' else 'degrees'})")
    axes.set_ylabel(f"energy ({units.energy_label})")
    first, last = profiles[0].coordinates[[0, -1]]
    if scanned[0].coordinate.kind == "dihedral" and last - first > 200.0:
        axes.set_xticks(np.arange(np.ceil(first / 60.0) * 60.0, last + 1.0, 60.0))
    axes.set_xlim(first, last)
    _finish(axes, bool(labels) or not all(each.converged.all() for each in scanned))
    return figure  # type: ignore[no-any-return]


def path_figure(path: ReactionPath, *, units: Units | None = None, title: str = "") -> Figure:
    """Draw the energies along a reaction path with its minima and tops.

    Parameters
    ----------
    path
        Of :func:`kraft.interfaces.surface.find_path`; energies are relative to the start.
    units
        To show; eV by default.
    title
        Above the figure.
    """
    units = units or Units()
    figure = titled_figure(7.6, 4.4, title)
    axes = figure.subplots()
    profile, start = path.profile, float(path.energies[0])
    everywhere = np.ones(len(path.energies), dtype=bool)
    _draw_profile(axes, profile, start, units, _COLORS[0], None, everywhere)
    _name_points(axes, profile, start, units)
    axes.axhline(0.0, color=_GRAY, linewidth=0.6)
    axes.set_xlabel("length of the path (Å)")
    axes.set_ylabel(f"energy above the start ({units.energy_label})")
    axes.margins(x=0.04)
    if not path.converged:
        axes.set_title("not converged", loc="left", fontsize=10.5, color=_COLORS[1])
    _finish(axes, False)
    return figure  # type: ignore[no-any-return]


def modes_figure(
    found: Sequence[HarmonicSpectrum],
    *,
    atoms: IntArray | None = None,
    share: str = "share",
    labels: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """Draw wavenumbers as sticks, as high as the share of some atoms in each mode.

    Parameters
    ----------
    found
        Vibrations of one or several geometries or isotopes, drawn beneath each other.
    atoms
        Numbers of the atoms whose share counts; all by default, so that sticks are equally high.
    share
        What it is, for the axis.
    labels
        Of the geometries.
    title
        Above the figure.
    """
    figure = titled_figure(9.0, 1.0 + 1.9 * len(found), title)
    panels = figure.subplots(len(found), 1, squeeze=False, sharex=True)[:, 0]
    low = min(0.0, *(float(each.wavenumbers.min()) for each in found))
    high = max(float(each.wavenumbers.max()) for each in found)
    for index, (axes, each) in enumerate(zip(panels, found, strict=True)):
        shares = each.weights(atoms)
        real = each.wavenumbers >= 0.0
        for chosen, color in ((real, _COLORS[0]), (~real, _COLORS[1])):
            axes.vlines(each.wavenumbers[chosen], 0.0, shares[chosen], color=color, linewidth=1.6)
        axes.set(ylim=(0.0, 1.15), yticks=[] if atoms is None else [0.0, 0.5, 1.0])
        if labels:
            axes.set_title(labels[index], loc="left", fontsize=10.5)
        if atoms is not None:
            axes.set_ylabel(share)
        axes.grid(axis="x", color=_LIGHT, linewidth=0.6)
    room = 0.03 * (high - low)
    panels[0].set_xlim(low - (room if low < 0.0 else 0.0), high + room)
    below = "; imaginary ones below 0" if low < 0.0 else ""
    panels[-1].set_xlabel(f"wavenumber (1/cm{below})")
    tidy(panels)
    return figure  # type: ignore[no-any-return]


def _fine(profile: Profile) -> FloatArray:
    return np.linspace(profile.coordinates[0], profile.coordinates[-1], _CURVE_POINTS)


def _draw_profile(
    axes: Any,
    profile: Profile,
    bottom: float,
    units: Units,
    color: str,
    label: str | None,
    converged: NDArray[np.bool_],
) -> None:
    """Draw the curve and its points; those that are not converged are hollow."""
    fine = _fine(profile)
    axes.plot(
        fine, (profile.at(fine) - bottom) / units.energy_factor, color=color, linewidth=1.6,
        label=label,
    )  # fmt: skip
    heights = (profile.energies - bottom) / units.energy_factor
    axes.plot(profile.coordinates[converged], heights[converged], "o", color=color, markersize=3.5)
    if not converged.all():
        axes.plot(
            profile.coordinates[~converged], heights[~converged], "o", markerfacecolor="white",
            color=color, markersize=5.0, label="not converged",
        )  # fmt: skip


def _name_points(axes: Any, profile: Profile, bottom: float, units: Units) -> None:
    """Write the energies of tops above and of minima below them."""
    first, last = float(profile.coordinates[0]), float(profile.coordinates[-1])
    height = float(np.ptp(profile.energies)) / units.energy_factor
    decimals = max(0, 2 - int(np.floor(np.log10(max(height, 1e-12)))))
    for points, offset, anchor in ((profile.tops(), 7, "bottom"), (profile.minima(), -7, "top")):
        named: list[float] = []
        for point in points:
            if any(abs(point.coordinate - other) < _NEAR * (last - first) for other in named):
                continue
            named.append(point.coordinate)
            energy = (point.energy - bottom) / units.energy_factor
            place = (point.coordinate - first) / (last - first)
            axes.annotate(
                f"{round(energy, decimals) + 0.0:.{decimals}f}",
                (point.coordinate, energy),
                xytext=(3 if place < _NEAR / 2 else -3 if place > 1 - _NEAR / 2 else 0, offset),
                textcoords="offset points",
                ha="left" if place < _NEAR / 2 else "right" if place > 1 - _NEAR / 2 else "center",
                va=anchor,
                fontsize=9,
                color=_DARK,
                annotation_clip=False,
            )
    axes.margins(y=0.14)


def _finish(axes: Any, with_legend: bool) -> None:
    axes.grid(color=_LIGHT, linewidth=0.6)
    if with_legend:
        axes.legend(
            frameon=False, fontsize=9, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3
        )
    tidy([axes])
