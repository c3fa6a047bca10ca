"""What some training geometries bring to the masked forces at one query."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from kraft.analysis.masking.classes import MaskClass
from kraft.kernels.radial import RadialKernel


class Buffers:
    """Arrays whose memory is used again: to touch fresh pages costs as much as the work on them.

    Parameters
    ----------
    like
        Has their type and device.
    """

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._held: dict[str, Tensor] = {}

    def __call__(self, name: str, *shape: int) -> Tensor:
        """Return an array of any content; it holds until the name is asked for again."""
        size = math.prod(shape)
        held = self._held.get(name)
        if held is None or held.numel() < size:
            held = self._held[name] = self._like.new_empty(size)
        return held[:size].view(shape)


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
        Of the model; ``(D, 3N)`` of the kernel features of the query.
    buffers
        Memory to work in.
    parts
        For each class.
    squared, projected
        ``(S, m)`` ``u²`` and ``δᵀv``.
    epsilon
        ``(m,)`` or None.
    products
        ``(2r, m, 3N)`` components of ``JᵀPv``, then those of ``-JᵀPδ``.
    weights_v, weights_d
        ``(S, m)`` factors of these two without any mask.
    """

    expansion: Expansion
    jacobian: Tensor
    buffers: Buffers
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
        both = both.reshape(-1, n_masks, width).transpose(0, 1)  # (k, 2r, m)
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
        rows = torch.einsum("adn,ad->dn", self.jacobian[c.actions[:, places]], slopes)
        chosen = c.masks[masks]
        if len(chosen) < len(places):  # masks of several features each
            members = rows.new_zeros(len(chosen), len(places))
            members[own, torch.arange(len(places), device=own.device)] = 1.0
            rows = members @ rows
        change[chosen] -= rows


def make_tile(
    expansion: Expansion,
    classes: list[MaskClass],
    query: Tensor,
    jacobian: Tensor,
    columns: slice,
    buffers: Buffers,
) -> Tile:
    """Return the tile of the training geometries ``columns``.

    ``query`` is ``(D,)``, the kernel features; ``jacobian`` ``(D, 3N)``, their own.
    The buffers are those of one tile at a time.
    """
    parts: list[ClassPart] = []
    components = torch.cat([c.components for c in classes]).T  # (r, ΣS_c)
    count, width = len(range(*columns.indices(expansion.features.shape[1]))), jacobian.shape[1]
    along_v, along_d = buffers("rows", 2, components.shape[1], count, width)
    squared = projected = torch.zeros((), dtype=query.dtype, device=query.device)
    first = 0
    for c in classes:
        v = expansion.coefficients[c.features, columns]
        delta = query[c.actions].unsqueeze(2) - expansion.features[c.features, columns]
        part = ClassPart(v, delta, c.sum_features(delta.square()), c.sum_features(delta * v))
        squared = squared + c.of_permutations(part.squares.sum(dim=1))
        projected = projected + c.of_permutations(part.projections.sum(dim=1))
        rows = jacobian[c.actions]  # (S_c, D_c, 3N)
        own = slice(first, first := first + c.n_actions)
        torch.matmul(v.T, rows, out=along_v[own])
        torch.matmul(-delta.transpose(1, 2), rows, out=along_d[own])
        parts.append(part)
    products = buffers("products", 2, len(components), count * width)
    torch.mm(components, along_v.flatten(1), out=products[0])
    torch.mm(components, along_d.flatten(1), out=products[1])
    epsilon = None if expansion.epsilon is None else expansion.epsilon[columns]
    with_v, with_d = _weights(expansion.kernel, squared.clone(), projected, epsilon)
    return Tile(
        expansion,
        jacobian,
        buffers,
        tuple(parts),
        squared,
        projected,
        epsilon,
        products.view(-1, count, width),
        with_v,
        with_d,
    )


def _weights(
    kernel: RadialKernel, squared: Tensor, projected: Tensor, epsilon: Tensor | None
) -> tuple[Tensor, Tensor]:
    minus_first, second = kernel.force_factors_(squared, torch.empty_like(squared))
    along = second * projected
    if epsilon is not None:
        along -= minus_first * epsilon
    return minus_first, along
