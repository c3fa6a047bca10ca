"""Geometries as the covariances of single atoms see them, and the distances that all atoms share.

The force on an atom depends on the features that touch it only, one for each other atom, so its
covariances need ``N`` features instead of ``D``. Features are weighted and centered, but *not*
scaled: with the kernel's factor ``s`` for a length scale, ``z = s w ∘ (x - x̄)``, so products of two
Jacobians or two features carry ``s²``, which stands in the radial factors. Geometries and squared
distances therefore serve all length scales.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kraft.core.typing import IntArray
from kraft.descriptors import Descriptor
from kraft.kernels.radial import RadialKernel
from kraft.linalg.arrays import Array, empty_like, index_array, native, tensor
from kraft.symmetry.orbits import feature_permutations, pair_indices

FEATURE = 3
"""Component of :attr:`AtomGeometries.stacked` that holds features; those before are slopes."""


ALL = slice(None)


class Factors(NamedTuple):
    """Radial factors ``(S, T, C)`` of ``T`` geometries against the permuted copies of ``C``.

    With the scale ``s`` of the features in them: ``-s² first`` and ``s⁴ second``.
    """

    minus_first: Array
    second: Array


@dataclass(frozen=True, eq=False)
class AtomGeometries:
    """Weighted, centered features of ``M`` geometries, by atoms; made by :meth:`of`.

    Attributes
    ----------
    permutations
        ``(S, N)`` group, the identity first.
    values
        ``(M, D)`` features.
    stacked
        ``(N, 4, M, N)``: for atoms ``a`` and ``c``, the derivative of their feature by the position
        of ``a`` (three components), and the feature itself; zero for ``a = c``.
    own
        ``(N, 3, M)``: for atom ``a``, ``Jᵀz``.
    """

    permutations: IntArray
    values: Array
    stacked: Array
    own: Array

    @classmethod
    def of(
        cls,
        descriptor: Descriptor,
        positions: Tensor,
        weights: Tensor,
        center: Tensor,
        permutations: IntArray,
    ) -> AtomGeometries:
        """Compute the features ``weights * (x - center)`` of positions ``(M, N, 3)`` in Å.

        Raises
        ------
        ValueError
            When the descriptor does not have the features of all pairs.
        """
        n_atoms = descriptor.n_atoms
        first, second = pair_indices(n_atoms)
        if descriptor.n_features != len(first):
            raise ValueError(
                f"atomwise kernels need all {len(first)} pairs, got {descriptor.n_features} of them"
            )
        raw = descriptor.evaluate(positions)
        number = np.zeros((n_atoms, n_atoms), dtype=np.int64)
        number[first, second] = number[second, first] = np.arange(len(first))
        sign = np.sign(np.arange(n_atoms)[None, :] - np.arange(n_atoms)[:, None])
        values = (raw.values - center) * weights
        signs = torch.as_tensor(sign, dtype=values.dtype, device=values.device)
        where = torch.as_tensor(number.ravel(), device=values.device)
        slopes = (raw.gradients * weights[:, None]).index_select(1, where)
        slopes = slopes.view(-1, n_atoms, n_atoms, 3) * signs[:, :, None]
        features = values.index_select(1, where).view(-1, n_atoms, n_atoms) * signs.abs()
        stacked = values.new_empty(n_atoms, 4, len(values), n_atoms)
        stacked[:, :FEATURE] = slopes.permute(1, 3, 0, 2)
        stacked[:, FEATURE] = features.permute(1, 0, 2)
        own = (stacked[:, :FEATURE] * stacked[:, FEATURE:]).sum(dim=3)
        return cls(permutations, native(values), native(stacked), native(own))

    def __len__(self) -> int:
        return len(self.values)

    @property
    def n_atoms(self) -> int:
        """Number of atoms ``N``."""
        return len(self.stacked)

    def subset(self, chosen: IntArray) -> AtomGeometries:
        """Return some of the geometries, in the given order."""
        rows = index_array(np.asarray(chosen), self.values)
        return AtomGeometries(
            self.permutations, self.values[rows], self.stacked[:, :, rows], self.own[:, :, rows]
        )

    def part(self, rows: slice) -> AtomGeometries:
        """Return a view of consecutive geometries."""
        return AtomGeometries(
            self.permutations, self.values[rows], self.stacked[:, :, rows], self.own[:, :, rows]
        )


class Distances:
    """Squared distances ``|z - P_q z'|²`` between unscaled features, by tiles.

    Parameters
    ----------
    rows
        The geometries ``z``, whose copies are permuted back: they are to be the fewer ones.
    columns
        The geometries ``z'``.
    """

    def __init__(self, rows: AtomGeometries, columns: AtomGeometries) -> None:
        table = feature_permutations(columns.permutations)
        self._rows, self._columns = rows.values, columns.values
        self._back = index_array(np.argsort(table, axis=1), rows.values)
        self._row_squares = (rows.values * rows.values).sum(axis=1)
        self._column_squares = (columns.values * columns.values).sum(axis=1)

    def tile(self, rows: slice = ALL, columns: slice = ALL) -> Array:
        """Return the squared distances ``(S, T, C)``; slightly negative ones are of rounding."""
        left, right = self._rows[rows], self._columns[columns]
        permuted = left[:, self._back].swapaxes(0, 1)  # (S, T, D)
        out = permuted.reshape(-1, left.shape[1]) @ right.T
        out *= -2.0
        out = out.reshape(len(self._back), len(left), len(right))
        out += self._row_squares[rows][:, None]
        out += self._column_squares[columns]
        return out


def radial_factors(kernel: RadialKernel, length_scale: float, squared: Array) -> Factors:
    """Return the factors of the forces at unscaled squared distances, which are kept."""
    factor = kernel.scale(length_scale) ** 2
    scaled = squared * factor
    first, second = kernel.force_factors_(scaled, empty_like(scaled, tuple(scaled.shape)))
    return Factors(first * (factor / kernel.norm), second * (factor**2 / kernel.norm))


def radial_values(kernel: RadialKernel, length_scale: float, squared: Array) -> Array:
    """Return ``Σ_q k`` ``(T, C)`` at unscaled squared distances ``(S, T, C)``."""
    factor = kernel.scale(length_scale) ** 2
    return native(kernel.derivative(0, tensor(squared * factor)).sum(dim=0))


class LowerTiles:
    """Tiles of the lower triangle of all pairs of geometries, with what all atom sets share.

    Parameters
    ----------
    geometries
        The geometries.
    shape
        Geometries in the rows and in the columns of a tile.
    keep
        Whether the squared distances are kept, for other length scales.
    """

    def __init__(
        self, geometries: AtomGeometries, shape: tuple[int, int], *, keep: bool = True
    ) -> None:
        self.rows, self.columns = (_pieces(len(geometries), step) for step in shape)
        self._distances = Distances(geometries, geometries)
        self._kept = {pair: self._compute(pair) for pair in self.pairs} if keep else {}

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Row and column of every tile, column by column."""
        return [
            (row, column)
            for column, across in enumerate(self.columns)
            for row, down in enumerate(self.rows)
            if down.stop > across.start
        ]

    def squared(self, pair: tuple[int, int]) -> Array:
        """Return the squared distances ``(S, T, C)`` of a tile."""
        return self._kept[pair] if self._kept else self._compute(pair)

    def _compute(self, pair: tuple[int, int]) -> Array:
        return self._distances.tile(self.rows[pair[0]], self.columns[pair[1]])

    def factors(self, kernel: RadialKernel, length_scale: float, *, keep: bool) -> TileFactors:
        """Return the radial factors at a length scale, made now if they are to be kept."""
        return TileFactors(self, kernel, length_scale, keep=keep)

    @staticmethod
    def memory(n_geometries: int, n_permutations: int) -> int:
        """Return the bytes of the distances where they are kept; their factors take twice that."""
        return 4 * n_permutations * n_geometries * (n_geometries + 1)


def _pieces(size: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, size)) for start in range(0, size, step)]


class TileFactors:
    """Radial factors of the tiles of a lower triangle; see :meth:`LowerTiles.factors`."""

    def __init__(
        self, tiles: LowerTiles, kernel: RadialKernel, length_scale: float, *, keep: bool
    ) -> None:
        self.tiles, self.kernel, self.length_scale = tiles, kernel, length_scale
        self._kept = {pair: self._compute(pair) for pair in tiles.pairs} if keep else {}

    def __getitem__(self, pair: tuple[int, int]) -> Factors:
        """Return the factors of a tile."""
        return self._kept[pair] if self._kept else self._compute(pair)

    def _compute(self, pair: tuple[int, int]) -> Factors:
        return radial_factors(self.kernel, self.length_scale, self.tiles.squared(pair))
