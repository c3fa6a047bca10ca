"""Features of pairs of atoms, a function of their distance each (`docs/theory.md`, eq. 1).

The descriptor of GDML is the inverse distances of all pairs (paper 002, Methods). A reduced one
(paper 003) keeps some of the pairs only; everything costs as much as it has features.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from kraft.core.errors import GeometryError, OptionError
from kraft.core.typing import AnyArray, IntArray
from kraft.descriptors.base import Features
from kraft.descriptors.feature_functions import INVERSE, feature_function
from kraft.descriptors.generic_rank import generic_rank
from kraft.symmetry.orbits import kept_pairs


class PairFeatures:
    """Features ``x_d = f(r_ab)`` for (some of the) pairs ``d = (a, b)`` of atoms.

    Parameters
    ----------
    n_atoms
        Number of atoms ``N``, at least two.
    cell
        ``(3, 3)`` periodic cell in Å, rows are vectors; distances are then those of the nearest
        images, so the shortest height of the cell should exceed twice the largest distance that
        matters.
    features
        ``(D,)`` the pairs kept, in ascending order, counted in the order of
        ``numpy.triu_indices(N, 1)``; all when None.
    feature_function
        Name of ``f``, a key of :data:`kraft.descriptors.feature_functions.FEATURE_FUNCTIONS`.
    device, dtype
        Where and in which precision the features are computed.

    Examples
    --------
    Two atoms 2 Å apart: ``x = 1/2``, and ``dx/dr_a = -(r_a - r_b)/r³`` draws ``a`` towards ``b``.

    >>> positions = torch.tensor([[[0.0, 0.0, 0.0], [0.0, 0.0, 2.0]]], dtype=torch.float64)
    >>> features = PairFeatures(2).evaluate(positions)
    >>> features.values.tolist(), features.gradients.tolist()
    ([[0.5]], [[[-0.0, -0.0, 0.25]]])

    Of three atoms, only the distance between the first and the last:

    >>> PairFeatures(3, features=[1]).second_atoms.tolist()
    [2]
    """

    def __init__(
        self,
        n_atoms: int,
        *,
        cell: Tensor | None = None,
        features: ArrayLike | None = None,
        feature_function: str = INVERSE.name,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        if n_atoms < 2:
            raise GeometryError(
                f"A descriptor of distances needs at least two atoms, got {n_atoms}. "
                "A single atom has no forces to learn."
            )
        self._n_atoms = n_atoms
        self.function = _function(feature_function)
        self.features = checked_features(features, n_atoms)
        pairs = torch.as_tensor(np.stack(kept_pairs(n_atoms, self.features)), device=device)
        self.first_atoms, self.second_atoms = pairs[0].contiguous(), pairs[1].contiguous()
        self.cell = None if cell is None else cell.to(device=device, dtype=dtype)
        self._inverse_cell = None if self.cell is None else torch.linalg.inv(self.cell)

    @property
    def n_atoms(self) -> int:
        """Number of atoms ``N``."""
        return self._n_atoms

    @property
    def n_features(self) -> int:
        """Number of features ``D``."""
        return len(self.first_atoms)

    @property
    def turns_freely(self) -> bool:
        """Whether the features do not change under rotation."""
        return self.cell is None

    @property
    def n_internal_motions(self) -> int:
        """Number of displacements that the features of all pairs would see: ``3N - 6`` as a rule.

        ``3N - 3`` with a periodic cell, one for two atoms.
        """
        if not self.turns_freely:
            return 3 * self._n_atoms - 3
        return max(1, 3 * self._n_atoms - 6)

    @property
    def jacobian_rank(self) -> int:
        """Number of independent displacements that these features see, the rank of ``J``.

        The largest that it has at any geometry; ``n_internal_motions`` unless the kept pairs leave
        parts of the molecule flexible.
        """
        if self.features is None:
            return self.n_internal_motions
        return generic_rank(self._n_atoms, self.first_atoms, self.second_atoms, self.turns_freely)

    def _separations(self, positions: Tensor) -> Tensor:
        separations = positions.index_select(-2, self.first_atoms) - positions.index_select(
            -2, self.second_atoms
        )
        if self.cell is not None and self._inverse_cell is not None:
            fractional = separations @ self._inverse_cell
            separations = separations - torch.round(fractional.detach()) @ self.cell
        return separations

    def values(self, positions: Tensor) -> Tensor:
        """Return the features ``(B, D)`` of positions ``(B, N, 3)`` in Å."""
        distances = torch.linalg.vector_norm(self._separations(positions), dim=-1)
        values: Tensor = self.function.value(distances)
        return values

    def evaluate(self, positions: Tensor) -> Features:
        """Return features and their gradients ``f'(r) (r_a - r_b)/r``."""
        separations = self._separations(positions)
        distances = torch.linalg.vector_norm(separations, dim=-1)
        values = self.function.value(distances)
        pull = self.function.pull(distances, values)
        return Features(values, separations.mul_(pull.neg_().unsqueeze(-1)))

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
        """Return ``Σ_d w_d ∂²x_d/∂R∂R`` of one geometry, ``(N, 3, N, 3)``.

        With ``s = r_a - r_b``, the second derivative by ``r_a`` twice is
        ``(f'' - f'/r)/r² s sᵀ + f'/r I``, for inverse distances ``3 s sᵀ/r⁵ - I/r³``; mixed
        derivatives have the opposite sign.
        """
        separations = self._separations(positions)
        distances = torch.linalg.vector_norm(separations, dim=-1)
        pull = self.function.pull(distances, self.function.value(distances))
        bend = (self.function.second(distances) + pull) / distances.square()
        identity = torch.eye(3, dtype=positions.dtype, device=positions.device)
        outer = separations.unsqueeze(-1) * separations.unsqueeze(-2)
        block = bend[:, None, None] * outer - pull[:, None, None] * identity
        block = block * weights[:, None, None]
        result = positions.new_zeros(self._n_atoms, self._n_atoms, 3, 3)
        a, b = self.first_atoms, self.second_atoms
        result[a, b] = -block
        result[b, a] = -block
        diagonal = torch.arange(self._n_atoms, device=positions.device)
        result[diagonal, diagonal] = -result.sum(dim=1)
        return result.permute(0, 2, 1, 3)


InverseDistances = PairFeatures
"""By default, the features are the inverse distances of all pairs."""

_function = feature_function  # an argument of the constructor has the same name


def checked_features(features: ArrayLike | None, n_atoms: int) -> IntArray | None:
    """Return the pairs kept ``(D,)``; None where they are all.

    Raises
    ------
    OptionError
        When they are no ascending numbers of pairs.
    """
    if features is None:
        return None
    kept, n_pairs = np.asarray(features), n_atoms * (n_atoms - 1) // 2
    whole = kept.ndim == 1 and len(kept) > 0 and kept.dtype.kind in "iu"
    if not whole or kept[0] < 0 or kept[-1] >= n_pairs or (np.diff(kept) <= 0).any():
        raise OptionError(
            "Features are given by the numbers of the pairs of atoms kept, in ascending order, in "
            f"the order of numpy.triu_indices({n_atoms}, 1): at least one integer from 0 to "
            f"{n_pairs - 1}. Got {_shown(kept)}."
        )
    if len(kept) == n_pairs:
        return None
    return kept.astype(np.int64)


def _shown(kept: AnyArray) -> str:
    words = np.array2string(kept, threshold=12, separator=", ").replace("\n", "")
    return f"{words}, of type {kept.dtype}"
