"""How a sum over kernel entries changes with the weights of the features.

With ``G`` a matrix of numbers, one for each pair of labels, this is ``g_d = Σ_ij ⟨G_ij, ∂K_ij/∂ln
w_d⟩`` for all features at once: what gradient descent on the weights needs, whatever is minimized
(`docs/theory.md`, eqs. 22 and 23). It costs about as much as assembling the matrix a few times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from kraft.core.typing import IntArray
from kraft.kernels.geometries import ReducedGeometries
from kraft.kernels.radial import RadialKernel

TILE_ELEMENTS = 300_000
"""Entries of the largest arrays of one tile: a few of them should stay in the cache."""

MAX_TILE_ROWS = 64
"""Geometries a tile is high at most."""

Cofactors: TypeAlias = Callable[[slice, slice], Tensor]
"""Returns ``G`` for some rows and columns, ``(T, r, C, r')``."""


class _Columns(NamedTuple):
    """A few geometries as columns."""

    values: Tensor  # (C, S, D): P_q z_j
    jacobians: Tensor  # (C, S, D, r'): P_q Z_j


def weight_gradient(
    kernel: RadialKernel,
    feature_permutations: IntArray,
    rows: ReducedGeometries,
    columns: ReducedGeometries,
    cofactors: Cofactors,
    *,
    symmetric: bool = False,
) -> Tensor:
    """Return ``Σ_ij ⟨G_ij, ∂K_ij/∂ln w_d⟩``, ``(D,)``, for force labels.

    A weight acts on feature ``d`` of the row's geometry and on whatever feature a permutation
    brings there, so only sums over orbits are derivatives that mean anything.

    Parameters
    ----------
    kernel, feature_permutations
        As for :class:`kraft.kernels.KernelOperator`.
    rows, columns
        The geometries whose covariances are weighted; scaled features.
    cofactors
        ``G``, tile by tile.
    symmetric
        Whether rows and columns are the same and ``G`` is symmetric: half the tiles are enough.
    """
    actions = torch.as_tensor(np.asarray(feature_permutations), device=rows.basis.device)
    result = rows.features.values.new_zeros(rows.descriptor.n_features)
    height, width = _tile_shape(len(actions), rows, columns)
    for right in _pieces(len(columns), width):
        values = columns.features.values[right][:, actions]
        own = _Columns(values, columns.reduced_jacobians(right)[:, actions])
        for top in _pieces(len(rows), height):
            if symmetric and top.stop <= right.start:
                continue
            weights = cofactors(top, right)
            if symmetric:
                weights = _doubled_below(weights, top, right)
            result += _tile(kernel, rows, top, own, weights)
    return result


def _tile(
    kernel: RadialKernel, geometries: ReducedGeometries, top: slice, own: _Columns, weights: Tensor
) -> Tensor:
    """Return the contribution of one tile (`docs/theory.md`, eq. 23)."""
    z, jacobians = geometries.features.values[top], geometries.reduced_jacobians(top)
    n_columns, n_permutations, n_features, other = own.jacobians.shape
    n_rows, r = len(z), jacobians.shape[2]
    delta = z[:, None, None] - own.values  # (T, C, S, D)
    squares = delta.square()
    squared = squares.sum(dim=3)  # (T, C, S)
    minus_first = -kernel.derivative(1, squared)
    second, third = kernel.derivative(2, squared), kernel.derivative(3, squared)

    flat = own.jacobians.flatten(0, 1)  # (C S, D, r')
    left = delta.flatten(1, 2) @ jacobians  # (T, C S, r): Z_iᵀ δ
    right = delta.permute(1, 2, 0, 3).flatten(0, 1) @ flat  # (C S, T, r'): δᵀ P_q Z_j
    right = right.view(n_columns, n_permutations, n_rows, other).permute(2, 0, 1, 3)
    mixed = (jacobians @ weights.flatten(2)).view(n_rows, n_features, n_columns, other)
    mixed = mixed.permute(2, 0, 1, 3).contiguous()  # (C, T, D, r'): Z_i G_ij

    by_column = own.jacobians.flatten(2)  # (C, S, D r')
    traces = mixed.flatten(2) @ by_column.transpose(1, 2)  # (C, T, S): tr(G_ijᵀ Z_iᵀ P_q Z_j)
    response = minus_first.transpose(0, 1) @ by_column  # (C, T, D r')
    response = response.view(n_columns, n_rows, n_features, other)
    pulled = second.unsqueeze(3) * delta  # (T, C, S, D)
    outer = pulled.transpose(2, 3) @ right  # (T, C, D, r')
    response -= outer.transpose(0, 1)
    result = 2.0 * (mixed * response).sum(dim=(0, 1, 3))

    left = left.view(n_rows, n_columns, n_permutations, r)
    turned = left @ weights.transpose(1, 2)  # (T, C, S, r'): δᵀ Z_i G_ij
    of_columns = pulled.permute(1, 2, 3, 0).flatten(0, 1) @ (
        turned.permute(1, 2, 0, 3).flatten(0, 1)
    )  # (C S, D, r')
    result -= 2.0 * (flat * of_columns).sum(dim=(0, 2))
    radial = second * traces.transpose(0, 1) + third * (turned * right).sum(dim=3)
    result -= radial.reshape(-1) @ squares.flatten(0, 2)
    return result


def _doubled_below(weights: Tensor, top: slice, right: slice) -> Tensor:
    """Return ``G`` with the blocks below the diagonal twice and those above it not at all."""
    row = torch.arange(top.start, top.stop, device=weights.device)[:, None]
    column = torch.arange(right.start, right.stop, device=weights.device)
    factors = 2.0 * (row > column) + 1.0 * (row == column)
    return weights * factors.to(weights.dtype)[:, None, :, None]


def _tile_shape(
    n_permutations: int, rows: ReducedGeometries, columns: ReducedGeometries
) -> tuple[int, int]:
    """Return how many geometries a tile is high and wide."""
    n_features, widest = rows.descriptor.n_features, max(rows.n_motions, columns.n_motions)
    pairs = max(1, TILE_ELEMENTS // (n_features * max(n_permutations, widest)))
    height = min(MAX_TILE_ROWS, max(1, int((4 * pairs) ** 0.5)))
    return height, max(1, pairs // height)


def _pieces(size: int, step: int) -> Iterator[slice]:
    for start in range(0, size, step):
        yield slice(start, min(start + step, size))
