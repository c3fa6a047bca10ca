"""What every descriptor offers: pair features, and products with their Jacobian.

A descriptor maps the positions ``R`` of ``N`` atoms to ``D`` features ``x(R)``, one for each pair
of atoms, so each row of the Jacobian ``J = ∂x/∂R`` touches two atoms. The Jacobian is never stored
as a matrix; it is kept as one three-vector a feature.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor


class Features(NamedTuple):
    """Features of ``B`` geometries with what their derivatives need.

    Attributes
    ----------
    values
        ``(B, D)`` features.
    gradients
        ``(B, D, 3)`` derivative of each feature by the position of the first atom of its pair; the
        derivative by the second atom is its negative.
    """

    values: Tensor
    gradients: Tensor


class Descriptor(Protocol):
    """A translation- and rotation-invariant map from positions to pair features."""

    @property
    def n_atoms(self) -> int:
        """Number of atoms ``N``."""
        ...

    @property
    def n_features(self) -> int:
        """Number of features ``D``: of all pairs ``N(N-1)/2``, or of those kept.

        They are in the order of ``numpy.triu_indices(N, 1)``.
        """
        ...

    @property
    def first_atoms(self) -> Tensor:
        """``(D,)`` the first atom of each feature's pair."""
        ...

    @property
    def second_atoms(self) -> Tensor:
        """``(D,)`` the second atom of each feature's pair."""
        ...

    @property
    def turns_freely(self) -> bool:
        """Whether the features do not change under rotation (no periodic cell)."""
        ...

    @property
    def n_internal_motions(self) -> int:
        """Number of displacements that features of all pairs would see, as a rule ``3N - 6``."""
        ...

    @property
    def jacobian_rank(self) -> int:
        """Number of independent displacements that these features see."""
        ...

    def values(self, positions: Tensor) -> Tensor:
        """Return the features ``(B, D)`` of positions ``(B, N, 3)`` in Å; differentiable."""
        ...

    def evaluate(self, positions: Tensor) -> Features:
        """Return features and gradients of positions ``(B, N, 3)`` in Å."""
        ...

    def jacobian_product(self, features: Features, displacements: Tensor) -> Tensor:
        """Return ``J u``, ``(B, D, ...)``, for displacements ``u`` of shape ``(B, N, 3, ...)``."""
        ...

    def jacobian_transpose_product(self, features: Features, weights: Tensor) -> Tensor:
        """Return ``Jᵀ w``, ``(B, N, 3)``, for feature weights ``w`` of shape ``(B, D)``."""
        ...

    def curvature(self, positions: Tensor, weights: Tensor) -> Tensor:
        """Return ``Σ_d w_d ∂²x_d/∂R∂R``, ``(N, 3, N, 3)``, at one geometry ``(N, 3)``."""
        ...
