"""The joint posterior of a pool's forces, conditioned on one geometry after the other.

With ``C`` the covariance of ``R`` forces of each of ``P`` geometries, learning the forces of
geometry ``i`` with noise ``ν`` leaves

    C' = C - V Vᵀ,    V = C_{:i} L⁻ᵀ,    L Lᵀ = S_i = C_ii + ν I,

which is one step of a Cholesky decomposition with blocks as pivots. The pivot is not the geometry
with the largest variance but the one that lowers the weighted sum of all variances most: the former
would be the oddest geometry, the latter is one that has many others near it. Its gain needs the
blocks on the diagonal of ``C W C``, with the weights ``W``; as

    C' W C' = C W C - (C W V) Vᵀ - V (C W V)ᵀ + V (Vᵀ W V) Vᵀ,

they follow from one product of ``C`` with ``R`` columns in every step, and ``C'`` is never made.
"""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK_ELEMENTS = 4_000_000
"""Entries of the weighted covariance that are held at once."""


class PoolCovariance:
    """Covariance ``(P R, P R)`` of the forces of ``P`` geometries, conditioned one by one.

    Parameters
    ----------
    covariance
        Of ``R`` forces of each geometry, geometry by geometry.
    n_geometries
        ``P``.
    noise
        Variance ``ν`` of a label.
    weights
        ``(P,)`` how much the variances of a geometry count.
    """

    def __init__(
        self, covariance: Tensor, n_geometries: int, noise: float, weights: Tensor
    ) -> None:
        width = len(covariance) // n_geometries
        self._prior = covariance
        self._noise = noise
        self._weights = weights
        self._columns = weights.repeat_interleave(width)[:, None]
        self._half = covariance.new_empty(len(covariance), 0)  # all V beside each other
        numbers = torch.arange(n_geometries, device=covariance.device)
        blocks = covariance.view(n_geometries, width, n_geometries, width)
        self._blocks = blocks[numbers, :, numbers].clone()  # (P, R, R) of C
        self._squares = self._weighted_squares()  # (P, R, R) of C W C

    def _weighted_squares(self) -> Tensor:
        n_geometries, width, _ = self._blocks.shape
        root = self._columns.sqrt().T
        parts = []
        for rows in torch.split(
            self._prior, width * max(1, CHUNK_ELEMENTS // self._prior[0].numel())
        ):
            weighted = (rows * root).view(-1, width, n_geometries * width)
            parts.append(weighted @ weighted.transpose(1, 2))
        return torch.cat(parts)

    @property
    def variances(self) -> Tensor:
        """Sum of the variances of each geometry, ``(P,)``."""
        return self._blocks.diagonal(dim1=1, dim2=2).sum(dim=1)

    @property
    def weighted_sum(self) -> float:
        """Weighted sum of all variances."""
        return float(self._weights @ self.variances)

    def gains(self) -> Tensor:
        """Return by how much each geometry's forces would lower the weighted sum, ``(P,)``.

        ``Σ_j w_j tr(C_ji S_i⁻¹ C_ij)``.
        """
        solved: Tensor = torch.linalg.solve(self._pivots(), self._squares)
        gains: Tensor = solved.diagonal(dim1=1, dim2=2).sum(dim=1)
        return gains

    def condition(self, geometry: int) -> None:
        """Learn the forces of a geometry."""
        width = self._blocks.shape[1]
        own = slice(geometry * width, (geometry + 1) * width)
        columns = self._prior[:, own] - self._half @ self._half[own].T
        factor = torch.linalg.cholesky(self._pivots()[geometry])
        half = torch.linalg.solve_triangular(factor, columns.T, upper=False).T
        weighted = self._columns * half
        product = self._prior @ weighted - self._half @ (self._half.T @ weighted)
        v, y = half.reshape(-1, width, width), product.view(-1, width, width)
        crossed = y @ v.transpose(1, 2)
        self._squares -= crossed + crossed.transpose(1, 2)
        self._squares += v @ (half.T @ weighted) @ v.transpose(1, 2)
        self._blocks -= v @ v.transpose(1, 2)
        self._half = torch.cat([self._half, half], dim=1)

    def _pivots(self) -> Tensor:
        """Return all ``S_i`` ``(P, R, R)``."""
        pivots = self._blocks.clone()
        pivots.diagonal(dim1=1, dim2=2).add_(self._noise)
        return pivots
