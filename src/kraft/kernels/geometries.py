"""Training geometries as the kernel sees them: kernel features and reduced Jacobians."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kraft.core.typing import IntArray
from kraft.descriptors import Descriptor, FeatureMap, Features, visible_motions


@dataclass(frozen=True)
class ReducedGeometries:
    """Kernel features ``z = C s (x - x̄)`` of ``M`` geometries and what moves them.

    The features are those of `docs/theory.md`, eq. 2; the basis is the ``U`` of its eq. 11.

    Attributes
    ----------
    descriptor
        The descriptor whose features these are.
    features
        Kernel features ``(M, D)``, and scaled gradients ``(M, D, 3)`` of the descriptor's features.
    basis
        ``(M, N, 3, r)`` orthonormal displacements that the features can see, as a rule all that are
        not rigid motions: in this basis the forces of a geometry are ``r`` numbers.
    mixing
        ``(D, D)`` the symmetric ``C``, which the values of the features hold, their gradients do
        not; None for the identity.
    """

    descriptor: Descriptor
    features: Features
    basis: Tensor
    mixing: Tensor | None = None

    @classmethod
    def from_positions(
        cls, descriptor: Descriptor, positions: Tensor, feature_map: FeatureMap
    ) -> ReducedGeometries:
        """Compute features and bases of positions ``(M, N, 3)`` in Å."""
        raw = descriptor.evaluate(positions)
        features = Features(
            feature_map.values(raw.values), raw.gradients * feature_map.scale[:, None]
        )
        basis = visible_motions(descriptor, positions, raw)
        return cls(descriptor, features, basis, feature_map.mixing)

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
        basis = self.basis.index_select(0, rows)
        return ReducedGeometries(self.descriptor, features, basis, self.mixing)

    def reduced_jacobians(self, rows: slice) -> Tensor:
        """Return ``Z = C J U``, ``(T, D, r)``: what basis displacements do to kernel features."""
        some = Features(*(part[rows] for part in self.features))
        jacobians = self.descriptor.jacobian_product(some, self.basis[rows])
        return jacobians if self.mixing is None else self.mixing @ jacobians

    def moved(self, displacements: Tensor) -> Tensor:
        """Return ``C J u``, ``(M, D)``, for displacements ``(M, N, 3)``."""
        moves = self.descriptor.jacobian_product(self.features, displacements)
        return moves if self.mixing is None else moves @ self.mixing

    def pulled(self, gradients: Tensor) -> Tensor:
        """Return ``Jᵀ C g``, ``(M, N, 3)``, for derivatives by kernel features ``(M, D)``."""
        mixed = gradients if self.mixing is None else gradients @ self.mixing
        return self.descriptor.jacobian_transpose_product(self.features, mixed)

    def reduce(self, forces: Tensor) -> Tensor:
        """Return ``Uᵀ f``, ``(M, r)``, for forces ``(M, N, 3)``."""
        return torch.einsum("mnxr,mnx->mr", self.basis, forces)

    def expand(self, reduced: Tensor) -> Tensor:
        """Return ``U c``, ``(M, N, 3)``, for reduced coefficients ``(M, r)``."""
        return torch.einsum("mnxr,mr->mnx", self.basis, reduced)
