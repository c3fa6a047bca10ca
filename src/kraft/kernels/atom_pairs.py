"""Jacobians of large molecules, by the pairs of each atom.

A reduced Jacobian ``Z = J U`` has ``D r`` entries, which grow with the cube of the number of atoms:
38 MB for 148 atoms. ``J`` itself has three numbers that are not zero for each atom and each of its
partners, the atoms that it has a feature with. As ``g``, with ``g[n, m]`` the derivative of the
feature of the pair ``n, m`` by atom ``n``, its transpose acts as one small matrix product an atom,
and in the product of two Jacobians hardly anything has to be summed:

    (Jᵀ P_q J')[n, q(m)] = -g[n, m] g'[q(n), q(m)]ᵀ   for m ≠ n,
    (Jᵀ P_q J')[n, q(n)] = Σ_m g[n, m] g'[q(n), q(m)]ᵀ.

Rows are as long as the longest list of partners, ``K`` (``N`` with the features of all pairs).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from kraft.core.typing import IntArray
from kraft.descriptors import Descriptor
from kraft.kernels.geometries import ReducedGeometries
from kraft.kernels.motions import indices
from kraft.kernels.radial import RadialKernel
from kraft.linalg.arrays import Array, empty_like, host, native, native_like
from kraft.symmetry.orbits import atom_permutations

LARGE_MOLECULE = 64
"""Atoms from which this is faster than products with dense reduced Jacobians."""


def large(descriptor: Descriptor) -> bool:
    """Tell whether a molecule is large enough for this, by the partners that its atoms have."""
    return 2 * descriptor.n_features >= (LARGE_MOLECULE - 1) * descriptor.n_atoms


def by_pairs(geometries: ReducedGeometries) -> bool:
    """Tell whether this is the faster way: in a large molecule whose features do not mix."""
    return geometries.mixing is None and large(geometries.descriptor)


class _Partners(NamedTuple):
    """The features of each atom, by partners in ascending order."""

    features: IntArray  # (N, K); any one beyond the last partner
    signs: IntArray  # (N, K): 1 for the first atom of a pair, -1 for the second, 0 beyond
    rows: IntArray  # (2 D,) the atom,
    places: IntArray  # (2 D,) and the place in its row, of every entry
    partners: IntArray  # (2 D,) the other atom


def _partners(descriptor: Descriptor) -> _Partners:
    n_atoms, n_features = descriptor.n_atoms, descriptor.n_features
    first, second = host(descriptor.first_atoms), host(descriptor.second_atoms)
    atoms, others = np.concatenate([first, second]), np.concatenate([second, first])
    order = np.lexsort((others, atoms))
    rows, partners = atoms[order], others[order]
    counts = np.bincount(atoms, minlength=n_atoms)
    places = np.arange(2 * n_features) - np.repeat(np.cumsum(counts) - counts, counts)
    features, signs = np.zeros((2, n_atoms, counts.max()), dtype=np.int64)
    features[rows, places] = np.tile(np.arange(n_features), 2)[order]
    signs[rows, places] = np.repeat([1, -1], n_features)[order]
    return _Partners(features, signs, rows, places, partners)


class PairJacobians:
    """Jacobians of some geometries, by atoms and their partners.

    Parameters
    ----------
    geometries
        The geometries; their arrays are used, not copied, where that is possible.

    Attributes
    ----------
    partners
        The features of each atom.
    table
        ``(N K,)`` the feature of each atom with each of its partners.
    """

    def __init__(self, geometries: ReducedGeometries) -> None:
        basis = geometries.basis
        self.n_atoms, self.n_motions = basis.shape[1], basis.shape[3]
        self._basis = native(basis.reshape(len(basis), 3 * self.n_atoms, -1))
        self._gradients = native(geometries.features.gradients)
        self.partners = _partners(geometries.descriptor)
        self.table = indices(self.partners.features.ravel(), self._basis)
        self._signs = native_like(self.partners.signs[:, :, None], self._basis)

    def gradients(self, geometry: int) -> Array:
        """Return ``g`` of one geometry, ``(N, K, 3)``."""
        of_pairs = self._gradients[geometry][self.table]
        return of_pairs.reshape(self.n_atoms, -1, 3) * self._signs

    def images(self, geometry: int, image: _Image) -> Array:
        """Return ``g[q(n), q(m)]`` of one geometry, ``(N, K, 3)``."""
        return self._gradients[geometry][image.features] * image.signs

    def transposed(self, gradients: Array, weights: Array) -> Array:
        """Return ``Jᵀ w``, ``(P, 3N)``, for the weights ``(P, N K)`` of atoms' partners."""
        rows = weights.reshape(-1, self.n_atoms, gradients.shape[1])
        forces = rows.swapaxes(0, 1) @ gradients  # (N, P, 3)
        return forces.swapaxes(0, 1).reshape(len(weights), -1)

    def basis(self, geometry: int) -> Array:
        """Return ``U`` of one geometry, ``(3N, r)``."""
        return self._basis[geometry]


