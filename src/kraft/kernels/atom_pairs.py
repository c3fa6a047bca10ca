"""Jacobians of large molecules, by the square of all pairs of atoms.

A reduced Jacobian ``Z = J U`` has ``D r`` entries, which grow with the cube of the number of atoms:
38 MB for 148 atoms. ``J`` itself has ``3 (N - 1)`` numbers for each atom that are not zero. As
``g``, ``(N, N, 3)``, with ``g[n, m]`` the derivative of the feature of the pair ``n, m`` by atom
``n``, its transpose acts as one small matrix product an atom, and in the product of two Jacobians
hardly anything has to be summed:

    (Jᵀ P_q J')[n, q(m)] = -g[n, m] g'[q(n), q(m)]ᵀ   for m ≠ n,
    (Jᵀ P_q J')[n, q(n)] = Σ_m g[n, m] g'[q(n), q(m)]ᵀ.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from kraft.core.typing import IntArray
from kraft.kernels.geometries import ReducedGeometries
from kraft.kernels.motions import indices
from kraft.kernels.radial import RadialKernel
from kraft.linalg.arrays import Array, empty_like, native, native_like
from kraft.symmetry.orbits import atom_permutations, pair_indices

LARGE_MOLECULE = 64
"""Atoms from which this is faster than products with dense reduced Jacobians."""


class PairJacobians:
    """Jacobians of some geometries, by pairs of atoms.

    Parameters
    ----------
    geometries
        The geometries; their arrays are used, not copied, where that is possible.

    Attributes
    ----------
    square
        ``(N²,)`` the feature of each pair of atoms, in either order; any one for an atom with
        itself, whose gradient is zero.
    """

    def __init__(self, geometries: ReducedGeometries) -> None:
        basis = geometries.basis
        self.n_atoms, self.n_motions = basis.shape[1], basis.shape[3]
        n = self.n_atoms
        self._basis = native(basis.reshape(len(basis), 3 * n, -1))
        self._gradients = native(geometries.features.gradients)
        first, second = pair_indices(n)
        square = np.zeros((n, n), dtype=np.int64)
        square[first, second] = square[second, first] = np.arange(len(first))
        self.square = indices(square.ravel(), self._basis)
        signs = np.sign(np.arange(n)[None, :] - np.arange(n)[:, None])[:, :, None]
        self._signs = native_like(signs, self._basis)

    def gradients(self, geometry: int) -> Array:
        """Return ``g`` of one geometry, ``(N, N, 3)``."""
        of_pairs = self._gradients[geometry][self.square]
        return of_pairs.reshape(self.n_atoms, self.n_atoms, 3) * self._signs

    def transposed(self, gradients: Array, weights: Array) -> Array:
        """Return ``Jᵀ w``, ``(P, 3N)``, for the weights ``(P, N²)`` of pairs of atoms."""
        squares = weights.reshape(-1, self.n_atoms, self.n_atoms)
        forces = squares.swapaxes(0, 1) @ gradients  # (N, P, 3)
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
        self._actions = [indices(row, self._values) for row in np.asarray(feature_permutations)]
        atoms = atom_permutations(feature_permutations, self._jacobians.n_atoms)
        self._atoms = [indices(row, self._values) for row in atoms]

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
        left = jacobians.transposed(g, own.differences[:, jacobians.square])  # (S, 3N): δᵀJ
        right = jacobians.transposed(other, own.moved_back[:, jacobians.square])
        forces = -((left * own.second[:, None]).T @ right)
        self._add_products(forces, g, other, own.minus_first)
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

    def _add_products(self, forces: Array, g: Array, other: Array, weights: Array) -> None:
        """Add ``Σ_q weight Jᵀ P_q J'`` to ``(3N, 3N)``."""
        n = len(g)
        entries = forces.reshape(n, 3, n, 3)
        for q, atoms in enumerate(self._atoms):
            images = other[atoms][:, atoms] * weights[q]
            products = g[:, :, :, None] * images[:, :, None, :]  # (N, N, 3, 3)
            own = products.sum(axis=1)
            entries[:, :, atoms] -= products.swapaxes(1, 2)
            for axis in range(3):
                for image_axis in range(3):
                    entries[range(n), axis, atoms, image_axis] += own[:, axis, image_axis]


class _Factors(NamedTuple):
    """What two geometries bring to a block, for every permutation."""

    differences: Array  # (S, D): δ = z_i - P_q z_j
    moved_back: Array  # (S, D): P_qᵀ δ
    minus_first: Array  # (S,)
    second: Array  # (S,)
    value: Array | None  # (S,) with energy labels
