"""Products with the reduced Jacobians of training geometries, on native arrays.

Every feature belongs to one pair of atoms, sorted by the first atom, and its derivatives by the two
atoms are opposite (:class:`kraft.descriptors.Features`), so the Jacobian acts through differences
of displacements and never has to be stored. Where kernel features mix, their matrix comes on top.
"""

from __future__ import annotations

import numpy as np
import torch

from kraft.core.typing import IntArray
from kraft.kernels.geometries import ReducedGeometries
from kraft.linalg.arrays import Array, empty_like, host, native, take

TILE_ELEMENTS = 50_000
"""Entries of relative displacements worked on at once, so that they stay in the cache."""


class Motions:
    """``Z = C J U`` of some geometries: what basis displacements do to the kernel features.

    Parameters
    ----------
    geometries
        The geometries; their arrays are used, not copied, where that is possible.
    """

    def __init__(self, geometries: ReducedGeometries) -> None:
        basis = geometries.basis
        self.n_geometries, self.n_atoms, _, self.n_motions = basis.shape
        self._basis = native(basis.reshape(self.n_geometries, 3 * self.n_atoms, -1))
        self._gradients = native(geometries.features.gradients)
        mixing = geometries.mixing
        self._mixing: Array = None if mixing is None else native(mixing)
        self.n_features = self._gradients.shape[1]
        descriptor = geometries.descriptor
        first, second = host(descriptor.first_atoms), host(descriptor.second_atoms)
        self._first, self._second = indices(first, self._basis), indices(second, self._basis)
        self._tile = max(1, TILE_ELEMENTS // (3 * self.n_features))
        by_second = np.argsort(second, kind="stable")
        self._by_second = indices(by_second, self._basis)
        self._first_starts = np.flatnonzero(np.diff(first, prepend=-1))
        self._second_starts = np.flatnonzero(np.diff(second[by_second], prepend=-1))
        self._first_places = _places(np.unique(first))
        self._second_places = _places(np.unique(second))

    def reduced_jacobians(self, rows: slice) -> Array:
        """Return ``Z``, ``(T, D, r)``."""
        basis, gradients = self._basis[rows], self._gradients[rows]
        by_atom = basis.reshape(len(basis), self.n_atoms, -1)
        relative = take(by_atom, self._first)
        relative -= take(by_atom, self._second)
        relative = relative.reshape(len(basis), self.n_features, 3, -1)
        relative *= gradients[:, :, :, None]
        jacobians = relative.sum(axis=2)
        return jacobians if self._mixing is None else self._mixing @ jacobians

    def column(self, geometries: IntArray, directions: IntArray) -> Array:
        """Return the column ``directions[p]`` of ``Z`` of ``geometries[p]``, ``(P, D)``."""
        chosen, axes = indices(geometries, self._basis), indices(directions, self._basis)
        return self._jacobian(self._gradients[chosen], self._basis[chosen, :, axes])

    def expand(self, coefficients: Array) -> Array:
        """Return ``Z c``, ``(M, D)``, for coefficients ``(M, r)``."""
        out = empty_like(coefficients, (self.n_geometries, self.n_features))
        for start in range(0, self.n_geometries, self._tile):
            rows = slice(start, start + self._tile)
            moved = (self._basis[rows] @ coefficients[rows, :, None])[:, :, 0]
            out[rows] = self._jacobian(self._gradients[rows], moved)
        return out

    def reduce(self, weights: Array, rows: slice) -> Array:
        """Return ``Zᵀ w`` of some geometries, ``(T, r)``, for feature weights ``(T, D)``."""
        mixed = self._mixed(weights)
        forces = self._transposed(self._gradients[rows], mixed)
        return (forces[:, None] @ self._basis[rows])[:, 0]

    def _jacobian(self, gradients: Array, moved: Array) -> Array:
        by_atom = moved.reshape(len(moved), self.n_atoms, 3)
        relative = take(by_atom, self._first)
        relative -= take(by_atom, self._second)
        relative *= gradients
        return self._mixed(relative.sum(axis=2))

    def _mixed(self, values: Array) -> Array:
        return values if self._mixing is None else values @ self._mixing

    def _transposed(self, gradients: Array, weights: Array) -> Array:
        pulls: Array = gradients * weights[:, :, None]
        shape = (len(pulls), self.n_atoms, 3)
        forces: Array
        if isinstance(pulls, torch.Tensor):
            forces = pulls.new_zeros(shape)
            forces.index_add_(1, self._first, pulls)
            forces.index_add_(1, self._second, pulls, alpha=-1.0)
        else:
            forces = np.zeros(shape, dtype=pulls.dtype)
            forces[:, self._first_places] = np.add.reduceat(pulls, self._first_starts, axis=1)
            ordered = pulls.take(self._by_second, axis=1)
            forces[:, self._second_places] -= np.add.reduceat(ordered, self._second_starts, axis=1)
        return forces.reshape(shape[0], -1)


def _places(atoms: IntArray) -> slice | IntArray:
    """Return sorted atoms as a slice where they follow each other, which is faster."""
    if atoms[-1] - atoms[0] + 1 == len(atoms):
        return slice(int(atoms[0]), int(atoms[-1]) + 1)
    return atoms


def indices(array: IntArray, like: Array) -> Array:
    """Return indices of the kind that arrays like this one are indexed with."""
    if isinstance(like, torch.Tensor):
        return torch.as_tensor(np.asarray(array), dtype=torch.long, device=like.device)
    return np.asarray(array, dtype=np.int64)
