"""Many products of the kernel matrix with vectors: distances are computed once.

The product is the evaluation of :mod:`kraft.kernels.contraction` with the training geometries as
queries (`docs/theory.md`, eq. 9). Their distances never change, so the radial factors are kept as
far as memory allows: ``second`` for every permutation, but ``-first`` only summed over the
permutations that act alike on a class of features, which is all that a product needs of it. A
product is then three matrix products a class and no exponential; where memory ends, the factors are
computed anew, tile by tile.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from kraft.core.typing import IntArray
from kraft.kernels.feature_classes import FeatureClass, feature_classes
from kraft.kernels.geometries import ReducedGeometries
from kraft.kernels.motions import Motions, indices
from kraft.kernels.radial import RadialKernel
from kraft.linalg.arrays import Array, empty_like, namespace, native, take

TILE_ROWS = 64
"""Geometries a tile is high: fewer would make the matrix products slow."""

TILE_ELEMENTS = 131_072
"""Kernel entries of all permutations in one tile: they should stay in the cache."""

MIN_COLUMNS = 64
"""Geometries a tile is wide at least."""


class _Class(NamedTuple):
    """A class of features of all geometries, permuted as rows and as they are as columns."""

    n_actions: int
    features: Array  # (D_c,)
    actions: list[Array]  # S_c times (D_c,)
    action_of_permutation: IntArray  # (S,)
    rows: Array  # (S_c, M, D_c + 1): P_qᵀ z_i and a one
    values: Array  # (M, D_c): z_j


class _Factors(NamedTuple):
    """Radial factors of one tile."""

    second: Array  # (S, T, C)
    first: list[Array]  # (S_c, T, C) for each class: -first summed over equal actions
    value: Array | None  # (T, C) with energy labels: the kernel summed over permutations


class KernelProduct:
    """Products with the kernel matrix, a :class:`~kraft.linalg.operators.Product`.

    Parameters
    ----------
    kernel, geometries, feature_permutations, energy_labels
        As for :class:`kraft.kernels.KernelOperator`.
    max_memory
        Bytes of radial factors to keep at most, all when None.
    """

    def __init__(
        self,
        kernel: RadialKernel,
        geometries: ReducedGeometries,
        feature_permutations: IntArray,
        *,
        energy_labels: bool,
        max_memory: int | None = None,
    ) -> None:
        self._kernel = kernel
        self._motions = Motions(geometries)
        self._energy_labels = energy_labels
        self._values = native(geometries.features.values)
        self._squares = (self._values * self._values).sum(axis=1)
        self._n_permutations = len(feature_permutations)
        self._classes = [self._make_class(c) for c in feature_classes(feature_permutations)]
        self._tile = self._tile_shape()
        self._kept: dict[tuple[int, int], _Factors] = {}
        self.memory = 0
        self._keep(max_memory)

    def __call__(self, vectors: Array) -> Array:
        """Return the product with vectors ``(size,)`` or ``(size, m)``, native arrays."""
        n_geometries, r = len(self._values), self._motions.n_motions
        blocks = vectors.reshape(n_geometries, r + int(self._energy_labels), -1)
        inputs = [self._input(blocks[:, :, k]) for k in range(blocks.shape[2])]
        out = empty_like(vectors, tuple(blocks.shape))
        for top in range(0, n_geometries, self._tile[0]):
            rows = slice(top, min(top + self._tile[0], n_geometries))
            results = self._row_of_tiles(rows, inputs)
            for k, (gradients, energies) in enumerate(results):
                out[rows, :r, k] = self._motions.reduce(gradients, rows)
                if self._energy_labels:
                    out[rows, r, k] = energies
        return out.reshape(vectors.shape)

    def _make_class(self, c: FeatureClass) -> _Class:
        z = self._values
        actions = [indices(action, z) for action in c.actions]
        rows = empty_like(z, (c.n_actions, len(z), len(c.features) + 1))
        for action, out in zip(actions, rows, strict=True):
            out[:, :-1] = take(z, action)
            out[:, -1] = 1.0
        features = indices(c.features, z)
        return _Class(
            c.n_actions, features, actions, c.action_of_permutation, rows, take(z, features)
        )

    def _tile_shape(self) -> tuple[int, int]:
        n_geometries = len(self._values)
        rows = min(TILE_ROWS, n_geometries)
        columns = max(MIN_COLUMNS, TILE_ELEMENTS // (rows * self._n_permutations))
        n_tiles = -(-n_geometries // columns)
        return rows, -(-n_geometries // n_tiles)

    def _keep(self, max_memory: int | None) -> None:
        """Compute and keep the radial factors of as many tiles as fit."""
        n_geometries = len(self._values)
        a_pair = self._n_permutations + sum(c.n_actions for c in self._classes)
        a_pair += int(self._energy_labels)
        itemsize = self._values.dtype.itemsize
        for top in range(0, n_geometries, self._tile[0]):
            rows = slice(top, min(top + self._tile[0], n_geometries))
            for left in range(0, n_geometries, self._tile[1]):
                columns = slice(left, min(left + self._tile[1], n_geometries))
                pairs = (rows.stop - rows.start) * (columns.stop - columns.start)
                needed = pairs * a_pair * itemsize
                if max_memory is not None and self.memory + needed > max_memory:
                    return
                self._kept[top, left] = self._factors(rows, columns)
                self.memory += needed

    def _input(self, blocks: Array) -> _Input:
        """Return what coefficients ``(M, b)`` bring to the matrix products."""
        r = self._motions.n_motions
        moves = self._motions.expand(blocks[:, :r])
        offsets = -(self._values * moves).sum(axis=1)
        of_class, transposed = [], []
        for index, c in enumerate(self._classes):
            own = take(moves, c.features)
            wide = empty_like(own, (own.shape[1] + 1, len(own)))
            wide[:-1] = own.T
            wide[-1] = offsets if index == 0 else 0.0
            of_class.append(own)
            transposed.append(wide)
        return _Input(of_class, transposed, blocks[:, r] if self._energy_labels else None)

    def _factors(self, rows: slice, columns: slice) -> _Factors:
        """Compute the radial factors of a tile."""
        xp, kernel = namespace(self._values), self._kernel
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        squared = empty_like(self._values, (self._n_permutations, *shape))
        squared[...] = self._squares[rows][:, None] + self._squares[columns]
        for c in self._classes:
            left = c.rows[:, rows, :-1]
            products = xp.matmul(left, c.values[columns].T)
            products *= -2.0
            _add_expanded(squared, products, c.action_of_permutation)
        value = None
        if self._energy_labels:
            value = native(kernel.derivative(0, torch.as_tensor(squared)).sum(dim=0))
        first, second = kernel.force_factors_(squared, xp.empty_like(squared))
        first, second = first / kernel.norm, second / kernel.norm
        sums = [_collected(first, c.action_of_permutation, c.n_actions) for c in self._classes]
        return _Factors(second, sums, value)

    def _row_of_tiles(self, rows: slice, inputs: list[_Input]) -> list[tuple[Array, Array | None]]:
        """Return feature gradients ``(T, D)`` and energies ``(T,)`` of some rows, an input each."""
        n_geometries, (n_rows, n_columns) = len(self._values), self._tile
        sums = [_Sums(self, rows) for _ in inputs]
        workspace = empty_like(self._values, (n_rows * n_columns * self._n_permutations,))
        for left in range(0, n_geometries, n_columns):
            columns = slice(left, min(left + n_columns, n_geometries))
            factors = self._kept.get((rows.start, left)) or self._factors(rows, columns)
            for one, target in zip(inputs, sums, strict=True):
                target.add(one, factors, columns, workspace)
        return [target.result() for target in sums]


class _Input(NamedTuple):
    """One vector, as displacements of the features."""

    moves: list[Array]  # (M, D_c) a class: v_j
    transposed: list[Array]  # (D_c + 1, M) a class: v_j and, in the first class, -z_j·v_j
    epsilon: Array | None  # (M,) coefficients of the energy labels


class _Sums:
    """What some rows have gathered over their tiles."""

    def __init__(self, whole: KernelProduct, rows: slice) -> None:
        self.whole, self.rows = whole, rows
        n_rows = rows.stop - rows.start
        self.xp = namespace(whole._values)
        shapes = [(c.n_actions * n_rows, len(c.features)) for c in whole._classes]
        self.with_moves: list[Array] = [0.0 for _ in shapes]
        self.with_values: list[Array] = [0.0 for _ in shapes]
        self.weights: Array = 0.0
        self.energies: Array = 0.0

    def add(self, one: _Input, factors: _Factors, columns: slice, workspace: Array) -> None:
        """Add the contributions of one tile."""
        xp, whole = self.xp, self.whole
        shape = tuple(factors.second.shape)
        weights = workspace[: shape[0] * shape[1] * shape[2]].reshape(shape)
        weights[...] = 0.0
        energy = one.epsilon is not None
        for c, right, first in zip(whole._classes, one.transposed, factors.first, strict=True):
            left = c.rows[:, self.rows]
            products = xp.matmul(left, right[:, columns])
            if energy:
                self.energies = self.energies - (products * first).sum(axis=(0, 2))
            _add_expanded(weights, products, c.action_of_permutation)
        weights *= factors.second
        if one.epsilon is not None:
            epsilon = one.epsilon[columns]
            self.energies = self.energies + factors.value @ epsilon
        self.weights = self.weights + weights.sum(axis=(0, 2))
        for index, (c, first) in enumerate(zip(whole._classes, factors.first, strict=True)):
            collected = _collected(weights, c.action_of_permutation, c.n_actions)
            if one.epsilon is not None:
                more = first * epsilon
                collected = collected - more
                if index == 0:
                    self.weights = self.weights - more.sum(axis=(0, 2))
            n_pairs = shape[2]
            self.with_moves[index] = self.with_moves[index] + (
                first.reshape(-1, n_pairs) @ one.moves[index][columns]
            )
            self.with_values[index] = self.with_values[index] + (
                collected.reshape(-1, n_pairs) @ c.values[columns]
            )

    def result(self) -> tuple[Array, Array | None]:
        """Return the negative feature gradients ``(T, D)`` and the energies."""
        whole = self.whole
        gradients = -self.weights[:, None] * whole._values[self.rows]
        for c, moves, values in zip(whole._classes, self.with_moves, self.with_values, strict=True):
            both = (moves + values).reshape(c.n_actions, len(gradients), -1)
            for action, part in zip(c.actions, both, strict=True):
                gradients[:, action] += part
        return gradients, self.energies if whole._energy_labels else None


def _add_expanded(target: Array, products: Array, action_of_permutation: IntArray) -> None:
    """Add ``(S_c, T, C)`` products to every permutation of ``(S, T, C)`` that has the action."""
    if len(products) in (1, len(target)):
        target += products
        return
    for permutation, action in enumerate(action_of_permutation):
        target[permutation] += products[action]


def _collected(weights: Array, action_of_permutation: IntArray, n_actions: int) -> Array:
    """Return ``(S, T, C)`` weights summed over the permutations of each action."""
    if n_actions == len(weights):
        return weights
    if n_actions == 1:
        return weights.sum(axis=0)[None]
    out = empty_like(weights, (n_actions, *weights.shape[1:]))
    seen: set[int] = set()
    for permutation, action in enumerate(np.asarray(action_of_permutation).tolist()):
        if action in seen:
            out[action] += weights[permutation]
        else:
            out[action] = weights[permutation]
            seen.add(action)
    return out
