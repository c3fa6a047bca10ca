"""The kernel matrix of a set of training geometries: assembled by blocks, or only applied.

Rows come geometry by geometry: ``r`` force labels in the basis of the geometry's internal motions,
then, with energy labels, one energy. With ``Z = J U`` and ``δ = z_i - P_q z_j``
(`docs/theory.md`, eqs. 8, 7, 6 and 5; paper 002, eq. 5, with the sign that makes it positive):

    ⟨F_i F_j⟩ = Σ_q Z_iᵀ [ -first I - second δ δᵀ ] P_q Z_j,
    ⟨F_i E_j⟩ = -Σ_q first Z_iᵀ δ,   ⟨E_i F_j⟩ = Σ_q first δᵀ P_q Z_j,   ⟨E_i E_j⟩ = Σ_q k.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kraft.core.progress import Progress, silent
from kraft.core.typing import IntArray
from kraft.kernels.columns import KernelColumns
from kraft.kernels.contraction import SymmetricContraction
from kraft.kernels.feature_classes import FeatureClass, feature_classes
from kraft.kernels.geometries import ReducedGeometries
from kraft.kernels.product import KernelProduct
from kraft.kernels.radial import RadialKernel
from kraft.linalg.arrays import Array, native
from kraft.linalg.panels import LowerPanels

TILE_ELEMENTS = 400_000
"""Entries of the reduced Jacobians in one tile of an assembly; a few such arrays fit the cache."""

TILE_COLUMNS = 256
"""Columns of the matrix assembled at once: fewer would make the products slow."""


class KernelOperator:
    """Symmetric force kernel among training geometries, a :class:`SymmetricOperator`.

    Parameters
    ----------
    kernel
        The radial kernel.
    geometries
        The training geometries.
    feature_permutations
        ``(S, D)`` action of the permutation group on the features, the identity first.
    energy_labels
        Whether each geometry has an energy label beside its forces.
    """

    def __init__(
        self,
        kernel: RadialKernel,
        geometries: ReducedGeometries,
        feature_permutations: IntArray,
        *,
        energy_labels: bool = False,
    ) -> None:
        self.kernel = kernel
        self.geometries = geometries
        self.energy_labels = energy_labels
        self._table = np.asarray(feature_permutations)
        self._permutations = torch.as_tensor(self._table, device=geometries.basis.device)
        self._classes = [self._class_tensors(c) for c in feature_classes(self._table)]

    def _class_tensors(self, c: FeatureClass) -> _Class:
        members = torch.zeros(len(self._table), c.n_actions, dtype=self.dtype, device=self.device)
        members[torch.arange(len(members)), torch.as_tensor(c.action_of_permutation)] = 1.0
        return _Class(
            c.n_actions,
            torch.as_tensor(c.features, device=self.device),
            torch.as_tensor(c.actions, device=self.device),
            members,
            torch.as_tensor(c.action_of_permutation, device=self.device),
        )

    @property
    def block_size(self) -> int:
        """Labels of one geometry."""
        return self.geometries.n_motions + int(self.energy_labels)

    @property
    def size(self) -> int:
        """Number of labels."""
        return len(self.geometries) * self.block_size

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the entries."""
        return self.geometries.basis.dtype

    @property
    def device(self) -> torch.device:
        """Where the entries live."""
        return self.geometries.basis.device

    def split(self, vector: Tensor) -> tuple[Tensor, Tensor | None]:
        """Split labels or coefficients into forces ``(M, N, 3)`` and energies ``(M,)`` or None."""
        blocks = vector.view(len(self.geometries), self.block_size)
        forces = self.geometries.expand(blocks[:, : self.geometries.n_motions])
        return forces, blocks[:, -1] if self.energy_labels else None

    def join(self, forces: Tensor, energies: Tensor | None) -> Tensor:
        """Stack forces ``(M, N, 3)`` and energies ``(M,)`` into one vector of labels."""
        reduced = self.geometries.reduce(forces)
        if self.energy_labels:
            if energies is None:
                raise ValueError("energy labels are on, but no energies were given")
            reduced = torch.cat([reduced, energies[:, None]], dim=1)
        return reduced.reshape(-1)

    def expansion(self, coefficients: Tensor) -> SymmetricContraction:
        """Return the kernel expansion with these coefficients, ready for evaluation."""
        forces, energies = self.split(coefficients)
        descriptor, features = self.geometries.descriptor, self.geometries.features
        return SymmetricContraction(
            self.kernel,
            features.values,
            descriptor.jacobian_product(features, forces),
            self._table,
            energies,
        )

    def matmul(self, vectors: Tensor) -> Tensor:
        """Return the product with a coefficient vector ``(size,)``, matrix-free."""
        contracted = self.expansion(vectors)(self.geometries.features.values)
        forces = self.geometries.descriptor.jacobian_transpose_product(
            self.geometries.features, contracted.gradients
        )
        return self.join(forces, contracted.energies if self.energy_labels else None)

    def assemble(self, panels: LowerPanels, progress: Progress = silent) -> None:
        """Write the lower triangle into panels made for this size and block size."""
        n_geometries, block, n_motions = len(self.geometries), self.block_size, self._n_motions
        entries = self.geometries.descriptor.n_features * n_motions
        tile = max(1, min(128, TILE_ELEMENTS // entries))
        width = max(1, TILE_COLUMNS // n_motions)
        for start in range(0, n_geometries, tile):
            progress("assembling", start * start, n_geometries**2)
            stop = min(start + tile, n_geometries)
            rows = self._rows(slice(start, stop))
            for first in range(0, stop, width):
                columns = slice(first, min(first + width, stop))
                panels.set_block(start * block, first * block, self._tile(rows, columns))
        progress("assembling", n_geometries**2, n_geometries**2)

    def to_dense(self) -> Tensor:
        """Return the full matrix, for small systems."""
        panels = LowerPanels(
            self.size, block_size=self.block_size, dtype=self.dtype, device=self.device
        )
        self.assemble(panels)
        return panels.to_dense()

    def product(self, *, max_memory: int | None = None) -> KernelProduct:
        """Prepare for many products, keeping at most ``max_memory`` bytes of radial factors."""
        return KernelProduct(
            self.kernel,
            self.geometries,
            self._table,
            energy_labels=self.energy_labels,
            max_memory=max_memory,
        )

    def diagonal(self) -> Array:
        """Return the diagonal ``(size,)`` as a native array."""
        return self._columns().diagonal()

    def columns(self, indices: IntArray) -> Array:
        """Return columns as the rows of a native array ``(k, size)``, in linear time.

        Scratch memory does not grow with the number of columns or of geometries.
        """
        return self._columns().columns(np.asarray(indices, dtype=np.int64))

    def principal(self, blocks: IntArray) -> Array:
        """Return the principal submatrix of some geometries as a native array."""
        return native(self.subset(blocks).to_dense())

    def subset(self, chosen: IntArray) -> KernelOperator:
        """Return the operator of some of the geometries."""
        some = self.geometries.subset(np.asarray(chosen, dtype=np.int64))
        return KernelOperator(self.kernel, some, self._table, energy_labels=self.energy_labels)

    def _columns(self) -> KernelColumns:
        return KernelColumns(
            self.kernel, self.geometries, self._table, energy_labels=self.energy_labels
        )

    @property
    def _n_motions(self) -> int:
        return self.geometries.n_motions

    def _rows(self, rows: slice) -> _Rows:
        values = self.geometries.features.values[rows]
        jacobians = self.geometries.reduced_jacobians(rows)
        return _Rows(
            values=values,
            slopes=torch.einsum("td,tdr->tr", values, jacobians),
            of_class=tuple(
                jacobians.index_select(1, c.features).transpose(1, 2).contiguous()
                for c in self._classes
            ),
        )

    def _tile(self, rows: _Rows, columns: slice) -> Tensor:
        """Return the entries ``(T b, C b)`` of ``T`` geometries against ``C`` others."""
        values = self.geometries.features.values[columns]
        own = self.geometries.reduced_jacobians(columns)  # (C, D, r)
        moved_values = values[:, self._permutations]  # (C, S, D)
        squared = (rows.values[:, None, None] - moved_values).square_().sum(dim=3)  # (T, C, S)
        value = self.kernel.derivative(0, squared) if self.energy_labels else None
        minus_first, second = self.kernel.force_factors_(squared, torch.empty_like(squared))
        minus_first, second = minus_first / self.kernel.norm, second / self.kernel.norm

        forces, left, right = self._products(minus_first, rows, values, own)
        outer = (left * second.unsqueeze(3)).transpose(2, 3) @ right  # (T, C, r, r)
        forces -= outer.transpose(1, 2)
        n_rows, n_columns, block = len(rows.values), len(values), self.block_size
        if value is None:
            return forces.view(n_rows * block, n_columns * block)
        entries = forces.new_empty(n_rows, block, n_columns, block)
        entries[:, :-1, :, :-1] = forces
        entries[:, :-1, :, -1] = torch.einsum("tcs,tcsr->trc", minus_first, left)
        entries[:, -1, :, :-1] = -torch.einsum("tcs,tcsr->tcr", minus_first, right)
        entries[:, -1, :, -1] = value.sum(dim=2)
        return entries.view(n_rows * block, n_columns * block)

    def _products(
        self, minus_first: Tensor, rows: _Rows, values: Tensor, own: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the three products of Jacobians, summed over the classes of features.

        They are ``-Σ_q first Z_iᵀ P_q Z_j`` ``(T, r, C, r)``, ``Z_iᵀ δ`` and ``δᵀ P_q Z_j``, both
        ``(T, C, S, r)``; for the last two, ``δ = z_i - P_q z_j`` is taken apart.
        """
        n_rows, n_columns, n_permutations = minus_first.shape
        r = self._n_motions
        forces = minus_first.new_zeros(n_rows, r, n_columns, r)
        shape = (n_rows, n_columns, n_permutations, r)
        left = rows.slopes[:, None, None].expand(shape).contiguous()
        right = torch.einsum("cd,cdr->cr", values, own).neg_()[None, :, None]
        right = right.expand(shape).contiguous()
        for c, of_rows in zip(self._classes, rows.of_class, strict=True):
            flat = of_rows.flatten(0, 1)  # (T r, D_c)
            moved = own[:, c.actions]  # (C, S_c, D_c, r)
            wide = moved.permute(2, 0, 1, 3).reshape(len(c.features), -1)  # (D_c, C S_c r)
            of_values = rows.values.index_select(1, c.features) @ wide
            right += c.expand(of_values.view(n_rows, n_columns, c.n_actions, r))
            of_slopes = flat @ values[:, c.actions].flatten(0, 1).T  # (T r, C S_c)
            of_slopes = of_slopes.view(n_rows, r, n_columns, c.n_actions).permute(0, 2, 3, 1)
            left -= c.expand(of_slopes)
            if c.n_actions == 1:
                part = (flat @ wide).view(n_rows, r, n_columns, r)
                forces.addcmul_(part, minus_first.sum(dim=2)[:, None, :, None])
            else:
                weights = (minus_first @ c.members).transpose(0, 1)  # (C, T, S_c)
                mixed = weights @ moved.flatten(2, 3)  # (C, T, D_c r)
                mixed = mixed.view(n_columns, n_rows, -1, r).permute(1, 2, 0, 3)  # (T, D_c, C, r)
                forces.flatten(2, 3).baddbmm_(of_rows, mixed.reshape(n_rows, -1, n_columns * r))
        return forces, left, right


class _Class(NamedTuple):
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


class _Rows(NamedTuple):
    """A few geometries as rows of the matrix."""

    values: Tensor  # (T, D)
    slopes: Tensor  # (T, r): Z_iᵀ z_i
    of_class: tuple[Tensor, ...]  # (T, r, D_c) each
