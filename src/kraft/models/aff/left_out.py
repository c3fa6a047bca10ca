"""Predictions at training geometries by a model that never saw them, without training it anew.

With ``A = R + λI`` of a set, ``α = A⁻¹ F`` and ``B = (A⁻¹)_mm`` the diagonal block of a geometry,
its forces as predicted by all others, and their covariance, are (`docs/theory.md`, eq. 12)

    F_m - B⁻¹ α_m,     σ² (B⁻¹ - λI).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from kraft.core.typing import IntArray
from kraft.kernels.atom_sets import AtomSet
from kraft.linalg.panels import PanelCholesky


class SetLeftOut(NamedTuple):
    """Predictions of one set at ``H`` geometries.

    Attributes
    ----------
    errors
        ``(H, 3l)`` reference less predicted forces in eV/Å.
    covariances
        ``(H, 3l, 3l)`` of the predictions, for ``σ² = 1``.
    """

    errors: Tensor
    covariances: Tensor


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Predictions at ``H`` training geometries, each left out by itself.

    Attributes
    ----------
    frames
        Their indices among the training geometries.
    forces
        ``(H, N, 3)`` predicted forces in eV/Å.
    covariances
        ``(H, 3N, 3N)`` of these in eV²/Å²; sets are independent.
    """

    frames: IntArray
    forces: Tensor
    covariances: Tensor


def set_left_out(
    factor: PanelCholesky, solution: Tensor, regularization: float, frames: IntArray, width: int
) -> SetLeftOut:
    """Return the predictions of a set with ``width = 3l`` labels of a geometry.

    Parameters
    ----------
    factor, solution
        Of ``A``, and ``A⁻¹ F`` ``(n,)``.
    regularization
        ``λ``.
    frames
        ``(H,)`` which geometries.
    """
    inverses = torch.linalg.inv(factor.inverse_blocks(frames * width, width))
    own = solution.view(-1, width)[torch.as_tensor(frames, device=solution.device)]
    errors = (inverses @ own[:, :, None])[:, :, 0]
    inverses.diagonal(dim1=1, dim2=2).sub_(regularization)
    return SetLeftOut(errors, inverses)


def gather_left_out(
    forces: Tensor,
    frames: IntArray,
    sets: Sequence[AtomSet],
    parts: Sequence[SetLeftOut],
    variances: Sequence[float],
) -> LeftOut:
    """Put the predictions of all sets together.

    Parameters
    ----------
    forces
        ``(M, N, 3)`` reference forces.
    frames
        ``(H,)`` which of the geometries were left out.
    sets, parts, variances
        The atom sets, their predictions and their ``σ²``.
    """
    predicted = forces[torch.as_tensor(frames, device=forces.device)].clone()
    size = predicted[0].numel()
    covariances = predicted.new_zeros(len(frames), size, size)
    for atom_set, part, variance in zip(sets, parts, variances, strict=True):
        atoms = torch.as_tensor(atom_set.atoms, device=forces.device)
        predicted[:, atoms] -= part.errors.view(len(frames), len(atoms), 3)
        where = (3 * atoms[:, None] + torch.arange(3, device=forces.device)).reshape(-1)
        covariances[:, where[:, None], where] = variance * part.covariances
    return LeftOut(frames, predicted, covariances)
