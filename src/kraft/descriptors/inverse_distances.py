"""Inverse distances, the descriptor of GDML (`docs/theory.md`, eq. 1; paper 002, Methods)."""

from __future__ import annotations

import torch
from torch import Tensor

from kraft.core.errors import GeometryError
from kraft.descriptors.base import Features


class InverseDistances:
    """Features ``x_d = 1/r_ab`` for every pair ``d = (a, b)`` of atoms.

    Parameters
    ----------
    n_atoms
        Number of atoms ``N``, at least two.
    cell
        ``(3, 3)`` periodic cell in Å, rows are vectors; distances are then those of the nearest
        images, so the shortest height of the cell should exceed twice the largest distance that
        matters.
    device, dtype
        Where and in which precision the features are computed.

    Examples
    --------
    Two atoms 2 Å apart: ``x = 1/2``, and ``dx/dr_a = -(r_a - r_b)/r³`` draws ``a`` towards ``b``.

    >>> positions = torch.tensor([[[0.0, 0.0, 0.0], [0.0, 0.0, 2.0]]], dtype=torch.float64)
    >>> features = InverseDistances(2).evaluate(positions)
    >>> features.values.tolist(), features.gradients.tolist()
    ([[0.5]], [[[-0.0, -0.0, 0.25]]])
    """

    def __init__(
        self,
        n_atoms: int,
        *,
        cell: Tensor | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        if n_atoms < 2:
            raise GeometryError(
                f"A descriptor of distances needs at least two atoms, got {n_atoms}. "
                "A single atom has no forces to learn."
            )
        self._n_atoms = n_atoms
        pairs = torch.triu_indices(n_atoms, n_atoms, offset=1, device=device)
        self.first_atoms, self.second_atoms = pairs[0].contiguous(), pairs[1].contiguous()
        self.cell = None if cell is None else cell.to(device=device, dtype=dtype)
        self._inverse_cell = None if self.cell is None else torch.linalg.inv(self.cell)

    @property
    def n_atoms(self) -> int:
        """Number of atoms ``N``."""
        return self._n_atoms

    @property
    def n_features(self) -> int:
        """Number of features ``D = N(N-1)/2``."""
        return self._n_atoms * (self._n_atoms - 1) // 2

    @property
    def turns_freely(self) -> bool:
        """Whether the features do not change under rotation."""
        return self.cell is None

    def _separations(self, positions: Tensor) -> Tensor:
        separations = positions.index_select(-2, self.first_atoms) - positions.index_select(
            -2, self.second_atoms
        )
        if self.cell is not None and self._inverse_cell is not None:
            fractional = separations @ self._inverse_cell
            separations = separations - torch.round(fractional.detach()) @ self.cell
        return separations

    def values(self, positions: Tensor) -> Tensor:
        """Return the features ``(B, D)`` in 1/Å of positions ``(B, N, 3)`` in Å."""
        distances: Tensor = torch.linalg.vector_norm(self._separations(positions), dim=-1)
        return distances.reciprocal()

    def evaluate(self, positions: Tensor) -> Features:
        """Return features in 1/Å and their gradients ``-(r_a - r_b)/r_ab³`` in 1/Å²."""
        separations = self._separations(positions)
        values = torch.linalg.vector_norm(separations, dim=-1).reciprocal_()
        gradients = separations.mul_(values.pow(3).neg_().unsqueeze(-1))
        return Features(values, gradients)

    def jacobian_product(self, features: Features, displacements: Tensor) -> Tensor:
        """Return ``J u``: ``g_d · (u_a - u_b)`` for every feature.

        ``displacements`` is ``(B, N, 3)`` or, for several at once, ``(B, N, 3, C)``.
        """
        relative = displacements.index_select(1, self.first_atoms) - displacements.index_select(
            1, self.second_atoms
        )
        if displacements.ndim == 3:
            return (relative * features.gradients).sum(-1)
        return torch.einsum("bdx,bdxc->bdc", features.gradients, relative)

    def jacobian_transpose_product(self, features: Features, weights: Tensor) -> Tensor:
        """Return ``Jᵀ w``: on atom ``a``, the sum of ``± w_d g_d`` over the pairs that hold it."""
        contributions = weights.unsqueeze(-1) * features.gradients
        result = contributions.new_zeros(len(weights), self._n_atoms, 3)
        result.index_add_(1, self.first_atoms, contributions)
        result.index_add_(1, self.second_atoms, contributions, alpha=-1.0)
        return result

    def curvature(self, positions: Tensor, weights: Tensor) -> Tensor:
        """Return ``Σ_d w_d ∂²x_d/∂R∂R`` of one geometry, ``(N, 3, N, 3)``, in units of w/Å³.

        For ``x = 1/r`` and ``s = r_a - r_b``, the second derivative by ``r_a`` twice is
        ``3 s sᵀ/r⁵ - I/r³``; mixed derivatives have the opposite sign.
        """
        separations = self._separations(positions)
        inverse = torch.linalg.vector_norm(separations, dim=-1).reciprocal()
        identity = torch.eye(3, dtype=positions.dtype, device=positions.device)
        outer = separations.unsqueeze(-1) * separations.unsqueeze(-2)
        block = 3.0 * inverse.pow(5)[:, None, None] * outer
        block = (block - inverse.pow(3)[:, None, None] * identity) * weights[:, None, None]
        result = positions.new_zeros(self._n_atoms, self._n_atoms, 3, 3)
        a, b = self.first_atoms, self.second_atoms
        result[a, b] = -block
        result[b, a] = -block
        diagonal = torch.arange(self._n_atoms, device=positions.device)
        result[diagonal, diagonal] = -result.sum(dim=1)
        return result.permute(0, 2, 1, 3)
