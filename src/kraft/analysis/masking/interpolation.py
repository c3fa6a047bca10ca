"""Sums over permutations that act on a mask alike, interpolated in the mask's square ``t``.

Let ``Q_a`` be the permutations with the action ``a`` on a class of features. For the masks in that
class ``t`` and ``w`` depend on ``a`` and ``j`` only, so their forces are, apart from masked rows,

    Σ_{a,j} [ f_aj(t) + w g_aj(t) ],
    f_aj(t) = Σ_{q in Q_a} [ c1(u² - t) JᵀP_q v_j - (c2(u² - t) δᵀv_j - c1(u² - t) ε_j) JᵀP_q δ ],
    g_aj(t) = Σ_{q in Q_a} c2(u² - t) JᵀP_q δ,      c1 = -first, c2 = second,

functions of one variable, analytic up to the smallest ``u²`` of ``Q_a``. A Chebyshev interpolation
with ``K`` nodes on the range of ``t`` errs by some ``ρ^-K``, where ``ρ = x + √(x² - 1)`` belongs to
the place ``x`` of that singularity, the range being mapped to ``[-1, 1]`` (Trefethen, Approximation
Theory and Approximation Practice, theorem 8.2). ``K`` evaluations take the place of one for each
mask.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kraft.analysis.masking.classes import MaskClass
from kraft.analysis.masking.tile import ClassPart, Tile

ERROR = 1e-11
"""What the interpolation may err by, relative to what the masks change."""

MIN_PERMUTATIONS = 4
"""Permutations with each action from which on the interpolation can pay."""

_TINY = 1e-300


def n_nodes(tile: Tile, c: MaskClass, part: ClassPart) -> int | None:
    """Return the nodes that interpolation needs, or None where evaluating every mask is cheaper."""
    if c.permutations.shape[1] < MIN_PERMUTATIONS:
        return None
    smallest = tile.squared[c.permutations].amin(dim=1)  # (S_c, m)
    low, high = part.squares.amin(dim=1), part.squares.amax(dim=1)
    place = float(((2.0 * smallest - high - low) / (high - low).clamp_min(_TINY)).min())
    if not place > 1.0:  # neither for what is not finite
        return None
    growth = math.log(place + math.sqrt(place * place - 1.0))
    wanted = 1 + math.ceil(-math.log(ERROR) / growth)
    return wanted if 3 * wanted < 2 * len(c.masks) else None


def add_interpolated(change: Tensor, c: MaskClass, tile: Tile, part: ClassPart, count: int) -> None:
    """Add the tile's contributions to the changes ``(O, 3N)`` by the masks of a class."""
    values = tile.squared.new_tensor([math.pi * (k + 0.5) / count for k in range(count)])
    transform = torch.cos(values[:, None] * torch.arange(count, device=values.device)) * 2.0 / count
    transform[:, 0] *= 0.5  # (node, degree): from values to coefficients
    low, high = part.squares.amin(dim=1), part.squares.amax(dim=1)  # (S_c, m)
    half, middle = 0.5 * (high - low), 0.5 * (high + low)
    nodes = middle[:, None] + half[:, None] * torch.cos(values)[:, None]  # (S_c, K, m)
    minus_first, second = tile.factors(tile.squared[:, None] - c.of_permutations(nodes))
    along = second * tile.projected[:, None]
    if tile.epsilon is not None:
        along -= minus_first * tile.epsilon
    sums = [
        torch.einsum("akm,ki->aim", c.sum_permutations(w), transform)
        for w in (minus_first, along, second)
    ]
    differences = (minus_first - tile.weights_v[:, None], along - tile.weights_d[:, None], second)
    parts = [_coefficients(c, w, transform) for w in differences]  # (m, S_c K, r)
    rank = parts[2].shape[2]
    plain = torch.cat(parts[:2], dim=2) @ tile.products  # (m, S_c K, 3N)
    projected = parts[2] @ tile.products[:, rank:]
    scaled = (part.squares - middle[:, None]) / half.clamp_min(_TINY)[:, None]
    polynomials = _polynomials(scaled, count)
    with_w = polynomials * part.projections[:, None]  # (S_c, K, O_c, m)
    for left, right, sign in ((polynomials, plain, 1.0), (with_w, projected, -1.0)):
        matrix = left.permute(2, 3, 0, 1).reshape(len(c.masks), -1)
        change.index_add_(0, c.masks, matrix @ right.flatten(0, 1), alpha=sign)
    at_v, at_d, at_w = (torch.einsum("aiom,aim->aom", polynomials, s) for s in sums)
    everything = slice(0, len(c.masks))
    tile.remove_rows(change, c, part, everything, (at_v, at_d - at_w * part.projections))


def _coefficients(c: MaskClass, weights: Tensor, transform: Tensor) -> Tensor:
    """Return Chebyshev coefficients ``(m, S_c K, r)`` of weights ``(S, K, m)`` at the nodes."""
    chosen = weights[c.permutations].flatten(2)  # (S_c, S/S_c, K m)
    values = (c.basis @ chosen).reshape(*c.basis.shape[:2], *weights.shape[1:])  # (S_c, r, K, m)
    return torch.einsum("arkm,ki->mair", values, transform).flatten(1, 2)


def _polynomials(x: Tensor, count: int) -> Tensor:
    """Return the Chebyshev polynomials of degrees ``0 .. count-1`` at ``(S_c, O_c, m)`` values."""
    result = x.new_empty(x.shape[0], count, *x.shape[1:])
    result[:, 0] = 1.0
    if count > 1:
        result[:, 1] = x
    for degree in range(2, count):
        torch.mul(result[:, degree - 1], x, out=result[:, degree])
        result[:, degree] *= 2.0
        result[:, degree] -= result[:, degree - 2]
    return result
