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
from kraft.kernels.geometries import ReducedGeometries
from kraft.kernels.image_classes import ImageClass, image_classes
from kraft.kernels.image_sums import ImageSums
from kraft.kernels.motions import Motions
from kraft.kernels.radial import RadialKernel
from kraft.kernels.threads import Threads
from kraft.linalg.arrays import Array, empty_like, index_array, namespace, native, take

TILE_ROWS = 128
"""Geometries a tile is high at most: many fewer would make the matrix products slow."""

TILE_ELEMENTS = 262_144
"""Kernel entries of all permutations in one tile: they should stay in the cache."""

GPU_FACTOR = 64
"""On a GPU, tiles have so many times more entries."""

MIN_COLUMNS = 64
"""Geometries a tile is wide at least."""


class _Class(NamedTuple):
    """A class of features: as columns, and permuted as rows of the matrix."""

    features: Array  # (D_c,)
    actions: list[Array]  # S_c times (D_c,)
    values: Array  # (M, D_c): z_j; in the leading class, a one more


class _Rows(NamedTuple):
    """A few geometries as rows of the matrix."""

    rows: slice
    permuted: list[Array]  # (S_c T, D_c) a class: P_qᵀ z_i; in the leading class, a one more


class _Factors(NamedTuple):
    """Radial factors of one tile."""

    second: Array  # (S, T, C)
    first: list[Array]  # (S_c, T, C) a class: -first summed over equal actions
    value: Array | None  # (T, C) with energy labels: the kernel summed over permutations


class _Input(NamedTuple):
    """One vector, as displacements of the features."""

    moves: list[Array]  # (M, D_c) a class: v_j
    transposed: list[Array]  # (D_c, M) a class: v_j; in the leading class, -z_j·v_j too
    epsilon: Array | None  # (M,) coefficients of the energy labels


