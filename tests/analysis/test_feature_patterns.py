"""Patterns of the features kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from analysis.test_reduction import importance

from kraft.analysis.feature_patterns import (
    compare_importances,
    extents,
    feature_scaling,
    partners,
    split_by_extent,
)
from kraft.core.errors import OptionError


def test_partners_are_the_other_atoms_of_the_features_kept():
    found = partners(np.array([0, 2, 5]), 4)  # pairs 01, 03, 23
    assert [each.tolist() for each in found] == [[1, 3], [0], [3], [0, 2]]


def test_scaling_finds_a_straight_line():
    found = feature_scaling({"a": (10, 100), "b": (40, 400)})
    assert (found.per_atom, found.n_features) == (10.0, (100, 400))
    assert found.exponent == pytest.approx(1.0)
    squares = feature_scaling({"a": (10, 100), "b": (40, 1600)})
    assert squares.exponent == pytest.approx(2.0)
    assert feature_scaling({"a": (10, 100)}).exponent is None
    with pytest.raises(OptionError, match="at least one"):
        feature_scaling({})


def test_importances_are_compared_by_rank_and_by_what_they_remove():
    one = importance()
    reverse = replace(
        one, orbit_losses=1.0 / (one.orbit_losses / one.orbit_sizes) * one.orbit_sizes
    )
    found = compare_importances({"one": one, "same": replace(one), "reverse": reverse}, keep=8)
    assert found.rank_correlations[0] == pytest.approx([1.0, 1.0, -1.0])
    assert found.overlaps[0].tolist() == [1.0, 1.0, 0.0] and found.common == 0.0
    twice = compare_importances({"one": one, "same": replace(one)}, keep=5)
    assert twice.common == 1.0 and twice.names == ("one", "same")
    with pytest.raises(OptionError, match="at least two"):
        compare_importances({"one": one}, keep=0.5)
    with pytest.raises(OptionError, match="same features"):
        compare_importances({"one": one, "other": replace(one, features=one.features + 1)}, keep=5)


def test_compact_and_extended_frames(ethanol):
    some = ethanol.subset(np.arange(40))
    largest = extents(some)
    gaps = np.linalg.norm(some.positions[:, :, None] - some.positions[:, None], axis=3)
    np.testing.assert_allclose(largest, gaps.max(axis=(1, 2)))
    threshold = float(np.median(largest))
    found = split_by_extent(some, threshold)
    assert len(found.compact) + len(found.extended) == 40
    assert extents(found.compact).max() < threshold <= extents(found.extended).min()
    with pytest.raises(OptionError, match="on one side"):
        split_by_extent(some, 99.0)
