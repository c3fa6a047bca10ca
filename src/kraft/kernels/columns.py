"""Single columns and the diagonal of the kernel matrix, without the rest of it.

The column of a force label holds, for the displacement ``w = Z_j e`` of the features
(`docs/theory.md`, eq. 9),

    Z_iᵀ Σ_q [-first P_q w + second (δᵀ P_q w) P_q z_j] - Σ_q second (δᵀ P_q w) Z_iᵀ z_i,

with ``δ = z_i - P_q z_j``; that of an energy label has ``w = 0`` and ``first`` in place of
``second (δᵀ P_q w)``. Each costs one product with the ``Z_i`` of every geometry.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from kraft.core.typing import IntArray
from kraft.kernels.atom_pairs import PairJacobians, by_pairs
from kraft.kernels.geometries import ReducedGeometries
from kraft.kernels.image_classes import image_classes
from kraft.kernels.motions import Motions, indices
from kraft.kernels.radial import RadialKernel
from kraft.kernels.threads import Threads
from kraft.linalg.arrays import Array, empty_like, namespace, native, take

JACOBIAN_ELEMENTS = 200_000
"""Entries of the reduced Jacobians of the rows in one tile."""

TILE_ELEMENTS = 200_000
"""Entries of the largest scratch array of one tile."""

MIN_ROWS, MIN_COLUMNS = 4, 48
"""Geometries and columns of one tile at least: its products would be slow with fewer."""

COLUMN_ELEMENTS = 8_000_000
"""Permuted features of the columns made at once."""


class _Class(NamedTuple):
    """A class of features with native indices."""

    n_actions: int
    features: Array  # (D_c,)
    actions: Array  # (S_c D_c,)
    members: Array  # (S, S_c)
    action_of_permutation: Array  # (S,)


class KernelColumns:
    """Makes columns and the diagonal of the kernel matrix of some geometries.

    Parameters
    ----------
    kernel, geometries, feature_permutations, energy_labels
        As for :class:`kraft.kernels.KernelOperator`.
    """

    def __init__(
        self,
        kernel: RadialKernel,
        geometries: ReducedGeometries,
        feature_permutations: IntArray,
        *,
        energy_labels: bool,
    ) -> None:
        self._kernel = kernel
        self._motions = Motions(geometries)
        self._pairs = None
        if by_pairs(geometries):
            self._pairs = PairJacobians(geometries)
        self._values = native(geometries.features.values)
        self._energy_labels = energy_labels
        self._n_permutations = len(feature_permutations)
        self._classes = []
        for c, _, _ in image_classes(feature_permutations):
            members = empty_like(self._values, (self._n_permutations, c.n_actions))
            members[...] = 0.0
            for permutation, action in enumerate(c.action_of_permutation):
                members[permutation, int(action)] = 1.0
            self._classes.append(
                _Class(
                    c.n_actions,
                    indices(c.features, self._values),
                    indices(c.actions.ravel(), self._values),
                    members,
                    indices(c.action_of_permutation, self._values),
                )
            )
        self._xp = namespace(self._values)
        self._order = self._xp.concatenate([c.features for c in self._classes])
        self._table: Array = None
        if self._pairs is not None:  # where the features of atoms' partners stand in this order
            self._table = self._xp.argsort(self._order)[self._pairs.table]
        self._threads = Threads(native=self._xp is not torch)
        self._squares = (self._values * self._values).sum(axis=1)

    def columns(self, chosen: IntArray) -> Array:
        """Return columns as rows ``(k, size)``."""
        n_geometries, n_features = self._values.shape
        r = self._motions.n_motions
        block = r + int(self._energy_labels)
        out = empty_like(self._values, (len(chosen), n_geometries, block))
        rows = max(MIN_ROWS, JACOBIAN_ELEMENTS // (n_features * (r if self._pairs is None else 3)))
        width = n_features + r + 5 * self._n_permutations
        columns = max(MIN_COLUMNS, TILE_ELEMENTS // (rows * width))
        moved = 2 * sum(len(c.actions) for c in self._classes)
        group = columns * max(1, COLUMN_ELEMENTS // (moved * columns))
        for begin in range(0, len(chosen), group):
            some = chosen[begin : begin + group]
            tiles = [
                (start + begin, self._tile_columns(some[start : start + columns]))
                for start in range(0, len(some), columns)
            ]

            def work(some_rows: slice, tiles: list[tuple[int, _Columns]] = tiles) -> None:
                tile_rows = self._tile_rows(some_rows)
                for start, tile in tiles:
                    self._fill(out[start : start + len(tile.squares), some_rows], tile_rows, tile)

            tops = range(0, n_geometries, rows)
            self._threads.run(work, [slice(top, min(top + rows, n_geometries)) for top in tops])
        return out.reshape(len(chosen), n_geometries * block)

    def diagonal(self) -> Array:
        """Return the diagonal ``(size,)``."""
        n_geometries, n_features = self._values.shape
        r = self._motions.n_motions
        out = empty_like(self._values, (n_geometries, r + int(self._energy_labels)))
        tile = max(1, TILE_ELEMENTS // (2 * (n_features + 4 * self._n_permutations) * r))
        for start in range(0, n_geometries, tile):
            self._fill_diagonal(out[start : start + tile], slice(start, start + tile))
        return out.reshape(-1)

    def _tile_columns(self, chosen: IntArray) -> _Columns:
        r = self._motions.n_motions
        geometry, direction = divmod(chosen, r + int(self._energy_labels))
        energy = direction == r
        values = self._values[indices(geometry, self._values)]
        moves = self._motions.column(geometry, direction * ~energy)
        epsilon = empty_like(self._values, (len(chosen),))
        epsilon[...] = 0.0
        if energy.any():
            places = indices(energy.nonzero()[0], self._values)
            epsilon[places] = 1.0
            moves[places] = 0.0
        count = len(chosen)
        of_class = []
        for c in self._classes:
            parts = [
                take(array, c.actions).reshape(count, c.n_actions, -1) for array in (moves, values)
            ]
            of_class.append(self._xp.concatenate(parts, axis=1))  # (P, 2 S_c, D_c)
        return _Columns(
            (values * values).sum(axis=1),
            (values * moves).sum(axis=1),
            epsilon if energy.any() else None,
            of_class,
        )

    def _tile_rows(self, rows: slice) -> _Rows:
        values = self._values[rows]
        if self._pairs is not None:
            return _Rows(rows.start, values, self._squares[rows], None)
        jacobians = self._motions.reduced_jacobians(rows)
        ordered = empty_like(values, (len(values), jacobians.shape[1] + 1, jacobians.shape[2]))
        ordered[:, :-1] = take(jacobians, self._order)
        ordered[:, -1] = (values[:, None] @ jacobians)[:, 0]
        return _Rows(rows.start, values, self._squares[rows], ordered)

    def _fill(self, out: Array, rows: _Rows, columns: _Columns) -> None:
        """Write the entries ``(P, T, b)`` of some columns in the rows of some geometries."""
        n_rows, n_columns = len(rows.values), len(columns.squares)
        r = self._motions.n_motions
        projections, inner = empty_like(rows.values, (2, n_rows, n_columns, self._n_permutations))
        projections[...], inner[...] = -columns.offsets[:, None], 0.0
        for c, moved in zip(self._classes, columns.of_class, strict=True):
            flat = moved.reshape(-1, moved.shape[2])
            products = take(rows.values, c.features) @ flat.T  # (T, P 2 S_c)
            products = products.reshape(n_rows, n_columns, 2, c.n_actions)
            projections += self._expand(c, products[:, :, 0])
            inner += self._expand(c, products[:, :, 1])
        squared = (rows.squares[:, None] + columns.squares)[:, :, None] - 2.0 * inner
        epsilon = columns.epsilon
        value: Array = None
        if self._energy_labels:
            value = native(self._kernel.derivative(0, torch.as_tensor(squared)).sum(dim=2))
        factors = self._kernel.force_factors_(squared, self._xp.empty_like(squared))
        first, second = (factor / self._kernel.norm for factor in factors)
        weights = second * projections
        if epsilon is not None:
            weights -= first * epsilon[:, None]
        gradients = self._gradients(first, weights, columns)  # (P, T, D + 1)
        self._reduce(gradients, rows, out[:, :, :r])
        if self._energy_labels:
            energies = -(first * projections).sum(axis=2)
            if epsilon is not None:
                energies += value * epsilon
            out[:, :, r] = energies.T

    def _reduce(self, gradients: Array, rows: _Rows, out: Array) -> None:
        """Write ``Zᵀ`` of each geometry times ``(P, T, D + 1)`` of :meth:`_gradients`."""
        if self._pairs is None:
            self._xp.matmul(_swapped(gradients), rows.jacobians, out=_swapped(out))
            return
        for t, values in enumerate(rows.values):
            of_features = gradients[:, t, :-1] + gradients[:, t, -1:] * values[self._order]
            of_pairs = take(of_features, self._table)
            forces = self._pairs.transposed(self._pairs.gradients(rows.start + t), of_pairs)
            out[:, t] = forces @ self._pairs.basis(rows.start + t)

    def _gradients(self, first: Array, weights: Array, columns: _Columns) -> Array:
        """Return ``Σ_q (-first P_q w + weight P_q z_j)`` and, behind it, ``-Σ_q weight``."""
        n_rows, n_columns, _ = first.shape
        gradients = empty_like(first, (n_columns, n_rows, self._values.shape[1] + 1))
        start = 0
        for c, moved in zip(self._classes, columns.of_class, strict=True):
            both = [self._collect(c, factor) for factor in (first, weights)]
            joined = _swapped(self._xp.concatenate(both, axis=2))  # (P, T, 2 S_c)
            stop = start + moved.shape[2]
            gradients[:, :, start:stop] = self._xp.matmul(joined, moved)
            start = stop
        gradients[:, :, -1] = -_swapped(weights.sum(axis=2))
        return gradients

    def _expand(self, c: _Class, products: Array) -> Array:
        """Repeat ``(T, P, S_c)`` for every permutation, or leave what broadcasts."""
        if c.n_actions in (1, self._n_permutations):
            return products
        return products[:, :, c.action_of_permutation]

    def _collect(self, c: _Class, factors: Array) -> Array:
        """Sum ``(T, P, S)`` over the permutations of each action."""
        if c.n_actions == self._n_permutations:
            return factors
        return factors @ c.members

    def _fill_diagonal(self, out: Array, rows: slice) -> None:
        """Write the diagonal entries ``(T, b)`` of some geometries."""
        values, z = self._values[rows], self._motions.reduced_jacobians(rows)
        r = z.shape[2]
        slopes = (values[:, None] @ z)[:, 0]
        shape = (len(values), self._n_permutations, r)
        left, right, cross = (empty_like(values, shape) for _ in range(3))
        left[...], right[...], cross[...] = slopes[:, None], -slopes[:, None], 0.0
        inner = empty_like(values, shape[:2])
        inner[...] = 0.0
        for c in self._classes:
            own_values, own = take(values, c.features), take(z, c.features)
            parts = empty_like(values, (3, len(values), c.n_actions, r))
            squares = empty_like(values, (len(values), c.n_actions))
            for action, moves in enumerate(c.actions.reshape(c.n_actions, -1)):
                moved_values, moved = take(values, moves), take(z, moves)
                parts[0, :, action] = (moved_values[:, None] @ own)[:, 0]
                parts[1, :, action] = (own_values[:, None] @ moved)[:, 0]
                moved *= own
                parts[2, :, action] = moved.sum(axis=1)
                squares[:, action] = (own_values * moved_values).sum(axis=1)
            left -= take(parts[0], c.action_of_permutation)
            right += take(parts[1], c.action_of_permutation)
            cross += take(parts[2], c.action_of_permutation)
            inner += take(squares, c.action_of_permutation)
        squared = 2.0 * (self._squares[rows][:, None] - inner)
        if self._energy_labels:
            out[:, r] = native(self._kernel.derivative(0, torch.as_tensor(squared)).sum(dim=1))
        factors = self._kernel.force_factors_(squared, self._xp.empty_like(squared))
        first, second = (factor / self._kernel.norm for factor in factors)
        left *= right
        out[:, :r] = (first[:, None] @ cross - second[:, None] @ left)[:, 0]


class _Columns(NamedTuple):
    """A few columns, with the displaced features of their geometries."""

    squares: Array  # (P,) |z_j|²
    offsets: Array  # (P,) z_j·w
    epsilon: Array | None  # (P,) 1 for energy labels; None without any
    of_class: list[Array]  # (P, 2 S_c, D_c): P_q w, then P_q z_j


class _Rows(NamedTuple):
    """A few geometries as rows of the matrix."""

    start: int
    values: Array  # (T, D)
    squares: Array  # (T,)
    jacobians: Array  # (T, D + 1, r): Z_i in the order of the classes, and Z_iᵀ z_i; None if large


def _swapped(array: Array) -> Array:
    """Return a view with the first two axes exchanged."""
    return array.swapaxes(0, 1)
