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
from kraft.analysis.masking.tile import Buffers, ClassPart, Tile

ERROR = 1e-8
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
    angles = (torch.arange(count, device=change.device, dtype=change.dtype) + 0.5) * (
        math.pi / count
    )
    low, high = part.squares.amin(dim=1), part.squares.amax(dim=1)  # (S_c, m)
    half, middle = 0.5 * (high - low), 0.5 * (high + low)
    nodes = middle[:, None] + half[:, None] * torch.cos(angles)[:, None]  # (S_c, K, m)
    minus_first, second = tile.factors(tile.squared[:, None] - c.of_permutations(nodes))
    along = second * tile.projected[:, None]
    if tile.epsilon is not None:
        along -= minus_first * tile.epsilon
    sums = [c.sum_permutations(w) for w in (minus_first, along, second)]  # (S_c, K, m)
    differences = (minus_first - tile.weights_v[:, None], along - tile.weights_d[:, None], second)
    rank = len(tile.expansion.basis)
    of_v, of_d = tile.products[:rank].transpose(0, 1), tile.products[rank:].transpose(0, 1)
    plain, projected = tile.buffers("sums", 2, len(of_v), c.n_actions * count, of_v.shape[2])
    into = ((plain, of_v, 0.0), (plain, of_d, 1.0), (projected, of_d, 0.0))
    for w, (out, products, beta) in zip(differences, into, strict=True):
        out.baddbmm_(_components(tile, c, w), products, beta=beta)
    scaled = (part.squares - middle[:, None]) / half.clamp_min(_TINY)[:, None]
    cardinal = _cardinal_functions(tile.buffers, scaled, angles).transpose(0, 1)
    shape = cardinal.shape  # (S_c, K, O_c, m)
    matrix = tile.buffers("matrix", shape[2], shape[3], shape[0], shape[1])
    rising = matrix.permute(2, 3, 0, 1)
    rising.copy_(cardinal)
    found = matrix.flatten(1) @ plain.flatten(0, 1)
    torch.mul(cardinal, part.projections[:, None], out=rising)
    found.addmm_(matrix.flatten(1), projected.flatten(0, 1), alpha=-1.0)
    change.index_add_(0, c.masks, found)
    at_v, at_d, at_w = (_at_masks(cardinal, values) for values in sums)
    everything = slice(0, len(c.masks))
    tile.remove_rows(change, c, part, everything, (at_v, at_d - at_w * part.projections))


def _components(tile: Tile, c: MaskClass, weights: Tensor) -> Tensor:
    """Return components ``(m, S_c K, r)`` in the group's basis of weights ``(S, K, m)``."""
    rank, (count, m) = c.basis.shape[1], weights.shape[1:]
    chosen = tile.buffers("chosen", len(weights), count * m)
    torch.index_select(weights.flatten(1), 0, c.permutations.flatten(), out=chosen)
    values = tile.buffers("values", c.n_actions, rank, count * m)
    torch.bmm(c.basis, chosen.view(c.n_actions, -1, count * m), out=values)
    found = tile.buffers("components", m, c.n_actions, count, rank)
    found.copy_(values.view(c.n_actions, rank, count, m).permute(3, 0, 2, 1))
    return found.flatten(1, 2)


def _cardinal_functions(buffers: Buffers, x: Tensor, angles: Tensor) -> Tensor:
    """Return the polynomials ``(K, ...)`` that are 1 at one node ``cos(angle)``, 0 at the others.

    They are sums of Chebyshev polynomials: the discrete cosine transform of unit vectors.
    """
    count = len(angles)
    chebyshev = buffers("chebyshev", count, *x.shape)
    chebyshev[0] = 1.0
    if count > 1:
        chebyshev[1] = x
    for degree in range(2, count):
        torch.mul(chebyshev[degree - 1], x, out=chebyshev[degree])
        chebyshev[degree] *= 2.0
        chebyshev[degree] -= chebyshev[degree - 2]
    transform = torch.cos(angles[:, None] * torch.arange(count, device=x.device)) * 2.0 / count
    transform[:, 0] *= 0.5  # (node, degree)
    result = buffers("cardinal", count, *x.shape)
    torch.mm(transform, chebyshev.flatten(1), out=result.flatten(1))
    return result


def _at_masks(cardinal: Tensor, values: Tensor) -> Tensor:
    """Return values ``(S_c, K, m)`` at nodes interpolated at the masks, ``(S_c, O_c, m)``."""
    result = cardinal[:, 0] * values[:, 0, None]
    for node in range(1, cardinal.shape[1]):
        result.addcmul_(cardinal[:, node], values[:, node, None])
    return result
