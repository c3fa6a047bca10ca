"""Figures of the metric of a model: effective weights, couplings, weights against importance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import chemical_symbols

from kraft.analysis.importance import FeatureImportance
from kraft.analysis.metric import MetricMap, compare_with_importance
from kraft.core.typing import FloatArray, IntArray
from kraft.data.units import Units
from kraft.reports.figures import save_figure, tidy, titled_panels

if TYPE_CHECKING:  # matplotlib is slow to import: only where a figure is drawn
    from matplotlib.figure import Figure

__all__ = ["metric_figure", "save_figure"]

_GRAY, _LIGHT, _OTHER = "#5c6670", "#d9dee3", "#aab2ba"
_COLORS = ("#1f5fa8", "#d1382c", "#2e8b57", "#d97a1f", "#8e44ad", "#17849c")
"""Of kinds of pairs, the most frequent ones first; all others are gray."""

_WIDTH, _HEIGHT = 4.7, 4.2
"""Of a panel in inches."""

_DECADE = 10.0
"""Weights that differ by more than this factor have a logarithmic scale."""

_MOST_ATOMS = 26
"""With more, not every atom is named at the axes."""

_MOST_CELLS = 450
"""Of the map of couplings along a side."""

_BULK = 95.0
"""Percentile of couplings: below a tenth of the largest one, the scale is logarithmic."""

_LEAST_GAP = 0.045
"""Between the names of kinds at an axis, as a share of its length."""

_LAST = 999
"""Hydrogen's place in the order of elements, in which others have their atomic numbers."""

_LABEL_SIZE = (34.0, 10.0)
"""Width and height of the name of a point, in points."""

_N_NAMED = 3
"""Points that are named: this many with the largest weights, and with the largest importance."""


def metric_figure(
    metric: MetricMap,
    importance: FeatureImportance | None = None,
    *,
    units: Units | None = None,
    title: str = "",
) -> Figure:
    """Draw effective weights by atoms, couplings, and weights against importance.

    Couplings are drawn where the metric mixes, with features ordered by the elements of their
    atoms, and then by distance; a feature with itself is left out. Of more than 450 features
    several share a cell, which has the strongest of their couplings. Scales of colors are
    logarithmic where values differ by more than a factor of ten, and say so.

    Parameters
    ----------
    metric
        Of a model.
    importance
        Of the same features by masking, if it shall be compared.
    units
        Of the importance; eV and Å by default.
    title
        Above the figure.

    Raises
    ------
    OptionError
        When the importance is that of other features.
    """
    count = 1 + (metric.couplings is not None) + (importance is not None)
    figure, panels = titled_panels(count, _WIDTH, _HEIGHT, title)
    _draw_weights(figure, panels[0], metric)
    if metric.couplings is not None:
        _draw_couplings(figure, panels[1], metric, metric.couplings)
    if importance is not None:
        _draw_comparison(panels[-1], metric, importance, units or Units())
    return figure


