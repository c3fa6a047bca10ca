"""Patterns of the features that a reduced descriptor keeps (paper 003, figures 5 to 7 and SI)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from kraft.analysis.importance import FeatureImportance
from kraft.analysis.reduction import select_features
from kraft.core.errors import OptionError
from kraft.core.typing import FloatArray, IntArray
from kraft.data.dataset import Dataset
from kraft.data.geometry import distance_chunks
from kraft.symmetry.orbits import kept_pairs

SHORT_RANGE = 5.0
"""Å: pairs that are always nearer count as short-ranged (paper 003, figure 5)."""


@dataclass(frozen=True, eq=False)
class RangeShares:
    """Short and long-ranged features of descriptors of several sizes (paper 003, figure 5B).

    Attributes
    ----------
    fractions
        ``(K,)`` share of all pairs that was asked for.
    n_short, n_long
        ``(K,)`` features kept that are always nearer than the cutoff, and others.
    n_short_in_all
        Short-ranged features before any was removed.
    cutoff
        Å.
    """

    fractions: FloatArray
    n_short: IntArray
    n_long: IntArray
    n_short_in_all: int
    cutoff: float


def range_shares(
    importance: FeatureImportance, fractions: Sequence[float], *, cutoff: float = SHORT_RANGE
) -> RangeShares:
    """Count short and long-ranged features when only the most important are kept."""
    near = importance.features[importance.largest_distances < cutoff]
    kept = [select_features(importance, keep=fraction).features for fraction in fractions]
    n_short = np.array([len(np.intersect1d(some, near)) for some in kept], dtype=np.int64)
    sizes = np.array([len(some) for some in kept], dtype=np.int64)
    return RangeShares(np.array(fractions, float), n_short, sizes - n_short, len(near), cutoff)


def partners(features: IntArray, n_atoms: int) -> tuple[IntArray, ...]:
    """Return for each atom the atoms that it has a feature with (paper 003, figure 6).

    >>> partners(np.array([0, 2]), 3)
    (array([1]), array([0, 2]), array([1]))
    """
    first, second = kept_pairs(n_atoms, features)
    return tuple(
        np.sort(np.concatenate([second[first == atom], first[second == atom]]))
        for atom in range(n_atoms)
    )


@dataclass(frozen=True)
class FeatureScaling:
    """How the number of features grows with that of atoms (paper 003, figure 7).

    Attributes
    ----------
    names
        Of the molecules.
    n_atoms, n_features
        Of each; the features are those kept.
    per_atom
        Slope of the straight line through the origin that fits best: features for each atom.
    exponent
        Power of the number of atoms that fits best; 2 for all pairs, 1 for linear scaling, None for
        fewer than two sizes.
    """

    names: tuple[str, ...]
    n_atoms: tuple[int, ...]
    n_features: tuple[int, ...]
    per_atom: float
    exponent: float | None


def feature_scaling(sizes: Mapping[str, tuple[int, int]]) -> FeatureScaling:
    """Fit the growth of the number of features, given ``(atoms, features kept)`` of molecules.

    >>> feature_scaling({"one": (10, 40), "two": (20, 80)}).per_atom
    4.0
    """
    if not sizes:
        raise OptionError("Expected the sizes of at least one molecule, got none.")
    atoms, kept = np.array(list(sizes.values()), dtype=np.float64).T
    exponent = None
    if len(np.unique(atoms)) > 1:
        exponent = float(np.polyfit(np.log(atoms), np.log(kept), 1)[0])
    return FeatureScaling(
        tuple(sizes),
        tuple(int(n) for n in atoms),
        tuple(int(n) for n in kept),
        float(atoms @ kept / (atoms @ atoms)),
        exponent,
    )


@dataclass(frozen=True, eq=False)
class ImportanceComparison:
    """How alike several importances of the same features are (paper 003, SI, considerations 1-4).

    Attributes
    ----------
    names
        Of the ``K`` importances.
    rank_correlations
        ``(K, K)`` Spearman rank correlations of the losses of the features.
    overlaps
        ``(K, K)`` share of the features removed by one that are removed by the other, too.
    common
        Share of the features removed by the first that all of them remove.
    keep
        Share of all features that was kept.
    """

    names: tuple[str, ...]
    rank_correlations: FloatArray
    overlaps: FloatArray
    common: float
    keep: float


def compare_importances(
    importances: Mapping[str, FeatureImportance], *, keep: float
) -> ImportanceComparison:
    """Compare importances from different training sets, their sizes, frames or regularizations.

    Parameters
    ----------
    importances
        At least two of models of the same molecule, features and symmetries.
    keep
        Share of all features kept when counting which of the removed ones they have in common.

    Raises
    ------
    OptionError
        When there are fewer than two, or they are of different features.
    """
    found = list(importances.values())
    if len(found) < 2:
        raise OptionError(f"Expected at least two importances to compare, got {len(found)}.")
    if any(not np.array_equal(each.features, found[0].features) for each in found[1:]):
        raise OptionError(
            "Expected importances of the same features. Measure them with models of the same "
            "molecule and descriptor."
        )
    everything = found[0].features
    removed = [
        np.setdiff1d(everything, select_features(each, keep=keep).features) for each in found
    ]
    size = len(found)
    correlations = np.ones((size, size))
    overlaps = np.ones((size, size))
    for i in range(size):
        for j in range(size):
            correlations[i, j] = spearmanr(found[i].losses, found[j].losses).statistic
            shared = len(np.intersect1d(removed[i], removed[j]))
            overlaps[i, j] = shared / max(1, len(removed[i]))
    in_all = removed[0]
    for some in removed[1:]:
        in_all = np.intersect1d(in_all, some)
    common = len(in_all) / max(1, len(removed[0]))
    return ImportanceComparison(tuple(importances), correlations, overlaps, common, keep)


@dataclass(frozen=True, eq=False)
class ExtentSplit:
    """Compact and extended frames of a dataset (paper 003, Table S2).

    Attributes
    ----------
    compact, extended
        Frames whose largest distance is below the threshold, and the others.
    threshold
        Å.
    """

    compact: Dataset
    extended: Dataset
    threshold: float


def extents(dataset: Dataset) -> FloatArray:
    """Return ``(B,)`` the largest interatomic distance of each frame in Å."""
    result = np.empty(len(dataset))
    for frames, distances in distance_chunks(dataset):
        result[frames] = distances.max(axis=1)
    return result


def split_by_extent(dataset: Dataset, threshold: float) -> ExtentSplit:
    """Split frames by whether their largest distance is below ``threshold`` (Å).

    Raises
    ------
    OptionError
        When all frames are on one side.
    """
    found = extents(dataset)
    compact, extended = np.flatnonzero(found < threshold), np.flatnonzero(found >= threshold)
    if len(compact) == 0 or len(extended) == 0:
        raise OptionError(
            f"All frames are on one side of {threshold:g} Å: their largest distances go from "
            f"{found.min():.2f} to {found.max():.2f} Å. Give a threshold between these."
        )
    return ExtentSplit(dataset.subset(compact), dataset.subset(extended), threshold)
