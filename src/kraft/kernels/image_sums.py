"""Sums of the products of image classes over their tree, forth and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kraft.kernels.image_classes import ImageClass
from kraft.linalg.arrays import Array


class ImageSums:
    """Adds the products of all classes for every permutation, and collects weights for them.

    Arrays are ``(S_c, ...)`` for a class and ``(S, ...)`` for the permutations, with the same
    further axes.

    Parameters
    ----------
    classes
        From :func:`kraft.kernels.image_classes.image_classes`.
    n_permutations
        Number ``S`` of permutations.
    """

    def __init__(self, classes: Sequence[ImageClass], n_permutations: int) -> None:
        self._steps = [
            _Step(index, c.parent, c.action_of_parent.tolist()) for index, c in enumerate(classes)
        ]
        self._n_permutations = n_permutations
        self.n_actions = sum(c.feature_class.n_actions for c in classes)

    def expand(self, products: Sequence[Array], out: Array) -> None:
        """Write the products of all classes, added up, into ``out``; spoil the products."""
        fresh = True
        for step in self._steps:
            own = products[step.index]
            if step.parent is not None:
                step.add(own, products[step.parent])
            elif fresh:
                step.write(own, out)
                fresh = False
            else:
                step.add(own, out)

    def collect(self, weights: Array, out: Sequence[Array]) -> None:
        """Write the weights, summed over the permutations of each action, a class each."""
        for step in reversed(self._steps):
            source = weights if step.parent is None else out[step.parent]
            step.collect(source, out[step.index])


class _Step:
    """One class beneath its parent."""

    def __init__(self, index: int, parent: int | None, actions: list[int]) -> None:
        self.index, self.parent = index, parent
        self._actions = actions
        self._members: list[list[int]] = [[] for _ in range(max(actions) + 1)]
        for place, action in enumerate(actions):
            self._members[action].append(place)

    def write(self, own: Array, parent: Array) -> None:
        """Set every parent's action to the own one."""
        for place, action in enumerate(self._actions):
            parent[place] = own[action]

    def add(self, own: Array, parent: Array) -> None:
        """Add to every parent's action the own one."""
        if len(own) == 1:
            parent += own
            return
        for place, action in enumerate(self._actions):
            target = parent[place]
            target += own[action]

    def collect(self, parent: Array, own: Array) -> None:
        """Set every own action to the sum of the parent's that it is."""
        for action, members in enumerate(self._members):
            target = own[action]
            if len(members) == 1:
                target[...] = parent[members[0]]
                continue
            if isinstance(target, np.ndarray):
                np.add(parent[members[0]], parent[members[1]], out=target)
            else:
                target[...] = parent[members[0]] + parent[members[1]]
            for place in members[2:]:
                target += parent[place]