class PairBlocks:
    """Makes single blocks of the kernel matrix, one geometry against another.

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
        self._energy_labels = energy_labels
        self._jacobians = PairJacobians(geometries)
        self._values = native(geometries.features.values)
        table = np.asarray(feature_permutations)
        self._actions = [indices(row, self._values) for row in table]
        self._rows, self._places = (
            indices(part, self._values)
            for part in (self._jacobians.partners.rows, self._jacobians.partners.places)
        )
        self._images = self._make_images(geometries.descriptor, table)

    def _make_images(self, descriptor: Descriptor, table: IntArray) -> list[_Image]:
        first, second = host(descriptor.first_atoms), host(descriptor.second_atoms)
        of_atoms = atom_permutations(table, (first, second), descriptor.n_atoms)
        partners, images = self._jacobians.partners, []
        for action, atoms in zip(table, of_atoms, strict=True):
            features = action[partners.features]
            signs = np.where(first[features] == atoms[:, None], 1, -1) * abs(partners.signs)
            images.append(
                _Image(
                    indices(features, self._values),
                    native_like(signs[:, :, None], self._values),
                    indices(atoms, self._values),
                    indices(atoms[partners.partners], self._values),
                )
            )
        return images

    @property
    def block_size(self) -> int:
        """Labels of one geometry."""
        return self._jacobians.n_motions + int(self._energy_labels)

    def principal(self, chosen: IntArray) -> Array:
        """Return the principal submatrix of some geometries."""
        b = self.block_size
        out = empty_like(self._values, (len(chosen), b, len(chosen), b))
        for i, left in enumerate(chosen):
            for j, right in enumerate(chosen[: i + 1]):
                out[i, :, j] = self.block(int(left), int(right))
                out[j, :, i] = out[i, :, j].T
        return out.reshape(len(chosen) * b, -1)

    def diagonal(self) -> Array:
        """Return the diagonal ``(M b,)`` of the matrix."""
        out = empty_like(self._values, (len(self._values), self.block_size))
        for i in range(len(self._values)):
            out[i] = self.block(i, i).diagonal()
        return out.reshape(-1)

    def block(self, i: int, j: int) -> Array:
        """Return the covariances ``(b, b)`` of the labels of two geometries."""
        jacobians, own = self._jacobians, self._factors(i, j)
        g, other = jacobians.gradients(i), jacobians.gradients(j)
        left = jacobians.transposed(g, own.differences[:, jacobians.table])  # (S, 3N): δᵀJ
        right = jacobians.transposed(other, own.moved_back[:, jacobians.table])
        forces = -((left * own.second[:, None]).T @ right)
        self._add_products(forces, g, j, own.minus_first)
        left_basis, right_basis = jacobians.basis(i), jacobians.basis(j)
        reduced = left_basis.T @ (forces @ right_basis)
        if own.value is None:
            return reduced
        out = empty_like(reduced, (self.block_size, self.block_size))
        out[:-1, :-1] = reduced
        out[:-1, -1] = (own.minus_first @ left) @ left_basis
        out[-1, :-1] = -(own.minus_first @ right) @ right_basis
        out[-1, -1] = own.value.sum()
        return out

    def _factors(self, i: int, j: int) -> _Factors:
        shape = (len(self._actions), self._values.shape[1])
        differences, moved_back = (empty_like(self._values, shape) for _ in range(2))
        for action, difference, back in zip(self._actions, differences, moved_back, strict=True):
            difference[...] = self._values[i] - self._values[j][action]
            back[action] = difference
        squared = (differences * differences).sum(axis=1)
        value = None
        if self._energy_labels:
            value = native(self._kernel.derivative(0, torch.as_tensor(squared)))
        factors = self._kernel.force_factors_(squared, empty_like(squared, (len(squared),)))
        minus_first, second = (factor / self._kernel.norm for factor in factors)
        return _Factors(differences, moved_back, minus_first, second, value)

    def _add_products(self, forces: Array, g: Array, j: int, weights: Array) -> None:
        """Add ``Σ_q weight Jᵀ P_q J'`` to ``(3N, 3N)``."""
        n = len(g)
        entries = forces.reshape(n, 3, n, 3)
        for q, image in enumerate(self._images):
            images = self._jacobians.images(j, image) * weights[q]
            products = g[:, :, :, None] * images[:, :, None, :]  # (N, K, 3, 3)
            entries[self._rows, :, image.partners] -= products[self._rows, self._places]
            entries[range(n), :, image.atoms] += products.sum(axis=1)


class _Image(NamedTuple):
    """What a permutation does to atoms, their partners and features."""

    features: Array  # (N, K)
    signs: Array  # (N, K, 1)
    atoms: Array  # (N,): q(n)
    partners: Array  # (2 D,): q(m)


class _Factors(NamedTuple):
    """What two geometries bring to a block, for every permutation."""

    differences: Array  # (S, D): δ = z_i - P_q z_j
    moved_back: Array  # (S, D): P_qᵀ δ
    minus_first: Array  # (S,)
    second: Array  # (S,)
    value: Array | None  # (S,) with energy labels
