"""Training geometries as the kernel sees them: scaled features and reduced Jacobians."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kraft.core.typing import IntArray
from kraft.descriptors import Descriptor, Features, visible_motions


@dataclass(frozen=True)
class ReducedGeometries:
    """Scaled, centered features ``z = s (x - x̄)`` of ``M`` geometries and what moves them.

    The features are those of `docs/theory.md`, eq. 2; the basis is the ``U`` of its eq. 11.

    Attributes
    ----------
    descriptor
        The descriptor whose features these are.
    features
        Scaled, centered feature values ``(M, D)`` and scaled gradients ``(M, D, 3)``.
    basis
        ``(M, N, 3, r)`` orthonormal displacements that the features can see, as a rule all that are
        not rigid motions: in this basis the forces of a geometry are ``r`` numbers.
    """

    descriptor: Descriptor
    features: Features
    basis: Tensor

    @classmethod
    def from_positions(
        cls, descriptor: Descriptor, positions: Tensor, scale: Tensor, center: Tensor
    ) -> ReducedGeometries:
        """Compute features and bases of positions ``(M, N, 3)`` in Å.

        ``scale`` and ``center`` are ``(D,)``: the features are ``scale * (x - center)``.
        """
        raw = descriptor.evaluate(positions)
        features = Features((raw.values - center) * scale, raw.gradients * scale[:, None])
        return cls(descriptor, features, visible_motions(descriptor, positions, raw))

    def __len__(self) -> int:
        return len(self.basis)

    @property
    def n_motions(self) -> int:
        """Number ``r`` of displacements in the basis."""
        return self.basis.shape[3]

    def subset(self, chosen: IntArray) -> ReducedGeometries:
        """Return some of the geometries, in the given order."""
        rows = torch.as_tensor(chosen, dtype=torch.long, device=self.basis.device)
        features = Features(*(part.index_select(0, rows) for part in self.features))
        return ReducedGeometries(self.descriptor, features, self.basis.index_select(0, rows))

    def reduced_jacobians(self, rows: slice) -> Tensor:
        """Return ``Z = J U``, ``(T, D, r)``: the features' response to the basis displacements."""
        some = Features(*(part[rows] for part in self.features))
        return self.descriptor.jacobian_product(some, self.basis[rows])

    def reduce(self, forces: Tensor) -> Tensor:
        """Return ``Uᵀ f``, ``(M, r)``, for forces ``(M, N, 3)``."""
        return torch.einsum("mnxr,mnx->mr", self.basis, forces)

    def expand(self, reduced: Tensor) -> Tensor:
        """Return ``U c``, ``(M, N, 3)``, for reduced coefficients ``(M, r)``."""
        return torch.einsum("mnxr,mr->mnx", self.basis, reduced)