def _draw_weights(figure: Any, axes: Any, metric: MetricMap) -> None:
    from matplotlib.colors import LogNorm

    values = metric.weights[metric.weights > 0.0]
    wide = values.max() > _DECADE * values.min()
    norm = LogNorm(values.min(), values.max()) if wide else None
    axes.set_facecolor(_LIGHT)  # of what has no feature, or no weight
    image = axes.imshow(metric.matrix, cmap="viridis", norm=norm)
    numbers = metric.atomic_numbers
    step = -(-len(numbers) // _MOST_ATOMS)
    names = [f"{chemical_symbols[numbers[atom]]}{atom}" for atom in range(0, len(numbers), step)]
    ticks = np.arange(0, len(numbers), step)
    axes.set_xticks(ticks, names, rotation=90)
    axes.set_yticks(ticks, names)
    axes.tick_params(labelsize=8, length=2)
    axes.set_title("Effective weights of distances", loc="left", fontsize=10.5)
    _bar(figure, image, axes, "weight")


def _draw_couplings(figure: Any, axes: Any, metric: MetricMap, couplings: FloatArray) -> None:
    kinds = _kinds(metric)
    order = np.lexsort((metric.mean_distances, kinds))
    shown = couplings[np.ix_(order, order)].copy()
    np.fill_diagonal(shown, np.nan)
    axes.set_facecolor(_LIGHT)
    cells, width = _cells(shown)
    end = width * len(cells) - 0.5
    image = axes.imshow(
        cells,
        cmap="RdBu_r",
        norm=_coupling_norm(shown),
        extent=(-0.5, end, end, -0.5),
        interpolation="nearest",
    )
    axes.set(xlim=(-0.5, len(order) - 0.5), ylim=(len(order) - 0.5, -0.5))
    edges = np.flatnonzero(np.diff(kinds[order])) + 0.5
    for edge in edges:
        axes.axhline(edge, color=_GRAY, linewidth=0.4)
        axes.axvline(edge, color=_GRAY, linewidth=0.4)
    bounds = np.concatenate([[-0.5], edges, [len(order) - 0.5]])
    names = [_kind_name(kind) for kind in np.unique(kinds)]
    ticks, labels = _apart(bounds, names)
    axes.set_xticks(ticks, labels, rotation=90)
    axes.set_yticks(ticks, labels)
    axes.tick_params(labelsize=8, length=2)
    axes.set_xlabel("distances, from short to long for each kind", fontsize=9, color=_GRAY)
    axes.set_title(f"Couplings of {len(order)} distances", loc="left", fontsize=10.5)
    _bar(figure, image, axes, "normalized coupling")


def _cells(matrix: FloatArray) -> tuple[FloatArray, int]:
    """Return what is drawn of a matrix ``(D, D)``, and the number of features in a cell's side.

    More features than can be told apart are put together: a cell has the entry largest in size.
    """
    width = -(-len(matrix) // _MOST_CELLS)
    missing = -len(matrix) % width
    padded = np.pad(matrix, (0, missing), constant_values=np.nan)
    n_cells = len(padded) // width
    split = padded.reshape(n_cells, width, n_cells, width).swapaxes(1, 2)
    blocks = split.reshape(n_cells, n_cells, width**2)
    sizes = np.nan_to_num(np.abs(blocks), nan=-1.0)
    cells = np.take_along_axis(blocks, sizes.argmax(axis=2)[..., None], axis=2)
    return cells[..., 0], width


def _coupling_norm(couplings: FloatArray) -> Any:
    """Return a symmetric scale of colors: logarithmic where few are as large as the largest."""
    from matplotlib.colors import Normalize, SymLogNorm

    sizes = np.abs(couplings[np.isfinite(couplings)])
    limit = float(sizes.max(initial=0.0)) or 1.0
    if sizes.size and np.percentile(sizes, _BULK) < limit / _DECADE:
        return SymLogNorm(limit / _DECADE**2, vmin=-limit, vmax=limit, base=10.0)
    return Normalize(-limit, limit)


def _draw_comparison(
    axes: Any, metric: MetricMap, importance: FeatureImportance, units: Units
) -> None:
    found = compare_with_importance(metric, importance)
    changes = found.force_changes / units.force_factor
    kinds = _kinds(metric)[found.features]
    frequent, counts = np.unique(kinds, return_counts=True)
    frequent = frequent[np.argsort(-counts, kind="stable")][: len(_COLORS)]
    for kind, color in zip(frequent, _COLORS, strict=False):
        part = kinds == kind
        axes.plot(
            found.weights[part], changes[part], "o", color=color, markersize=4.5, alpha=0.75,
            markeredgewidth=0.0, label=_kind_name(kind),
        )  # fmt: skip
    others = ~np.isin(kinds, frequent)
    if others.any():
        axes.plot(
            found.weights[others], changes[others], ".", color=_OTHER, markersize=5, label="others"
        )
    for axis, scale, values in (
        (axes.xaxis, axes.set_xscale, found.weights),
        (axes.yaxis, axes.set_yscale, changes),
    ):
        if values.min() > 0.0 and values.max() > _DECADE * values.min():
            scale("log")
            _plain_ticks(axis)
    axes.margins(x=0.12, y=0.08)
    axes.autoscale_view()
    _name_points(axes, metric, found.features, found.weights, changes)
    axes.grid(color=_LIGHT, linewidth=0.6)
    tidy((axes,))
    axes.set_xlabel("effective weight")
    axes.set_ylabel(f"RMS change of forces by masking ({units.force_label})")
    known = found.rank_correlation is not None
    told = f"rank correlation {found.rank_correlation:.2f}" if known else "no rank correlation"
    axes.set_title(f"Weight and importance: {told}", loc="left", fontsize=10.5)
    axes.legend(frameon=False, fontsize=8, ncols=2, handletextpad=0.2, columnspacing=0.8)


def _name_points(
    axes: Any, metric: MetricMap, features: IntArray, weights: FloatArray, changes: FloatArray
) -> None:
    """Write the atoms at points with the largest weights and importance, where there is room."""
    by_weight, by_change = (np.argsort(-values, kind="stable") for values in (weights, changes))
    chosen = np.stack([by_change[:_N_NAMED], by_weight[:_N_NAMED]], axis=1).ravel()
    per_point = axes.figure.dpi / 72.0
    places = axes.transData.transform(np.stack([weights, changes], axis=1)) / per_point
    named: list[int] = []
    for point in chosen:
        away = np.abs(places[named] - places[point])
        if (away < _LABEL_SIZE).all(axis=1).any():
            continue
        named.append(int(point))
        axes.annotate(
            metric.name(features[point]),
            (weights[point], changes[point]),
            xytext=(4, 3),
            textcoords="offset points",
            fontsize=7.5,
            color=_GRAY,
        )


def _kinds(metric: MetricMap) -> IntArray:
    """Return ``(D,)`` numbers of the elements of the atoms: C first, H last, others between."""
    numbers = metric.atomic_numbers[metric.pairs]
    ranks = np.sort(np.select([numbers == 6, numbers == 1], [0, _LAST], numbers), axis=1)
    kinds: IntArray = (_LAST + 1) * ranks[:, 0] + ranks[:, 1]
    return kinds


def _kind_name(kind: int) -> str:
    """Return the elements of a kind of pair, for example ``C-H``."""
    elements = {0: "C", _LAST: "H"}
    ranks = divmod(int(kind), _LAST + 1)
    return "-".join(elements.get(rank) or chemical_symbols[rank] for rank in ranks)


def _apart(bounds: FloatArray, names: list[str]) -> tuple[list[float], list[str]]:
    """Return the middles of blocks and their names, without small ones near others."""
    middles, sizes = (bounds[:-1] + bounds[1:]) / 2.0, np.diff(bounds)
    least = _LEAST_GAP * (bounds[-1] - bounds[0])
    kept: list[int] = []
    for block in np.argsort(-sizes, kind="stable"):
        if all(abs(middles[block] - middles[other]) >= least for other in kept):
            kept.append(int(block))
    return [float(middles[block]) for block in kept], [names[block] for block in kept]


def _plain_ticks(axis: Any) -> None:
    """Label a logarithmic axis at 1, 2 and 5 of each decade, without powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(_plain))
    axis.set_minor_locator(NullLocator())


def _bar(figure: Any, image: Any, axes: Any, label: str) -> None:
    from matplotlib.colors import Normalize
    from matplotlib.ticker import FuncFormatter

    logarithmic = type(image.norm) is not Normalize
    bar = figure.colorbar(
        image,
        ax=axes,
        shrink=0.85,
        pad=0.02,
        aspect=25,
        ticks=_bar_ticks(image.norm),
        format=FuncFormatter(_plain) if logarithmic else None,
    )
    bar.minorticks_off()
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8)
    bar.set_label(f"{label}, logarithmic" if logarithmic else label, fontsize=9, color=_GRAY)


def _bar_ticks(norm: Any) -> Any:
    """Return where to label a scale of colors; None where matplotlib knows."""
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.ticker import LogLocator

    if isinstance(norm, LogNorm):
        return LogLocator(subs=(1.0, 2.0, 5.0))
    if type(norm) is Normalize:
        return None
    first, last = np.ceil(np.log10(norm.linthresh)), np.floor(np.log10(norm.vmax))
    decades = 10.0 ** np.arange(first, last + 1.0)
    return np.concatenate([-decades[::-1], [0.0], decades])


def _plain(value: float, _: object = None) -> str:
    """Return a tick label without powers of ten."""
    return f"{value:g}"