class KernelProduct:
    """Products with the kernel matrix, a :class:`~kraft.linalg.operators.Product`.

    On the CPU, tiles are worked on by as many threads as the BLAS library is allowed when the
    product is called, with one BLAS thread each.

    Parameters
    ----------
    kernel, geometries, feature_permutations, energy_labels
        As for :class:`kraft.kernels.KernelOperator`.
    max_memory
        Bytes of radial factors to keep at most, all when None.

    Attributes
    ----------
    memory
        Bytes of radial factors that are kept; permuted features, ``M Σ_c S_c D_c`` numbers, and the
        scratch of each thread come on top.
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
        classes = image_classes(feature_permutations)
        self._sums = ImageSums(classes, self._n_permutations)
        self._classes = [self._make_class(c, leading=c is classes[0]) for c in classes]
        self._threads = Threads(native=namespace(self._values) is np)
        n_rows, self._columns = self._tile_shape()
        self._rows = [
            self._make_rows(slice(top, min(top + n_rows, len(self._values))))
            for top in range(0, len(self._values), n_rows)
        ]
        self._kept: dict[tuple[int, int], _Factors] = {}
        self._keep(max_memory)
        self.memory = sum(
            part.nbytes
            for factors in self._kept.values()
            for part in (factors.second, *factors.first, factors.value)
            if part is not None
        )

    def __call__(self, vectors: Array) -> Array:
        """Return the product with vectors ``(size,)`` or ``(size, m)``, native arrays."""
        r = self._motions.n_motions
        blocks = vectors.reshape(len(self._values), r + int(self._energy_labels), -1)
        inputs = [self._input(blocks[:, :, k]) for k in range(blocks.shape[2])]
        out = empty_like(vectors, tuple(blocks.shape))

        def work(tile: _Rows) -> None:
            for k, gathered in enumerate(self._row_of_tiles(tile, inputs)):
                out[tile.rows, :r, k] = self._motions.reduce(gathered.gradients(), tile.rows)
                if self._energy_labels:
                    out[tile.rows, r, k] = gathered.energies

        self._threads.run(work, self._rows)
        return out.reshape(vectors.shape)

    def _make_class(self, c: ImageClass, *, leading: bool) -> _Class:
        z = self._values
        features = index_array(c.feature_class.features, z)
        values = empty_like(z, (len(z), len(features) + int(leading)))
        values[:, : len(features)] = take(z, features)
        values[:, len(features) :] = 1.0
        return _Class(features, [index_array(a, z) for a in c.feature_class.actions], values)

    def _make_rows(self, rows: slice) -> _Rows:
        values = self._values[rows]
        permuted = []
        for c in self._classes:
            out = empty_like(values, (len(c.actions), len(values), c.values.shape[1]))
            for action, part in zip(c.actions, out, strict=True):
                part[:, : len(c.features)] = take(values, action)
                part[:, len(c.features) :] = 1.0
            permuted.append(out.reshape(len(c.actions) * len(values), -1))
        return _Rows(rows, permuted)

    def _tile_shape(self) -> tuple[int, int]:
        n_geometries, n_rows, entries = len(self._values), TILE_ROWS, TILE_ELEMENTS
        if namespace(self._values) is torch:
            n_rows, entries = 8 * n_rows, GPU_FACTOR * entries
        n_tiles = -(-n_geometries // n_rows)
        n_tiles += n_tiles % 2  # the same work for two threads
        rows = -(-n_geometries // n_tiles)
        columns = max(MIN_COLUMNS, entries // (rows * self._n_permutations))
        n_tiles = -(-n_geometries // columns)
        return rows, -(-n_geometries // n_tiles)

    def _tiles_of_columns(self) -> list[slice]:
        n_geometries = len(self._values)
        return [
            slice(left, min(left + self._columns, n_geometries))
            for left in range(0, n_geometries, self._columns)
        ]

    def _keep(self, max_memory: int | None) -> None:
        """Compute and keep the radial factors of as many tiles as fit."""
        a_pair = self._n_permutations + self._sums.n_actions + int(self._energy_labels)
        a_pair *= self._values.dtype.itemsize
        chosen, memory = [], 0
        for tile in self._rows:
            for columns in self._tiles_of_columns():
                height, width = tile.rows.stop - tile.rows.start, columns.stop - columns.start
                memory += height * width * a_pair
                if max_memory is None or memory <= max_memory:
                    chosen.append((tile, columns))

        def work(item: tuple[_Rows, slice]) -> None:
            tile, columns = item
            self._kept[tile.rows.start, columns.start] = self._factors(tile, columns)

        self._threads.run(work, chosen)

    def _input(self, blocks: Array) -> _Input:
        """Return what coefficients ``(M, b)`` bring to the matrix products."""
        r = self._motions.n_motions
        moves = self._motions.expand(blocks[:, :r])
        of_class, transposed = [], []
        for index, c in enumerate(self._classes):
            own = take(moves, c.features)
            wide = empty_like(own, (c.values.shape[1], len(own)))
            wide[: own.shape[1]] = own.T
            if index == 0:
                wide[-1] = -(self._values * moves).sum(axis=1)
            of_class.append(own)
            transposed.append(wide)
        return _Input(of_class, transposed, blocks[:, r] if self._energy_labels else None)

    def _factors(self, tile: _Rows, columns: slice) -> _Factors:
        """Compute the radial factors of a tile."""
        xp, kernel = namespace(self._values), self._kernel
        shape = (tile.rows.stop - tile.rows.start, columns.stop - columns.start)
        products = []
        for c, left in zip(self._classes, tile.permuted, strict=True):
            n_features = len(c.features)
            right = c.values[columns, :n_features].T
            products.append((left[:, :n_features] @ right).reshape(len(c.actions), *shape))
        squared = empty_like(self._values, (self._n_permutations, *shape))
        self._sums.expand(products, squared)
        squared *= -2.0
        squared += self._squares[tile.rows][:, None] + self._squares[columns]
        value = None
        if self._energy_labels:
            value = native(kernel.derivative(0, torch.as_tensor(squared)).sum(dim=0))
        first, second = kernel.force_factors_(squared, xp.empty_like(squared))
        second = second / kernel.norm
        first = first / kernel.norm
        sums = [empty_like(squared, (len(c.actions), *shape)) for c in self._classes]
        self._sums.collect(first, sums)
        return _Factors(second, sums, value)

    def _row_of_tiles(self, tile: _Rows, inputs: list[_Input]) -> list[_Gathered]:
        """Return what some rows gather from all columns, for each input."""
        gathered = [_Gathered(self, tile) for _ in inputs]
        n_rows = tile.rows.stop - tile.rows.start
        size = n_rows * self._columns
        workspace = empty_like(
            self._values, ((self._n_permutations + self._sums.n_actions) * size,)
        )
        for columns in self._tiles_of_columns():
            factors = self._kept.get((tile.rows.start, columns.start))
            if factors is None:
                factors = self._factors(tile, columns)
            for one, target in zip(inputs, gathered, strict=True):
                target.add(one, factors, columns, workspace)
        return gathered


class _Gathered:
    """What some rows gather over the columns for one vector."""

    def __init__(self, whole: KernelProduct, tile: _Rows) -> None:
        self._whole, self._tile = whole, tile
        self._sums: list[tuple[Array, Array] | None] = [None for _ in whole._classes]
        self.energies: Array = 0.0

    def add(self, one: _Input, factors: _Factors, columns: slice, workspace: Array) -> None:
        """Add the contributions of one tile."""
        whole = self._whole
        xp = namespace(workspace)
        shape = tuple(factors.second.shape)
        size = shape[1] * shape[2]
        weights = workspace[: shape[0] * size].reshape(shape)
        start = shape[0] * size
        products = []
        for left, right in zip(self._tile.permuted, one.transposed, strict=True):
            stop = start + len(left) * shape[2]
            target = workspace[start:stop].reshape(len(left), shape[2])
            xp.matmul(left, right[:, columns], out=target)
            products.append(target.reshape(-1, *shape[1:]))
            start = stop
        whole._sums.expand(products, weights)
        weights *= factors.second
        whole._sums.collect(weights, products)
        if one.epsilon is not None:
            epsilon = one.epsilon[columns]
            for product, first in zip(products, factors.first, strict=True):
                product -= first * epsilon
            self.energies = self.energies + factors.value @ epsilon
            self.energies -= factors.first[0].sum(axis=0) @ one.transposed[0][-1, columns]
        for index, (c, first, product) in enumerate(
            zip(whole._classes, factors.first, products, strict=True)
        ):
            with_moves = first.reshape(-1, shape[2]) @ one.moves[index][columns]
            with_values = product.reshape(-1, shape[2]) @ c.values[columns]
            kept = self._sums[index]
            if kept is None:
                self._sums[index] = (with_moves, with_values)
            else:
                kept[0].__iadd__(with_moves)
                kept[1].__iadd__(with_values)

    def gradients(self) -> Array:
        """Return the negative feature gradients ``(T, D)``, and finish the energies."""
        whole, tile = self._whole, self._tile
        values = whole._values[tile.rows]
        gradients: Array = None
        for c, left, sums in zip(whole._classes, tile.permuted, self._sums, strict=True):
            assert sums is not None
            with_moves, with_values = sums
            width = len(c.features)
            shape = (len(c.actions), len(values), -1)
            if gradients is None:
                weights = with_values[:, -1].reshape(shape[:2]).sum(axis=0)
                gradients = values * -weights[:, None]
            if whole._energy_labels:
                inner = (with_moves * left[:, :width]).sum(axis=1)
                self.energies = self.energies - inner.reshape(shape[:2]).sum(axis=0)
            with_moves += with_values[:, :width]
            for action, part in zip(c.actions, with_moves.reshape(shape), strict=True):
                gradients[:, action] += part
        return gradients
