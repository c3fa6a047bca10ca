"""Figures of how a model reads interactions: maps, trends with distance, partners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import chemical_symbols

from kraft.analysis.feature_patterns import partners
from kraft.analysis.interactions import DistanceTrends, InteractionMap
from kraft.core.errors import OptionError
from kraft.core.typing import FloatArray, IntArray
from kraft.data.units import Units
from kraft.reports.figures import save_figure, titled_panels

if TYPE_CHECKING:  # matplotlib is slow to import: only where a figure is drawn
    from matplotlib.figure import Figure

__all__ = ["map_figure", "partner_figure", "save_figure", "trend_figure"]

_BLUE, _RED, _GRAY, _LIGHT = "#1f5fa8", "#d1382c", "#5c6670", "#d9dee3"
_COLORS = (_BLUE, _RED, "#2e8b57", "#d97a1f")
_ELEMENT_COLORS = {1: "#c8ced4", 6: "#4a5056", 7: "#3563c9", 8: "#d1382c", 16: "#c9a21b"}
_WIDTH = 4.4
"""Of a panel in inches."""

_RANGE = (2.0, 99.5)
"""Percentiles of the contributions at which the (logarithmic) scale of colors ends."""


def map_figure(
    maps: Mapping[str, InteractionMap], *, units: Units | None = None, title: str = ""
) -> Figure:
    """Draw the mean distances of all pairs of atoms beside the maps of models (figures 1 and 3).

    Parameters
    ----------
    maps
        Of models of one molecule, by name; one logarithmic scale of colors serves them all.
        Contributions of atoms to the force on themselves are left out.
    units
        To show; eV and Å by default.
    title
        Above the figure.

    Raises
    ------
    OptionError
        When there is none, or they are of different molecules.
    """
    from matplotlib.colors import LogNorm

    found = list(maps.values())
    if not found or len({each.n_atoms for each in found}) > 1:
        raise OptionError("Expected interaction maps of one molecule, at least one.")
    shown = units or Units()
    figure, panels = titled_panels(1 + len(found), _WIDTH, 3.9, title)
    image = panels[0].imshow(_off_diagonal(found[0].mean_distances), cmap="viridis_r")
    panels[0].set_title("Mean distance", loc="left", fontsize=10.5)
    _bar(figure, image, panels[0], "Å")
    values = [_off_diagonal(each.mean_contributions.T) / shown.force_factor for each in found]
    lowest = min(float(np.nanpercentile(each[each > 0.0], _RANGE[0])) for each in values)
    highest = max(float(np.nanpercentile(each[each > 0.0], _RANGE[1])) for each in values)
    for axes, name, value in zip(panels[1:], maps, values, strict=True):
        image = axes.imshow(value, cmap="viridis", norm=LogNorm(lowest, highest))
        axes.set_title(name, loc="left", fontsize=10.5)
    _bar(figure, image, list(panels[1:]), shown.force_label)
    for axes in panels:
        axes.set_xlabel("atom that contributes")
        axes.tick_params(labelsize=8)
    panels[0].set_ylabel("atom with the force")
    panels[0].set_xlabel("atom")
    return figure


def trend_figure(
    trends: Mapping[str, DistanceTrends], *, units: Units | None = None, title: str = ""
) -> Figure:
    """Draw contributions against mean distances, and how linear they are (figures 5 and S6).

    Parameters
    ----------
    trends
        Of models of one molecule, by name.
    units
        To show; eV and Å by default.
    title
        Above the figure.
    """
    if not trends:
        raise OptionError("Expected the trends of at least one model.")
    shown = units or Units()
    figure, panels = titled_panels(1 + len(trends), _WIDTH, 3.9, title)
    bins = np.linspace(0.0, 1.0, 21)
    for axes, (name, each) in zip(panels[:-1], trends.items(), strict=True):
        cells = axes.scatter(
            each.mean_distances,
            each.mean_contributions / shown.force_factor,
            c=each.r_squared,
            s=6,
            cmap="viridis",
            vmin=0.0,
            vmax=1.0,
        )
        axes.set(xscale="log", yscale="log")
        exponent = each.decay_exponent()
        law = "" if exponent is None else f", linear ones decay as $r^{{{exponent:.1f}}}$"
        axes.set_title(f"{name}{law}", loc="left", fontsize=10)
        axes.set_xlabel("mean distance (Å)")
        _plain_ticks(axes.xaxis)
    panels[0].set_ylabel(f"mean contribution ({shown.force_label})")
    _bar(figure, cells, panels[-2], "$R^2$ of contribution and distance")
    low = min(float(axes.get_ylim()[0]) for axes in panels[:-1])
    high = max(float(axes.get_ylim()[1]) for axes in panels[:-1])
    for axes in panels[:-1]:
        axes.set_ylim(low, high)
    for color, (name, each) in zip(_COLORS, trends.items(), strict=False):
        share = 100.0 * each.share_linear()
        label = f"{name}: {share:.0f} % above 0.5"
        density = np.histogram(each.r_squared, bins)[0] / max(1, len(each.r_squared))
        panels[-1].stairs(100.0 * density, bins, color=color, linewidth=1.7, label=label)
    panels[-1].set_xlabel("$R^2$ of contribution and distance")
    panels[-1].set_ylabel("pairs (%)")
    panels[-1].set_title("Linearity", loc="left", fontsize=10.5)
    panels[-1].legend(frameon=False, fontsize=8.5)
    for axes in panels:
        axes.grid(color=_LIGHT, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def partner_figure(
    atomic_numbers: IntArray,
    positions: FloatArray,
    features: IntArray,
    atoms: Sequence[int],
    *,
    title: str = "",
) -> Figure:
    """Draw, for some atoms, the partners that they keep a feature with (figure 6).

    Parameters
    ----------
    atomic_numbers, positions
        ``(N,)`` and ``(N, 3)`` in Å of a typical geometry, drawn in its plane of largest extent.
    features
        ``(D,)`` features kept.
    atoms
        Which atoms to draw, a panel each.
    title
        Above the figure.

    Raises
    ------
    OptionError
        When there are none, or one does not exist.
    """
    n_atoms = len(atomic_numbers)
    if not atoms or not all(0 <= atom < n_atoms for atom in atoms):
        raise OptionError(f"Expected some of the atoms 0 to {n_atoms - 1}, got {list(atoms)}.")
    kept = partners(features, n_atoms)
    centered = positions - positions.mean(axis=0)
    plane = centered @ np.linalg.svd(centered)[2][:2].T
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    figure, panels = titled_panels(len(atoms), _WIDTH, 3.2, title)
    for axes, atom in zip(panels, atoms, strict=True):
        _draw_molecule(axes, atomic_numbers, plane, distances)
        for partner in kept[atom]:
            axes.plot(*plane[[atom, partner]].T, color=_BLUE, linewidth=0.7, alpha=0.5, zorder=1)
        axes.scatter(*plane[kept[atom]].T, s=95, color="#8e44ad", alpha=0.55, zorder=2)
        axes.scatter(*plane[atom], s=150, color="#f2c400", zorder=2)
        symbol = chemical_symbols[atomic_numbers[atom]]
        axes.set_title(
            f"{symbol}{atom}: {len(kept[atom])} of {n_atoms - 1} partners",
            loc="left",
            fontsize=9.5,
        )
    return figure


def _draw_molecule(
    axes: Any, atomic_numbers: IntArray, plane: FloatArray, distances: FloatArray
) -> None:
    hydrogens = (atomic_numbers == 1).astype(np.float64)
    bonded = distances < 1.75 - 0.45 * np.maximum(hydrogens[:, None], hydrogens)
    for a, b in zip(*np.nonzero(np.triu(bonded, 1)), strict=True):
        axes.plot(*plane[[a, b]].T, color=_GRAY, linewidth=2.0, zorder=0)
    colors = [_ELEMENT_COLORS.get(int(number), "#2e8b57") for number in atomic_numbers]
    axes.scatter(*plane.T, s=28, c=colors, edgecolors=_GRAY, linewidths=0.5, zorder=3)
    axes.set_aspect("equal")
    axes.axis("off")


def _off_diagonal(matrix: FloatArray) -> FloatArray:
    result = matrix.copy()
    np.fill_diagonal(result, np.nan)
    return result


def _bar(figure: Any, image: Any, axes: Any, label: str) -> None:
    bar = figure.colorbar(image, ax=axes, shrink=0.85, pad=0.02, aspect=25)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8)
    bar.set_label(label, fontsize=9, color=_GRAY)


def _plain_ticks(axis: Any) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

    axis.set_major_locator(FixedLocator([1, 2, 3, 5, 8, 12, 20]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(ScalarFormatter())
