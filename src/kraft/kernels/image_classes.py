"""Splitting features by their images under the permutation group, for repeated products.

A scalar product of permuted features, ``Σ_d x[p_q(d)] x'[d]`` for all permutations ``q``, needs of
each feature ``d`` only one product for each *image* ``p_q(d)``. Features whose images change at the
same permutations form a class with one action for each image. These classes are finer than those of
:mod:`kraft.kernels.feature_classes`, which keep whole orbits together: the three hydrogens of a
methyl group under all their six permutations make three classes of three actions instead of one of
six, half the products. (They are not closed under the group, which only repeated products bear.)

The products of a class are added to those of a class that tells more permutations apart, its
parent, and in the end to one sum for each permutation. Classes are merged as long as that costs
less than adding their products separately (`docs/theory.md`, eq. 15).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

import numpy as np

from kraft.core.typing import IntArray
from kraft.kernels.feature_classes import FeatureClass, feature_classes

ACTION_COST = 7.0
"""Cost of writing and reading one product, in units of one product of one feature."""

SUM_COST = 2.6
"""Cost of adding one product to that of a parent and of collecting it again, in the same unit."""

MAX_CLASSES = 40
"""With more classes than this to begin with, whole orbits are kept together."""

Labels: TypeAlias = tuple[int, ...]
"""Which action each permutation has, numbered in the order of first appearance."""


class ImageClass(NamedTuple):
    """A class of features, and the class that its products are added to.

    Attributes
    ----------
    feature_class
        Features and actions; the actions lead out of the class.
    parent
        Index of a later class whose actions tell more permutations apart; None when the products
        are added to the sums for all permutations.
    action_of_parent
        ``(S_parent,)`` which action of this class each action of the parent is, or ``(S,)`` each
        permutation.
    """

    feature_class: FeatureClass
    parent: int | None
    action_of_parent: IntArray


def image_classes(feature_permutations: IntArray) -> tuple[ImageClass, ...]:
    """Split features into classes by their images, parents after their children.

    Parameters
    ----------
    feature_permutations
        ``(S, D)`` action of the permutation group on the features, the identity first.
    """
    table = np.asarray(feature_permutations)
    groups: dict[Labels, list[int]] = {}
    for feature, images in enumerate(table.T):
        groups.setdefault(_labels(images), []).append(feature)
    if len(groups) > MAX_CLASSES:
        groups = {
            _labels(c.action_of_permutation): c.features.tolist() for c in feature_classes(table)
        }
    groups = _merged(groups, len(table))
    ordered = sorted(groups, key=lambda labels: (max(labels), labels))
    return tuple(_make_class(table, labels, groups[labels], ordered) for labels in ordered)


def _merged(groups: dict[Labels, list[int]], n_permutations: int) -> dict[Labels, list[int]]:
    """Merge the two classes that gain most by it until none does."""
    joins = _Joins()
    while True:
        best, choice = 0.0, None
        costs = {a: _cost(a, len(groups[a]), groups, joins, n_permutations) for a in groups}
        for a, b in itertools.combinations(groups, 2):
            both = joins(a, b)
            n_features = len(groups[a]) + len(groups[b])
            gain = costs[a] + costs[b]
            if both in groups and both not in (a, b):
                continue
            gain -= _cost(both, n_features, groups, joins, n_permutations)
            if gain > best:
                best, choice = gain, (a, b, both)
        if choice is None:
            return groups
        a, b, both = choice
        features = groups.pop(a) + groups.pop(b)
        groups[both] = features


def _cost(
    labels: Labels,
    n_features: int,
    groups: dict[Labels, list[int]],
    joins: _Joins,
    n_permutations: int,
) -> float:
    """Return the cost of a class beside the other classes."""
    n_actions = max(labels) + 1
    cost = n_actions * (n_features + ACTION_COST)
    if n_actions < n_permutations:
        parent = _parent(labels, groups, joins)
        cost += SUM_COST * (n_permutations if parent is None else max(parent) + 1)
    return cost


def _parent(labels: Labels, groups: Iterable[Labels], joins: _Joins) -> Labels | None:
    """Return the class of fewest actions that tells apart all that these labels do, and more."""
    finer = [
        other for other in groups if max(other) > max(labels) and joins(labels, other) == other
    ]
    return min(finer, key=lambda other: (max(other), other), default=None)


class _Joins:
    """Remembers the common refinements of pairs of labels."""

    def __init__(self) -> None:
        self._known: dict[tuple[Labels, Labels], Labels] = {}

    def __call__(self, a: Labels, b: Labels) -> Labels:
        """Return the labels that tell apart what either does."""
        key = (a, b) if a < b else (b, a)
        if key not in self._known:
            pairs = np.array(a) * (max(b) + 1) + np.array(b)
            self._known[key] = _labels(pairs)
        return self._known[key]


def _make_class(
    table: IntArray, labels: Labels, features: list[int], ordered: list[Labels]
) -> ImageClass:
    own = np.array(sorted(features), dtype=np.int64)
    action_of_permutation = np.array(labels, dtype=np.int64)
    first_seen = np.unique(action_of_permutation, return_index=True)[1]
    c = FeatureClass(own, table[first_seen][:, own].astype(np.int64), action_of_permutation)
    parent = _parent(labels, ordered, _Joins())
    if parent is None:
        return ImageClass(c, None, action_of_permutation)
    action_of_parent = np.zeros(max(parent) + 1, dtype=np.int64)
    action_of_parent[np.array(parent)] = action_of_permutation
    return ImageClass(c, ordered.index(parent), action_of_parent)


def _labels(images: IntArray) -> Labels:
    """Return images numbered in the order of their first appearance."""
    order: dict[int, int] = {}
    return tuple(order.setdefault(image, len(order)) for image in np.asarray(images).tolist())
