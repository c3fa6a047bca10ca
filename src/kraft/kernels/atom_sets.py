"""Force covariances within one set of equivalent atoms, without the work that all sets share.

For geometries ``i, j`` and atoms ``a, b`` of a set that the permutations ``p`` map to itself,
equation 8 of `docs/theory.md` (paper 001, appendix A) becomes, with ``δ = z_i - P z_j``, the slopes
``h_i[a, c] = ∂z_i[a, c]/∂r_a`` and sums over the other atoms ``c``,

    R_ij[a, b] = Σ_p  [b = p(a)] (-first) Σ_c h_i[a, c] h_j[b, p(c)]ᵀ
                      + (-first) h_i[a, p⁻¹(b)] h_j[b, p(a)]ᵀ
                      - second (Σ_c h_i[a, c] δ[a, c]) (Σ_c δ[p⁻¹(b), c] h_j[b, p(c)])ᵀ.

The first line and both sums of the third come from one matrix product for each atom and
permutation; the second line belongs to the features within the set.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kraft.core.progress import Progress, silent
from kraft.core.typing import IntArray
from kraft.descriptors import Descriptor, Features
from kraft.kernels.atom_geometries import (
    FEATURE,
    AtomGeometries,
    Factors,
    TileFactors,
)
from kraft.kernels.geometries import ReducedGeometries
from kraft.kernels.operator import KernelOperator
from kraft.kernels.product import KernelProduct
from kraft.linalg.arrays import Array, index_array, namespace, tensor
from kraft.linalg.panels import LowerPanels
from kraft.symmetry.orbits import feature_permutations, pair_indices

TILE_ROWS = (8, 32)
"""Least and most geometries in the rows of a tile, which has twice as many columns."""


def tile_shape(largest_set: int) -> tuple[int, int]:
    """Return rows and columns of tiles whose arrays fit the cache for sets of so many atoms."""
    least, most = TILE_ROWS
    height = min(max(2 * most // largest_set, least), most)
    return height, 2 * height


class _Columns(NamedTuple):
    """Geometries as columns: for each permutation and atom of the set, its image permuted."""

    products: list[list[Array]]  # (4 C, N) each
    own: Array  # (l, 3, C)
    within: list[Array]  # (l, 1, 1, l, 3, C) each: h_j[b, p(a)]; empty for a single atom


class AtomSet:
    """One set of equivalent atoms, and how the permutations act on it.

    Parameters
    ----------
    atoms
        ``(l,)`` atoms that every permutation maps to each other.
    permutations
        ``(S, N)`` group.

    Raises
    ------
    ValueError
        When a permutation moves an atom out of the set.
    """

    def __init__(self, atoms: IntArray, permutations: IntArray) -> None:
        self.atoms = np.asarray(atoms, dtype=np.int64)
        self.permutations = np.asarray(permutations)
        place = np.full(self.permutations.shape[1], -1)
        place[self.atoms] = np.arange(len(self.atoms))
        self.images = place[self.permutations[:, self.atoms]]  # (S, l) places in the set
        if (self.images < 0).any():
            raise ValueError(f"atoms {self.atoms.tolist()} are not closed under the permutations")
        self.sources = self.atoms[np.argsort(self.images, axis=1)]  # (S, l): p⁻¹(b), as atoms

    @property
    def block_size(self) -> int:
        """Force components of a geometry, ``3 l``."""
        return 3 * len(self.atoms)

    def columns(self, geometries: AtomGeometries) -> _Columns:
        """Prepare geometries to be columns of covariance tiles."""
        count, stacked = len(geometries), geometries.stacked
        products, within = [], []
        for permutation, images in zip(self.permutations, self.images, strict=True):
            order = index_array(permutation, stacked)
            of_atoms = [stacked[self.atoms[place]][..., order] for place in images]
            products.append([part.reshape(4 * count, -1) for part in of_atoms])
            if len(self.atoms) > 1:
                moved = index_array(permutation[self.atoms], stacked)
                parts = stacked[index_array(self.atoms, stacked)][:, :FEATURE, :, moved]
                within.append(_axes(parts, (3, 0, 1, 2))[:, None, None])  # (b, 3, C, a)
        return _Columns(products, geometries.own[index_array(self.atoms, stacked)], within)

    def tile(self, rows: AtomGeometries, columns: _Columns, factors: Factors) -> Array:
        """Return the covariances ``(T, l, 3, C, l, 3)`` of ``T`` geometries against ``C``."""
        xp, size, n_rows = namespace(rows.stacked), len(self.atoms), len(rows)
        flat = [rows.stacked[atom].reshape(4 * n_rows, -1) for atom in self.atoms]
        own = rows.own[index_array(self.atoms, rows.own)]
        out: Array = None
        for index, images in enumerate(self.images):
            minus_first, second = factors.minus_first[index], factors.second[index]
            left, gram = [], []
            right: list[Array] = [None] * size
            for place, image in enumerate(images):
                product = xp.matmul(flat[place], columns.products[index][place].T)
                product = product.reshape(4, n_rows, 4, -1)
                left.append(own[place][:, :, None] - product[:FEATURE, :, FEATURE])
                right[image] = product[FEATURE, :, :FEATURE] - columns.own[image]
                gram.append(product[:FEATURE, :, :FEATURE] * minus_first[:, None])
            part = _outer(left, right, second)
            for place, image in enumerate(images):
                part[place, :, :, image] += gram[place]
            if size > 1:
                part += self._within(rows, index, minus_first) * columns.within[index]
            out = part if out is None else xp.add(out, part, out=out)
        return _axes(out, (2, 0, 1, 5, 3, 4))

    def _within(self, rows: AtomGeometries, index: int, minus_first: Array) -> Array:
        """Return ``-first h_i[a, p⁻¹(b)]``, ``(l, 3, T, l, 1, C)``."""
        source = index_array(self.sources[index], rows.stacked)
        slopes = rows.stacked[index_array(self.atoms, source)][:, :FEATURE, :, source]
        return slopes[..., None, None] * minus_first[:, None, None]


def _outer(left: list[Array], right: list[Array], second: Array) -> Array:
    """Return ``-second left rightᵀ``, ``(l, 3, T, l, 3, C)``."""
    xp = namespace(second)
    rows, columns = xp.stack(left), xp.stack(right, 1)  # (l, 3, T, C), (T, l, 3, C)
    return (rows * -second)[:, :, :, None, None] * columns


def _axes(array: Array, order: tuple[int, ...]) -> Array:
    """Return a view with its axes in another order."""
    return array.permute(order) if isinstance(array, Tensor) else array.transpose(order)


class AtomSetOperator:
    """The force covariance of one atom set among training geometries, a ``SymmetricOperator``.

    It is assembled from what all sets share; products and columns, which only an iterative solver
    needs, are those of a :class:`KernelOperator` with the displacements of the set's atoms.

    Parameters
    ----------
    atom_set
        The set.
    geometries
        The training geometries.
    factors
        Radial factors of these geometries, which all sets share.
    descriptor
        The descriptor of the features.
    """

    def __init__(
        self,
        atom_set: AtomSet,
        geometries: AtomGeometries,
        factors: TileFactors,
        descriptor: Descriptor,
    ) -> None:
        self.atom_set, self.geometries = atom_set, geometries
        self._factors, self._descriptor = factors, descriptor
        self._whole: KernelOperator | None = None

    @property
    def size(self) -> int:
        """Number of labels."""
        return len(self.geometries) * self.block_size

    @property
    def block_size(self) -> int:
        """Force components of a geometry, ``3 l``."""
        return self.atom_set.block_size

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the entries."""
        return tensor(self.geometries.values).dtype

    @property
    def device(self) -> torch.device:
        """Where the entries live."""
        return tensor(self.geometries.values).device

    def assemble(self, panels: LowerPanels, progress: Progress = silent) -> None:
        """Write the lower triangle into panels made for this size and block size."""
        tiles, block, before = self._factors.tiles, self.block_size, -1
        pairs = tiles.pairs
        for done, (row, column) in enumerate(pairs):
            progress("assembling", done, len(pairs))
            if column != before:
                columns, before = (
                    self.atom_set.columns(self.geometries.part(tiles.columns[column])),
                    column,
                )
            rows = self.geometries.part(tiles.rows[row])
            entries = self.atom_set.tile(rows, columns, self._factors[row, column])
            entries = entries.reshape(len(rows) * block, -1)
            panels.set_block(
                tiles.rows[row].start * block, tiles.columns[column].start * block, tensor(entries)
            )
        progress("assembling", len(pairs), len(pairs))

    def to_dense(self) -> Tensor:
        """Return the full matrix, for small systems."""
        options = {"dtype": self.dtype, "device": self.device}
        panels = LowerPanels(self.size, block_size=self.block_size, **options)  # type: ignore[arg-type]
        self.assemble(panels)
        return panels.to_dense()

    @property
    def whole(self) -> KernelOperator:
        """The same matrix as a kernel operator, with the displacements of the set's atoms."""
        if self._whole is None:
            self._whole = self._kernel_operator()
        return self._whole

    def _kernel_operator(self) -> KernelOperator:
        geometries, n_atoms = self.geometries, self.geometries.n_atoms
        scale = self._factors.kernel.scale(self._factors.length_scale)
        first, second = (torch.as_tensor(part) for part in pair_indices(n_atoms))
        slopes = tensor(geometries.stacked)[first, :FEATURE, :, second]  # (D, 3, M)
        features = Features(
            tensor(geometries.values) * scale, slopes.permute(2, 0, 1).contiguous() * scale
        )
        directions = torch.zeros(n_atoms, 3, self.block_size, dtype=self.dtype, device=self.device)
        for place, atom in enumerate(self.atom_set.atoms):
            directions[atom, :, 3 * place : 3 * place + 3] = torch.eye(3)
        basis = directions.expand(len(geometries), -1, -1, -1)
        return KernelOperator(
            self._factors.kernel,
            ReducedGeometries(self._descriptor, features, basis),
            feature_permutations(self.atom_set.permutations),
        )

    def matmul(self, vectors: Tensor) -> Tensor:
        """Return the product with a coefficient vector ``(size,)``, matrix-free."""
        return self.whole.matmul(vectors)

    def product(self, *, max_memory: int | None = None) -> KernelProduct:
        """Prepare for many products, keeping at most ``max_memory`` bytes of radial factors."""
        return self.whole.product(max_memory=max_memory)

    def diagonal(self) -> Array:
        """Return the diagonal ``(size,)`` as a native array."""
        return self.whole.diagonal()

    def columns(self, indices: IntArray) -> Array:
        """Return columns as the rows of a native array ``(k, size)``."""
        return self.whole.columns(indices)

    def principal(self, blocks: IntArray) -> Array:
        """Return the principal submatrix of some geometries as a native array."""
        return self.whole.principal(blocks)
