"""How a sum over kernel entries changes with the kernel features of the geometries.

With ``G`` a matrix of numbers, one for each pair of labels, these are the derivatives of
``Σ_ij ⟨G_ij, K_ij⟩`` by the features and reduced Jacobians of the rows: what gradient descent on
anything that makes features needs, whatever is minimized (`docs/theory.md`, eqs. 22 and 23). They
cost a few times as much as assembling the matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from kraft.core.typing import IntArray
from kraft.kernels.covariance_tiles import ClassTensors, class_tensors
from kraft.kernels.feature_classes import feature_classes
from kraft.kernels.geometries import ReducedGeometries
from kraft.kernels.radial import RadialKernel

TILE_ELEMENTS = 300_000
"""Entries of the largest arrays of one tile: a few of them should stay in the cache."""

MIN_TILE_ROWS, MAX_TILE_ROWS = 16, 64
"""Geometries a tile is high: the permuted columns are read once for all of them."""

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
    """A few geometries as columns: their features of a class, for every action ``a`` on these."""

    values: Tensor  # (C, S_c, D_c): P_a z_j
    jacobians: Tensor  # (C, S_c, D_c, r'): P_a Z_j
    transposed: Tensor  # (C S_c r', D_c): the same, the features last


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
    basis = rows.basis
    classes = [
        class_tensors(c, len(feature_permutations), basis.dtype, basis.device)
        for c in feature_classes(feature_permutations)
    ]
    by_values = torch.zeros_like(rows.features.values)
    by_jacobians = by_values.new_zeros(*by_values.shape, rows.n_motions)
    jacobians = rows.reduced_jacobians(slice(None))
    others = jacobians if columns is rows else columns.reduced_jacobians(slice(None))
    height, width = _tile_shape(classes, rows, columns)
    for right in _pieces(len(columns), width):
        own = [_columns(c, columns.features.values[right], others[right]) for c in classes]
        for top in _pieces(len(rows), height):
            some = rows.features.values[top], jacobians[top]
            found = _tile(kernel, *some, classes, own, cofactors(top, right))
            by_values[top] += found.values
            by_jacobians[top] += found.jacobians
    return FeatureGradient(by_values, by_jacobians)


def _expand(c: ClassTensors, of_actions: Tensor) -> Tensor:
    """Return ``(T, C, S_c, ...)`` for every permutation, ``(T, C, S, ...)``, in full.

    :meth:`ClassTensors.expand` leaves what broadcasts, which sums over permutations cannot use.
    """
    if c.n_actions == len(c.members):
        return of_actions
    return of_actions.index_select(2, c.action_of_permutation)


def _collect(c: ClassTensors, of_permutations: Tensor) -> Tensor:
    """Return ``(T, C, S, r)`` summed over the permutations of each action."""
    if c.n_actions == len(c.members):
        return of_permutations
    return c.members.T @ of_permutations


def _columns(c: ClassTensors, values: Tensor, jacobians: Tensor) -> _Columns:
    moved = jacobians[:, c.actions]
    transposed = moved.transpose(2, 3).reshape(-1, moved.shape[2])
    return _Columns(values[:, c.actions], moved, transposed)


def _tile(
    kernel: RadialKernel,
    z: Tensor,
    jacobians: Tensor,
    classes: list[ClassTensors],
    columns: list[_Columns],
    weights: Tensor,
) -> FeatureGradient:
    """Return the contribution of one tile (`docs/theory.md`, eq. 23)."""
    n_rows, n_features = z.shape
    n_columns, other = len(columns[0].values), columns[0].jacobians.shape[3]
    mixed = (jacobians @ weights.flatten(2)).view(n_rows, n_features, n_columns, other)
    mixed = mixed.permute(2, 0, 1, 3).contiguous()  # (C, T, D, r'): Z_i G_ij
    deltas = [
        z[:, None, None, c.features] - o.values for c, o in zip(classes, columns, strict=True)
    ]
    squared, left, right, traces = (
        sum(parts)
        for parts in zip(
            *(
                map(partial(_expand, c), _products(jacobians, mixed, c, o, delta))
                for c, o, delta in zip(classes, columns, deltas, strict=True)
            ),
            strict=True,
        )
    )
    minus_first = -kernel.derivative(1, squared)
    second, third = kernel.derivative(2, squared), kernel.derivative(3, squared)
    turned = left @ weights.transpose(1, 2)  # (T, C, S, r'): δᵀ Z_i G_ij
    radial = second * traces + third * (turned * right).sum(dim=3)
    right *= second.unsqueeze(3)
    turned *= second.unsqueeze(3)

    by_values = torch.einsum("ctdr,tcr->td", mixed, right.sum(dim=2))
    response = torch.empty_like(mixed)
    for c, own, delta in zip(classes, columns, deltas, strict=True):
        firsts, radials = (_collect(c, x.unsqueeze(3)).squeeze(3) for x in (minus_first, radial))
        of_class = firsts.transpose(0, 1) @ own.jacobians.flatten(2)  # (C, T, D_c r')
        of_class = of_class.view(n_columns, n_rows, -1, other)
        of_class -= (delta.transpose(2, 3) @ _collect(c, right)).transpose(0, 1)
        response[:, :, c.features] = of_class
        by_class = (radials.reshape(n_rows, 1, -1) @ delta.flatten(1, 2))[:, 0]
        by_class += _collect(c, turned).flatten(1) @ own.transposed
        by_values[:, c.features] += by_class
    responses = response.permute(1, 2, 0, 3).reshape(n_rows, n_features, -1)
    by_jacobians = responses @ weights.flatten(2).transpose(1, 2)  # (T, D, r)
    return FeatureGradient(-by_values, by_jacobians)


def _products(
    jacobians: Tensor, mixed: Tensor, c: ClassTensors, own: _Columns, delta: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what a class adds for each of its actions, ``(T, C, S_c)`` and ``(T, C, S_c, r)``.

    To ``u²``, to ``δᵀ Z_i``, to ``δᵀ P_q Z_j`` and to ``tr(G_ijᵀ Z_iᵀ P_q Z_j)``.
    """
    n_rows, n_columns, n_actions, _ = delta.shape
    left = delta.flatten(1, 2) @ jacobians[:, c.features]
    right = delta.permute(1, 2, 0, 3).flatten(0, 1) @ own.jacobians.flatten(0, 1)  # (C S_c, T, r')
    right = right.view(n_columns, n_actions, n_rows, -1).permute(2, 0, 1, 3)
    traces = mixed[:, :, c.features].flatten(2) @ own.jacobians.flatten(2).transpose(1, 2)
    return (
        delta.square().sum(dim=3),
        left.view(n_rows, n_columns, n_actions, -1),
        right,
        traces.transpose(0, 1),
    )


def _tile_shape(
    classes: list[ClassTensors], rows: ReducedGeometries, columns: ReducedGeometries
) -> tuple[int, int]:
    """Return how many geometries a tile is high and wide."""
    n_features, widest = rows.descriptor.n_features, max(rows.n_motions, columns.n_motions)
    moved = max(sum(c.actions.numel() for c in classes), n_features * widest)
    pairs = max(1, TILE_ELEMENTS // moved)
    height = min(MAX_TILE_ROWS, max(MIN_TILE_ROWS, int((4 * pairs) ** 0.5)))
    return height, max(1, pairs // height)


def _pieces(size: int, step: int) -> Iterator[slice]:
    for start in range(0, size, step):
        yield slice(start, min(start + step, size))
