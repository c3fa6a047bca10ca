"""The kernel matrix of a set of training geometries: assembled by blocks, or only applied.

Rows come geometry by geometry: ``r`` force labels in the basis of the geometry's internal motions,
then, with energy labels, one energy; :mod:`kraft.kernels.covariance_tiles` has the covariances.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from kraft.core.progress import Progress, silent
from kraft.core.typing import IntArray
from kraft.kernels.atom_pairs import PairBlocks, by_pairs
from kraft.kernels.columns import KernelColumns
from kraft.kernels.contraction import SymmetricContraction
from kraft.kernels.covariance_tiles import TILE_COLUMNS, TILE_ELEMENTS, CovarianceTiles
from kraft.kernels.geometries import ReducedGeometries
from kraft.kernels.product import KernelProduct
from kraft.kernels.radial import RadialKernel
from kraft.linalg.arrays import Array, native
from kraft.linalg.panels import LowerPanels


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
        self.feature_permutations = np.asarray(feature_permutations)
        self._tiles = CovarianceTiles(
            kernel, self.feature_permutations, dtype=self.dtype, device=self.device
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
        return SymmetricContraction(
            self.kernel,
            self.geometries.features.values,
            self.geometries.moved(forces),
            self.feature_permutations,
            energies,
        )

    def matmul(self, vectors: Tensor) -> Tensor:
        """Return the product with a coefficient vector ``(size,)``, matrix-free."""
        contracted = self.expansion(vectors)(self.geometries.features.values)
        forces = self.geometries.pulled(contracted.gradients)
        return self.join(forces, contracted.energies if self.energy_labels else None)

    def assemble(self, panels: LowerPanels, progress: Progress = silent) -> None:
        """Write the lower triangle into panels made for this size and block size."""
        n_geometries, block = len(self.geometries), self.block_size
        n_motions, energies = self.geometries.n_motions, self.energy_labels
        tile = max(
            1, min(128, TILE_ELEMENTS // (self.geometries.descriptor.n_features * n_motions))
        )
        width = max(1, TILE_COLUMNS // n_motions)
        for start in range(0, n_geometries, tile):
            progress("assembling", start * start, n_geometries**2)
            stop = min(start + tile, n_geometries)
            rows = self._tiles.rows(self.geometries, slice(start, stop))
            for first in range(0, stop, width):
                columns = slice(first, min(first + width, stop))
                entries = self._tiles.tile(
                    rows,
                    self.geometries,
                    columns,
                    row_energies=energies,
                    column_energies=energies,
                )
                entries = entries.reshape((stop - start) * block, -1)
                panels.set_block(start * block, first * block, entries)
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
            self.feature_permutations,
            energy_labels=self.energy_labels,
            max_memory=max_memory,
        )

    def diagonal(self) -> Array:
        """Return the diagonal ``(size,)`` as a native array."""
        if by_pairs(self.geometries):
            return self._pair_blocks().diagonal()
        return self._columns().diagonal()

    def columns(self, indices: IntArray) -> Array:
        """Return columns as the rows of a native array ``(k, size)``, in linear time.

        Scratch memory does not grow with the number of columns or of geometries.
        """
        return self._columns().columns(np.asarray(indices, dtype=np.int64))

    def principal(self, blocks: IntArray) -> Array:
        """Return the principal submatrix of some geometries as a native array."""
        if by_pairs(self.geometries):
            return self._pair_blocks().principal(np.asarray(blocks, dtype=np.int64))
        return native(self.subset(blocks).to_dense())

    def subset(self, chosen: IntArray) -> KernelOperator:
        """Return the operator of some of the geometries."""
        some = self.geometries.subset(np.asarray(chosen, dtype=np.int64))
        return KernelOperator(
            self.kernel, some, self.feature_permutations, energy_labels=self.energy_labels
        )

    def _pair_blocks(self) -> PairBlocks:
        return PairBlocks(
            self.kernel,
            self.geometries,
            self.feature_permutations,
            energy_labels=self.energy_labels,
        )

    def _columns(self) -> KernelColumns:
        return KernelColumns(
            self.kernel,
            self.geometries,
            self.feature_permutations,
            energy_labels=self.energy_labels,
        )
