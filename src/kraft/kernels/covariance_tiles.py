"""Covariances of the labels of some geometries with those of others, tile by tile.

With ``Z = J U`` and ``δ = z_i - P_q z_j`` (`docs/theory.md`, eqs. 8, 7, 6 and 5; paper 002, eq. 5,
with the sign that makes it positive):

    ⟨F_i F_j⟩ = Σ_q Z_iᵀ [ -first I - second δ δᵀ ] P_q Z_j,
    ⟨F_i E_j⟩ = -Σ_q first Z_iᵀ δ,   ⟨E_i F_j⟩ = Σ_q first δᵀ P_q Z_j,   ⟨E_i E_j⟩ = Σ_q k.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kraft.core.typing import IntArray
from kraft.kernels.feature_classes import FeatureClass, feature_classes
from kraft.kernels.geometries import ReducedGeometries
from kraft.kernels.radial import RadialKernel

TILE_ELEMENTS = 400_000
"""Entries of the reduced Jacobians in one tile of rows; a few such arrays fit the cache."""

TILE_COLUMNS = 256
"""Columns of the matrix made at once: fewer would make the products slow."""


class TileRows(NamedTuple):
    """A few geometries as rows of the matrix."""

    values: Tensor  # (T, D)
    slopes: Tensor  # (T, r): Z_iᵀ z_i
    of_class: tuple[Tensor, ...]  # (T, r, D_c) each


class CovarianceTiles:
    """Makes blocks of covariances between geometries of the same molecule.

    The rows and columns of a block belong to geometries with bases of their own, which may differ
    in their numbers of displacements.

    Parameters
    ----------
    kernel
        The radial kernel.
    feature_permutations
        ``(S, D)`` action of the permutation group on the features, the identity first.
    dtype, device
        Of the covariances.
    """

    def __init__(
        self,
        kernel: RadialKernel,
        feature_permutations: IntArray,
        *,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self._kernel = kernel
        table = np.asarray(feature_permutations)
        self._permutations = torch.as_tensor(table, device=device)
        self._classes = [
            class_tensors(c, len(table), dtype, device) for c in feature_classes(table)
        ]

    def rows(self, geometries: ReducedGeometries, rows: slice) -> TileRows:
        """Return some of the geometries, ready to be rows of tiles."""
        values = geometries.features.values[rows]
        jacobians = geometries.reduced_jacobians(rows)
        return TileRows(
            values=values,
            slopes=torch.einsum("td,tdr->tr", values, jacobians),
            of_class=tuple(
                jacobians.index_select(1, c.features).transpose(1, 2).contiguous()
                for c in self._classes
            ),
        )

    def tile(
        self,
        rows: TileRows,
        geometries: ReducedGeometries,
        columns: slice,
        *,
        row_energies: bool,
        column_energies: bool,
    ) -> Tensor:
        """Return the covariances ``(T, b, C, b')`` of ``T`` geometries with ``C`` others.

        Parameters
        ----------
        rows
            The former, from :meth:`rows`.
        geometries, columns
            The latter.
        row_energies, column_energies
            Whether a geometry's energy follows its ``r`` forces, so that ``b = r + 1``.
        """
        values = geometries.features.values[columns]
        own = geometries.reduced_jacobians(columns)  # (C, D, r')
        moved_values = values[:, self._permutations]  # (C, S, D)
        squared = (rows.values[:, None, None] - moved_values).square_().sum(dim=3)  # (T, C, S)
        value = None
        if row_energies and column_energies:
            value = self._kernel.derivative(0, squared).sum(dim=2)
        minus_first, second = self._kernel.force_factors_(squared, torch.empty_like(squared))
        minus_first, second = minus_first / self._kernel.norm, second / self._kernel.norm

        forces, left, right = self._products(minus_first, rows, values, own)
        outer = (left * second.unsqueeze(3)).transpose(2, 3) @ right  # (T, C, r, r')
        forces -= outer.transpose(1, 2)
        if not (row_energies or column_energies):
            return forces
        n_rows, r, n_columns, other = forces.shape
        entries = forces.new_empty(n_rows, r + row_energies, n_columns, other + column_energies)
        entries[:, :r, :, :other] = forces
        if column_energies:
            entries[:, :r, :, other] = torch.einsum("tcs,tcsr->trc", minus_first, left)
        if row_energies:
            entries[:, r, :, :other] = -torch.einsum("tcs,tcsr->tcr", minus_first, right)
        if value is not None:
            entries[:, r, :, other] = value
        return entries

    def _products(
        self, minus_first: Tensor, rows: TileRows, values: Tensor, own: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the three products of Jacobians, summed over the classes of features.

        They are ``-Σ_q first Z_iᵀ P_q Z_j`` ``(T, r, C, r')``, ``Z_iᵀ δ`` ``(T, C, S, r)`` and
        ``δᵀ P_q Z_j`` ``(T, C, S, r')``; for the last two, ``δ = z_i - P_q z_j`` is taken apart.
        """
        n_rows, n_columns, n_permutations = minus_first.shape
        r, other = rows.slopes.shape[1], own.shape[2]
        forces = minus_first.new_zeros(n_rows, r, n_columns, other)
        shape = (n_rows, n_columns, n_permutations)
        shared = torch.einsum("cd,cdr->cr", values, own).neg_()
        # copies also where nothing is repeated: they are changed below, the rows must not be
        left, right = minus_first.new_empty(*shape, r), minus_first.new_empty(*shape, other)
        left.copy_(rows.slopes[:, None, None])
        right.copy_(shared[None, :, None])
        for c, of_rows in zip(self._classes, rows.of_class, strict=True):
            flat = of_rows.flatten(0, 1)  # (T r, D_c)
            moved = own[:, c.actions]  # (C, S_c, D_c, r')
            wide = moved.permute(2, 0, 1, 3).reshape(len(c.features), -1)  # (D_c, C S_c r')
            of_values = rows.values.index_select(1, c.features) @ wide
            right += c.expand(of_values.view(n_rows, n_columns, c.n_actions, other))
            of_slopes = flat @ values[:, c.actions].flatten(0, 1).T  # (T r, C S_c)
            of_slopes = of_slopes.view(n_rows, r, n_columns, c.n_actions).permute(0, 2, 3, 1)
            left -= c.expand(of_slopes)
            if c.n_actions == 1:
                part = (flat @ wide).view(n_rows, r, n_columns, other)
                forces.addcmul_(part, minus_first.sum(dim=2)[:, None, :, None])
            else:
                weights = (minus_first @ c.members).transpose(0, 1)  # (C, T, S_c)
                mixed = weights @ moved.flatten(2, 3)  # (C, T, D_c r')
                mixed = mixed.view(n_columns, n_rows, -1, other).permute(1, 2, 0, 3)
                mixed = mixed.reshape(n_rows, -1, n_columns * other)  # (T, D_c, C r')
                forces.flatten(2, 3).baddbmm_(of_rows, mixed)
        return forces, left, right


class ClassTensors(NamedTuple):
    """A class of features, as tensors."""

    n_actions: int
    features: Tensor  # (D_c,)
    actions: Tensor  # (S_c, D_c)
    members: Tensor  # (S, S_c) 1 where a permutation has this action
    action_of_permutation: Tensor  # (S,)

    def expand(self, products: Tensor) -> Tensor:
        """Repeat ``(T, C, S_c, r)``, computed once for each action, for every permutation."""
        if self.n_actions in (1, len(self.members)):
            return products
        return products.index_select(2, self.action_of_permutation)


def class_tensors(
    c: FeatureClass, n_permutations: int, dtype: torch.dtype, device: torch.device
) -> ClassTensors:
    """Return a class with everything on a device."""
    members = torch.zeros(n_permutations, c.n_actions, dtype=dtype, device=device)
    members[torch.arange(len(members)), torch.as_tensor(c.action_of_permutation)] = 1.0
    return ClassTensors(
        c.n_actions,
        torch.as_tensor(c.features, device=device),
        torch.as_tensor(c.actions, device=device),
        members,
        torch.as_tensor(c.action_of_permutation, device=device),
    )
