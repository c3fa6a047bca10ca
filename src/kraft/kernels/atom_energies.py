"""Covariances of energies with forces, and of geometries with themselves, from atomwise arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kraft.kernels.atom_geometries import FEATURE, AtomGeometries
from kraft.kernels.radial import RadialKernel
from kraft.linalg.arrays import Array, empty_like, index_array, namespace, tensor
from kraft.symmetry.orbits import feature_permutations, pair_indices


class OwnCovariances(NamedTuple):
    """Prior covariances of each of ``B`` geometries with itself.

    Attributes
    ----------
    energies
        ``(B,)`` of the energy.
    mixed
        ``(B, 3N)`` of the forces with the energy.
    forces
        ``(B, 3N, 3N)`` of the forces.
    """

    energies: Tensor
    mixed: Tensor
    forces: Tensor


def force_energy_covariances(
    queries: AtomGeometries, geometries: AtomGeometries, minus_first: Array
) -> Array:
    """Return the covariances ``(B, 3N, M)`` of the queries' forces with energies of ``M`` others.

    With ``-s² first`` ``(S, B, M)`` (:class:`~kraft.kernels.atom_geometries.Factors`), atom by atom
    equation 7 of `docs/theory.md`: ``Σ_q (-first) Jᵀ (z - P_q z')``.
    """
    xp = namespace(queries.stacked)
    n_queries, n_atoms, n_train = len(queries), queries.n_atoms, len(geometries)
    result = empty_like(queries.stacked, (n_queries, n_atoms, 3, n_train))
    backs = np.argsort(queries.permutations, axis=1)
    for atom in range(n_atoms):
        slopes = queries.stacked[atom][:FEATURE]  # (3, B, N)
        total: Array = None
        for index, (permutation, back) in enumerate(zip(queries.permutations, backs, strict=True)):
            permuted = slopes[..., index_array(back, slopes)].reshape(3 * n_queries, n_atoms)
            features = geometries.stacked[int(permutation[atom])][FEATURE]  # (M, N)
            along = xp.matmul(permuted, features.T).reshape(3, n_queries, n_train)
            part = (queries.own[atom][..., None] - along) * minus_first[index]
            total = part if total is None else xp.add(total, part, out=total)
        result[:, atom] = total.swapaxes(0, 1)
    return result.reshape(n_queries, 3 * n_atoms, n_train)


def own_covariances(
    queries: AtomGeometries, kernel: RadialKernel, length_scale: float
) -> OwnCovariances:
    """Return the prior covariances of energy and forces of every query (eqs. 5, 7 and 8)."""
    factor = kernel.scale(length_scale) ** 2
    values, jacobian = tensor(queries.values), dense_jacobian(queries)
    energies = values.new_zeros(len(values))
    mixed = values.new_zeros(len(values), jacobian.shape[2])
    forces = values.new_zeros(len(values), jacobian.shape[2], jacobian.shape[2])
    for row in torch.as_tensor(feature_permutations(queries.permutations), device=values.device):
        difference = values - values[:, row]
        squared = factor * difference.square().sum(dim=1)
        first, second = (kernel.derivative(order, squared) for order in (1, 2))
        left = torch.einsum("bdr,bd->br", jacobian, difference)
        right = torch.einsum("bdr,bd->br", jacobian[:, row], difference)
        gram = jacobian.transpose(1, 2) @ jacobian[:, row]
        energies += kernel.derivative(0, squared)
        mixed -= (factor * first)[:, None] * left
        forces -= (factor * first)[:, None, None] * gram
        forces -= (factor**2 * second)[:, None, None] * left[:, :, None] * right[:, None, :]
    return OwnCovariances(energies, mixed, forces)


def dense_jacobian(geometries: AtomGeometries) -> Tensor:
    """Return the Jacobian of the unscaled features as a matrix, ``(B, D, 3N)``."""
    stacked = tensor(geometries.stacked)
    first, second = (torch.as_tensor(atoms) for atoms in pair_indices(geometries.n_atoms))
    n_features, n_atoms = len(first), geometries.n_atoms
    jacobian = stacked.new_zeros(len(geometries), n_features, n_atoms, 3)
    pairs = torch.arange(n_features)
    for atom, other in ((first, second), (second, first)):
        jacobian[:, pairs, atom] = stacked[atom, :FEATURE, :, other].permute(2, 0, 1)
    return jacobian.view(len(geometries), n_features, 3 * n_atoms)
