"""What some training geometries bring to the masked forces at one query."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kraft.analysis.masking.classes import MaskClass
from kraft.kernels.radial import RadialKernel


@dataclass(frozen=True, eq=False)
class Expansion:
    """The kernel expansion of a model, features first.

    Attributes
    ----------
    kernel
        The radial kernel.
    features, coefficients
        ``(D, M)`` scaled, centered training features and ``v_j`` over the kernel's norm.
    epsilon
        ``(M,)`` coefficients of energy labels over the kernel's norm, or None.
    basis
        ``(r, S)`` of the group.
    """

    kernel: RadialKernel
    features: Tensor
    coefficients: Tensor
    epsilon: Tensor | None
    basis: Tensor

    @property
    def n_permutations(self) -> int:
        """Number ``S`` of permutations."""
        return int(self.basis.shape[1])


@dataclass(frozen=True, eq=False)
class ClassPart:
    """What a class of features brings: ``v``, ``δ``, ``t`` and ``w`` of ``m`` geometries."""

    coefficients: Tensor  # (D_c, m)
    differences: Tensor  # (S_c, D_c, m)
    squares: Tensor  # (S_c, O_c, m)
    projections: Tensor  # (S_c, O_c, m)


@dataclass(frozen=True, eq=False)
class Tile:
    """What ``m`` training geometries bring to one query.

    Attributes
    ----------
    expansion, jacobian
        Of the model; ``(D, 3N)`` of the scaled features of the query.
    parts
        For each class.
    squared, projected
        ``(S, m)`` ``u²`` and ``δᵀv``.
    epsilon
        ``(m,)`` or None.
    products
        ``(m, 2r, 3N)`` components of ``JᵀPv``, then those of ``-JᵀPδ``.
    weights_v, weights_d
        ``(S, m)`` factors of these two without any mask.
    """

    expansion: Expansion
    jacobian: Tensor
    parts: tuple[ClassPart, ...]
    squared: Tensor
    projected: Tensor
    epsilon: Tensor | None
    products: Tensor
    weights_v: Tensor
    weights_d: Tensor

    def factors(self, squared: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``-first`` and ``second`` at squares, which are overwritten."""
        kernel = self.expansion.kernel
        minus_first, second = kernel.force_factors_(squared, torch.empty_like(squared))
        return minus_first, second

    def weights(self, squared: Tensor, projected: Tensor) -> tuple[Tensor, Tensor]:
        """Return the factors of ``v`` and of ``-δ`` in the gradient; squares are overwritten."""
        return _weights(self.expansion.kernel, squared, projected, self.epsilon)

    def forces(self, weights_v: Tensor, weights_d: Tensor) -> Tensor:
        """Return what weights ``(S, k, m)`` of ``v`` and of ``-δ`` give together, ``(k, 3N)``."""
        both = torch.stack([weights_v, weights_d])
        if self.expansion.n_permutations > 1:
            both = self.expansion.basis @ both.flatten(2)  # (2, r, k m)
        n_masks, width = weights_v.shape[1:]
        both = both.reshape(-1, n_masks, width).permute(1, 2, 0)  # (k, m, 2r)
        return both.reshape(n_masks, -1) @ self.products.flatten(0, 1)

    def remove_rows(
        self,
        change: Tensor,
        c: MaskClass,
        part: ClassPart,
        masks: slice,
        weights: tuple[Tensor, Tensor],
    ) -> None:
        """Take away what masked features themselves would add with the masked scalars.

        ``weights``, ``(S_c, μ, m)``, are those of the masks in a slice with both its ends, summed
        over the permutations with each action.
        """
        inside = (c.mask_of_feature >= masks.start) & (c.mask_of_feature < masks.stop)
        places = torch.nonzero(inside)[:, 0]
        own = c.mask_of_feature[places] - masks.start
        with_v, with_d = (weight[:, own] for weight in weights)
        slopes = (with_v * part.coefficients[places]).sum(dim=2)
        slopes -= (with_d * part.differences[:, places]).sum(dim=2)
        rows = (self.jacobian[c.actions[:, places]] * slopes.unsqueeze(2)).sum(dim=0)
        change.index_add_(0, c.masks[masks][own], rows, alpha=-1.0)


def make_tile(
    expansion: Expansion,
    classes: list[MaskClass],
    query: Tensor,
    jacobian: Tensor,
    columns: slice,
) -> Tile:
    """Return the tile of the training geometries ``columns``.

    ``query`` is ``(D,)``, the scaled and centered features; ``jacobian`` ``(D, 3N)``, their own.
    """
    parts, products_v, products_d = [], [], []
    squared = projected = torch.zeros((), dtype=query.dtype, device=query.device)
    for c in classes:
        v = expansion.coefficients[c.features, columns]
        delta = query[c.actions].unsqueeze(2) - expansion.features[c.features, columns]
        part = ClassPart(v, delta, c.sum_features(delta.square()), c.sum_features(delta * v))
        squared = squared + c.of_permutations(part.squares.sum(dim=1))
        projected = projected + c.of_permutations(part.projections.sum(dim=1))
        rows = jacobian[c.actions]  # (S_c, D_c, 3N)
        products_v.append(v.T @ rows)  # (S_c, m, 3N)
        products_d.append(delta.transpose(1, 2) @ rows)
        parts.append(part)
    components = torch.cat([c.components for c in classes]).T  # (r, ΣS_c)
    products = [components @ torch.cat(found).transpose(0, 1) for found in (products_v, products_d)]
    epsilon = None if expansion.epsilon is None else expansion.epsilon[columns]
    minus_first, along = _weights(expansion.kernel, squared.clone(), projected, epsilon)
    return Tile(
        expansion,
        jacobian,
        tuple(parts),
        squared,
        projected,
        epsilon,
        torch.cat([products[0], -products[1]], dim=1),
        minus_first,
        along,
    )


def _weights(
    kernel: RadialKernel, squared: Tensor, projected: Tensor, epsilon: Tensor | None
) -> tuple[Tensor, Tensor]:
    minus_first, second = kernel.force_factors_(squared, torch.empty_like(squared))
    along = second * projected
    if epsilon is not None:
        along -= minus_first * epsilon
    return minus_first, along
