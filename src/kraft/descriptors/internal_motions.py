"""The displacements that a descriptor can see: everything but rigid translation and rotation.

The Jacobian of an invariant descriptor maps rigid motions to zero, so a kernel matrix of forces has
a null space of six (five for a linear molecule) dimensions a geometry. Working in an orthonormal
basis of the other displacements removes it without changing a prediction (`docs/theory.md`, eq.
11).
"""

from __future__ import annotations

import torch
from torch import Tensor

LINEAR_MOLECULE = 1e-6
"""Smallest singular value of the rigid motions, relative to the largest, of a bent molecule."""


def internal_motions(positions: Tensor, *, turns_freely: bool = True) -> Tensor:
    """Return an orthonormal basis of the non-rigid displacements of every geometry.

    Parameters
    ----------
    positions
        ``(B, N, 3)`` positions in Å.
    turns_freely
        Whether rotations are rigid motions too; false with a periodic cell.

    Returns
    -------
    Tensor
        ``(B, N, 3, r)`` with ``r = 3N - 6``; ``3N - 5`` when one of the geometries is linear, and
        ``3N - 3`` without free rotation. The basis spans the row space of the Jacobian; where a
        geometry has more rigid motions than ``3N - r`` it holds some of them too, which does no
        harm.

    Examples
    --------
    A bent molecule of three atoms has three internal motions, a linear one four.

    >>> bent = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    >>> linear = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [2.0, 0.0, 0.0]]])
    >>> internal_motions(bent).shape[3], internal_motions(linear).shape[3]
    (3, 4)
    """
    n_geometries, n_atoms, _ = positions.shape
    identity = torch.eye(3, dtype=positions.dtype, device=positions.device)
    translations = identity.expand(n_geometries, n_atoms, 3, 3) / n_atoms**0.5
    motions = translations
    if turns_freely:
        centered = positions - positions.mean(dim=1, keepdim=True)
        size = torch.linalg.vector_norm(centered, dim=(1, 2)).clamp_min(1e-300)
        rotations = torch.linalg.cross(
            identity.expand(n_geometries, n_atoms, 3, 3),
            (centered / size[:, None, None]).unsqueeze(2).expand(-1, -1, 3, -1),
            dim=-1,
        ).transpose(-1, -2)
        motions = torch.cat([translations, rotations], dim=-1)
    left, singular_values, _ = torch.linalg.svd(
        motions.reshape(n_geometries, 3 * n_atoms, -1), full_matrices=True
    )
    threshold = LINEAR_MOLECULE * singular_values[:, :1]
    n_rigid = int((singular_values > threshold).sum(dim=1).min())
    basis: Tensor = left[:, :, n_rigid:]
    return basis.reshape(n_geometries, n_atoms, 3, 3 * n_atoms - n_rigid)
