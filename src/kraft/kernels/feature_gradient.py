"""How a sum over kernel entries changes with the kernel features of the geometries.

With ``G`` a matrix of numbers, one for each pair of labels, these are the derivatives of
``Σ_ij ⟨G_ij, K_ij⟩`` by the features and reduced Jacobians of the rows: what gradient descent on
anything that makes features needs, whatever is minimized (`docs/theory.md`, eqs. 22 and 23). They
cost a few times as much as assembling the matrix.
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


class FeatureGradient(NamedTuple):
    """Derivatives by what a kernel sees of ``M`` geometries.

    Attributes
    ----------
    values
        ``(M, D)``: by the kernel features ``z``.
    jacobians
        ``(M, D, r)``: by the reduced Jacobians ``Z``.
    """

    values: Tensor
    jacobians: Tensor


class _Columns(NamedTuple):
    """A few geometries as columns."""

    values: Tensor  # (C, S, D): P_q z_j
    jacobians: Tensor  # (C, S, D, r'): P_q Z_j


def feature_gradient(
    kernel: RadialKernel,
    feature_permutations: IntArray,
    rows: ReducedGeometries,
    columns: ReducedGeometries,
    cofactors: Cofactors,
) -> FeatureGradient:
    """Return ``Σ_ij ⟨G_ij, ∂K_ij/∂z_i⟩`` and the same by ``Z_i``, for force labels.

    The group holds the inverse of every permutation, so ``K_ji = K_ijᵀ``: derivatives by the
    features of the columns are those of the transposed problem, and where rows and columns are the
    same and ``G`` is symmetric, they are as large once more.

    Parameters
    ----------
    kernel, feature_permutations
        As for :class:`kraft.kernels.KernelOperator`.
    rows, columns
        The geometries whose covariances are weighted.
    cofactors
        ``G``, tile by tile.
    """
    actions = torch.as_tensor(np.asarray(feature_permutations), device=rows.basis.device)
    by_values = torch.zeros_like(rows.features.values)
    by_jacobians = by_values.new_zeros(*by_values.shape, rows.n_motions)
    jacobians = rows.reduced_jacobians(slice(None))
    others = jacobians if columns is rows else columns.reduced_jacobians(slice(None))
    height, width = _tile_shape(len(actions), rows, columns)
    for right in _pieces(len(columns), width):
        own = _Columns(columns.features.values[right][:, actions], others[right][:, actions])
        for top in _pieces(len(rows), height):
            some = rows.features.values[top], jacobians[top]
            found = _tile(kernel, *some, own, cofactors(top, right))
            by_values[top] += found.values
            by_jacobians[top] += found.jacobians
    return FeatureGradient(by_values, by_jacobians)


def _tile(
    kernel: RadialKernel, z: Tensor, jacobians: Tensor, own: _Columns, weights: Tensor
) -> FeatureGradient:
    """Return the contribution of one tile (`docs/theory.md`, eq. 23)."""
    n_columns, n_permutations, n_features, other = own.jacobians.shape
    n_rows, r = len(z), jacobians.shape[2]
    delta = z[:, None, None] - own.values  # (T, C, S, D)
    squared = delta.square().sum(dim=3)  # (T, C, S)
    minus_first = -kernel.derivative(1, squared)
    second, third = kernel.derivative(2, squared), kernel.derivative(3, squared)

    flat = own.jacobians.flatten(0, 1)  # (C S, D, r')
    left = delta.flatten(1, 2) @ jacobians  # (T, C S, r): δᵀ Z_i
    right = delta.permute(1, 2, 0, 3).flatten(0, 1) @ flat  # (C S, T, r'): δᵀ P_q Z_j
    right = right.view(n_columns, n_permutations, n_rows, other).permute(2, 0, 1, 3)
    mixed = (jacobians @ weights.flatten(2)).view(n_rows, n_features, n_columns, other)
    mixed = mixed.permute(2, 0, 1, 3).contiguous()  # (C, T, D, r'): Z_i G_ij

    by_column = own.jacobians.flatten(2)  # (C, S, D r')
    traces = mixed.flatten(2) @ by_column.transpose(1, 2)  # (C, T, S): tr(G_ijᵀ Z_iᵀ P_q Z_j)
    response = minus_first.transpose(0, 1) @ by_column  # (C, T, D r')
    response = response.view(n_columns, n_rows, n_features, other)
    outer = (second.unsqueeze(3) * delta).transpose(2, 3) @ right  # (T, C, D, r')
    response -= outer.transpose(0, 1)
    responses = response.permute(1, 2, 0, 3).reshape(n_rows, n_features, -1)
    by_jacobians = responses @ weights.flatten(2).transpose(1, 2)  # (T, D, r)

    left = left.view(n_rows, n_columns, n_permutations, r)
    turned = left @ weights.transpose(1, 2)  # (T, C, S, r'): δᵀ Z_i G_ij
    radial = second * traces.transpose(0, 1) + third * (turned * right).sum(dim=3)
    by_values = radial.view(n_rows, 1, -1) @ delta.flatten(1, 2)  # (T, 1, D)
    along = (second.unsqueeze(3) * right).sum(dim=2)  # (T, C, r')
    by_values[:, 0] += torch.einsum("ctdr,tcr->td", mixed, along)
    turned *= second.unsqueeze(3)
    by_values[:, 0] += turned.flatten(1) @ flat.transpose(1, 2).reshape(-1, n_features)
    return FeatureGradient(-by_values[:, 0], by_jacobians)


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
