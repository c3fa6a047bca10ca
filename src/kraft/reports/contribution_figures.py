"""Figures of the contributions of atoms: over the structure, and as bars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import chemical_symbols, covalent_radii

from kraft.core.errors import OptionError
from kraft.core.typing import FloatArray, IntArray
from kraft.reports.figures import save_figure, titled_figure

if TYPE_CHECKING:  # matplotlib is slow to import: only where a figure is drawn
    from matplotlib.figure import Figure

__all__ = ["contributions_figure", "draw_structure", "save_figure"]

_GRAY, _LIGHT, _DARK = "#5c6670", "#d9dee3", "#23272b"
_COLORS = "RdBu_r"
_BOND_REACH = 1.25
"""Atoms nearer than this times the sum of their covalent radii are drawn as bonded."""

_ATOM_SIZE = 0.75
"""Radius of a drawn atom over its covalent radius."""

_LABELLED_ATOMS = 60


def contributions_figure(
    atomic_numbers: IntArray,
    positions: FloatArray,
    values: FloatArray,
    *,
    label: str,
    title: str = "",
) -> Figure:
    """Draw a value of every atom as color on the structure, and as bars.

    Parameters
    ----------
    atomic_numbers, positions
        ``(N,)`` and ``(N, 3)`` in Å, of the structure to draw.
    values
        ``(N,)`` in the unit to show.
    label
        What the values are, with their unit.
    title
        Above the figure.

    Raises
    ------
    OptionError
        When the shapes do not fit together.
    """
    figure = titled_figure(11.0, 4.4, title)
    left, right = figure.subplots(1, 2, width_ratios=(1.0, 1.25))
    colors = draw_structure(left, atomic_numbers, positions, values)
    bar = figure.colorbar(colors, ax=left, orientation="horizontal", shrink=0.75, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8)
    bar.set_label(label, fontsize=9)
    _draw_bars(right, atomic_numbers, values, label)
    return figure  # type: ignore[no-any-return]


def draw_structure(
    axes: Any,
    atomic_numbers: IntArray,
    positions: FloatArray,
    values: FloatArray,
    *,
    limit: float | None = None,
    numbered: bool = True,
) -> Any:
    """Draw a molecule, seen along its shortest axis, with atoms colored by their values.

    Parameters
    ----------
    axes
        Matplotlib axes to draw into.
    atomic_numbers, positions, values
        ``(N,)``, ``(N, 3)`` in Å and ``(N,)``.
    limit
        Value of the strongest colors, which are symmetric about zero; the largest value by default.
    numbered
        Whether atoms carry their element and number (from 0), up to 60 atoms.

    Returns
    -------
    ScalarMappable
        For a color bar.

    Raises
    ------
    OptionError
        When the shapes do not fit together.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.patches import Circle

    if positions.shape != (len(atomic_numbers), 3) or np.shape(values) != (len(atomic_numbers),):
        raise OptionError(
            f"Expected one geometry and one value of each of {len(atomic_numbers)} atoms, got "
            f"shapes {positions.shape} and {np.shape(values)}."
        )
    reach = limit or float(np.abs(values).max()) or 1.0
    colors = ScalarMappable(Normalize(-reach, reach), _COLORS)
    flat, height = _projection(positions)
    for a, b in _bonds(atomic_numbers, positions):
        depth = float(height[a] + height[b]) / 2.0
        axes.plot(*flat[[a, b]].T, color=_GRAY, linewidth=2.0, zorder=3 * depth)
    for atom, value in enumerate(np.asarray(values, dtype=np.float64)):
        depth, color = 3.0 * float(height[atom]), colors.to_rgba(value)
        radius = _ATOM_SIZE * float(covalent_radii[atomic_numbers[atom]])
        axes.add_patch(
            Circle(flat[atom], radius, facecolor=color, edgecolor=_DARK, lw=0.8, zorder=depth + 1)
        )
        if numbered and len(values) <= _LABELLED_ATOMS:
            name = f"{chemical_symbols[atomic_numbers[atom]]}{atom}"
            dark = float(np.dot(color[:3], (0.3, 0.59, 0.11))) < 0.5
            axes.annotate(
                name, flat[atom], ha="center", va="center", fontsize=5.5,
                color="white" if dark else _DARK, zorder=depth + 2,
            )  # fmt: skip
    axes.set_aspect("equal")
    axes.margins(0.06)
    axes.autoscale_view()
    axes.set_axis_off()
    return colors


def _draw_bars(axes: Any, atomic_numbers: IntArray, values: FloatArray, label: str) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    reach = float(np.abs(values).max()) or 1.0
    colors = ScalarMappable(Normalize(-reach, reach), _COLORS)
    places = np.arange(len(values))
    axes.bar(places, values, color=colors.to_rgba(values), edgecolor=_DARK, linewidth=0.4)
    axes.axhline(0.0, color=_GRAY, linewidth=0.8)
    if len(values) <= _LABELLED_ATOMS:
        names = [f"{chemical_symbols[z]}{atom}" for atom, z in enumerate(atomic_numbers)]
        upright = len(values) > 20
        axes.set_xticks(places, names, rotation=90 if upright else 0, fontsize=7)
    else:
        axes.set_xlabel("atom, counted from 0", fontsize=9)
    axes.set_ylabel(label, fontsize=9)
    axes.tick_params(axis="y", labelsize=8)
    axes.grid(axis="y", color=_LIGHT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.margins(x=0.01)
    axes.spines[["top", "right"]].set_visible(False)


def _projection(positions: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return positions ``(N, 2)`` on the plane of the two longest axes, and heights ``(N,)``."""
    centered = positions - positions.mean(axis=0)
    axes = np.linalg.svd(centered, full_matrices=True)[2]
    for axis in axes:  # one of the two directions, whatever the library
        axis *= 1.0 if axis[np.argmax(np.abs(axis))] > 0.0 else -1.0
    turned = centered @ axes.T
    return turned[:, :2], turned[:, 2] - turned[:, 2].min()


def _bonds(atomic_numbers: IntArray, positions: FloatArray) -> list[tuple[int, int]]:
    radii = covalent_radii[atomic_numbers]
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    near = distances < _BOND_REACH * (radii[:, None] + radii[None])
    return [(int(a), int(b)) for a, b in np.argwhere(np.triu(near, 1))]
