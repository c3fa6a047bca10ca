"""The displacements that a descriptor can see: everything but rigid translation and rotation.

The Jacobian of an invariant descriptor maps rigid motions to zero, so a kernel matrix of forces has
a null space of six (five for a linear molecule) dimensions a geometry. Working in an orthonormal
basis of the other displacements removes it without changing a prediction (`docs/theory.md`, eq.
11). A reduced descriptor may be blind to other displacements as well.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kraft.descriptors.base import Descriptor, Features

CHUNK_ELEMENTS = 4_000_000
"""Entries of Jacobians decomposed at once."""

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


def visible_motions(descriptor: Descriptor, positions: Tensor, features: Features) -> Tensor:
    """Return an orthonormal basis of the displacements that the features can see.

    Parameters
    ----------
    descriptor
        The descriptor.
    positions, features
        ``(B, N, 3)`` positions in Å and the features there.

    Returns
    -------
    Tensor
        ``(B, N, 3, r)``, whose span contains the row space of the Jacobian. As a rule it is that of
        :func:`internal_motions`. Where the kept features leave a molecule flexible, ``r`` is the
        rank that their Jacobian has in general, and the basis are its singular vectors; those of a
        geometry with a smaller rank come with some that the features do not see.
    """
    rank = descriptor.jacobian_rank
    if rank >= descriptor.n_internal_motions:
        return internal_motions(positions, turns_freely=descriptor.turns_freely)
    n = 3 * descriptor.n_atoms
    identity = torch.eye(n, dtype=positions.dtype, device=positions.device)
    every = identity.view(1, n // 3, 3, n)
    step = max(1, CHUNK_ELEMENTS // (n * descriptor.n_features))
    bases = []
    for start in range(0, len(positions), step):
        some = Features(*(part[start : start + step] for part in features))
        jacobian = descriptor.jacobian_product(some, every.expand(len(some.values), -1, -1, -1))
        _, _, right = torch.linalg.svd(jacobian, full_matrices=False)
        bases.append(right[:, :rank].transpose(1, 2).reshape(-1, n // 3, 3, rank))
    return torch.cat(bases)
