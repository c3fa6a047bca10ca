"""A few directions in which the forces of a geometry are looked at, the same for like geometries.

Directions drawn anew for every geometry would not do: the value of a copy of a chosen geometry must
vanish, which it does only if its forces are looked at in the same directions. So they are gradients
of smooth random functions of the features,

    φ_k(x) = Σ_q cos(ω_kᵀ P_q z + b_k),

that are invariant to rotation and permutation as energies are; the gradients turn with the
geometry, and near copies have nearly the same ones.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from kraft.core.random import generator
from kraft.core.typing import IntArray
from kraft.kernels.geometries import ReducedGeometries

CHUNK_ELEMENTS = 4_000_000
"""Entries of the permuted features that are held at once."""


def force_directions(
    geometries: ReducedGeometries, feature_permutations: IntArray, count: int, seed: int
) -> Tensor:
    """Return orthonormal directions of geometries ``(P, count, N, 3)``.

    Parameters
    ----------
    geometries
        Of the molecule, with ``r`` internal motions each.
    feature_permutations
        ``(S, D)`` action of the permutation group on the features.
    count
        Directions of a geometry, at most ``r``; with ``r`` they are all internal motions.
    seed
        Of the random functions.
    """
    size, n_atoms, _, n_motions = geometries.basis.shape
    if count == n_motions:
        return geometries.basis.permute(0, 3, 1, 2)
    gradients = _gradients(geometries, feature_permutations, count, seed)
    columns = [geometries.pulled(gradients[:, k]) for k in range(count)]
    stacked = torch.stack(columns, dim=3).view(size, 3 * n_atoms, count)
    orthonormal: Tensor = torch.linalg.qr(stacked).Q
    return orthonormal.transpose(1, 2).reshape(size, count, n_atoms, 3)


def _gradients(
    geometries: ReducedGeometries, feature_permutations: IntArray, count: int, seed: int
) -> Tensor:
    """Return ``-∂φ_k/∂z = Σ_q P_qᵀ ω_k sin(ω_kᵀ P_q z + b_k)``, ``(P, count, D)``."""
    values = geometries.features.values
    options = {"dtype": values.dtype, "device": values.device}
    rng = generator(seed, "directions of forces")
    frequencies = torch.tensor(rng.normal(size=(count, values.shape[1])), **options)  # type: ignore[arg-type]
    phases = torch.tensor(rng.uniform(0.0, 2.0 * math.pi, size=count), **options)  # type: ignore[arg-type]
    inverse = np.argsort(np.asarray(feature_permutations), axis=1)
    # ωᵀ P_q z = (P_qᵀ ω)ᵀ z
    turned = frequencies[:, torch.as_tensor(inverse, device=values.device)]  # (count, S, D)
    # waves as long as the geometries spread, from a center that permutations leave alone
    spread = values.square().sum(dim=1).mean().sqrt().clamp_min(1e-12)
    turned, waves = turned / spread, turned.flatten(0, 1) / spread
    step = max(1, CHUNK_ELEMENTS // max(1, len(waves)))
    parts = []
    for some in torch.split(values, step):
        angles = (some @ waves.T).view(len(some), count, -1) + phases[:, None]
        parts.append(torch.einsum("pks,ksd->pkd", angles.sin(), turned))
    return torch.cat(parts)
