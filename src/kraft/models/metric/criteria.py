"""What a metric is judged by, with the derivatives by the entries of the kernel matrix.

Every criterion is a number a label, so that ``n`` times it is the negative logarithm of a
likelihood up to a constant: the profile marginal likelihood itself, or that of Gaussian errors with
the best variance, ``n ln(rms error)`` (`docs/theory.md`, eqs. 25 to 27).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from kraft.linalg import PanelCholesky


@dataclass(frozen=True, eq=False)
class Judgement:
    """A criterion's value and ``G = ∂value/∂A``, symmetric, of the labels' matrix ``A``.

    Attributes
    ----------
    value
        The criterion.
    cofactors
        ``(n, n)``.
    """

    value: float
    cofactors: Tensor


def likelihood(factor: PanelCholesky, labels: Tensor) -> Judgement:
    """Return the negative profile log marginal likelihood a label, and its derivatives.

    With ``β = A⁻¹ y`` and ``n`` labels, ``½ ln(yᵀβ / n) + ln|A| / 2n``: the variance of the process
    is the best one. Its derivative is ``(A⁻¹ - n β βᵀ / yᵀβ) / 2n``.
    """
    n = len(labels)
    solution = factor.solve(labels)
    fit = float(labels @ solution)
    value = 0.5 * math.log(fit / n) + 0.5 * factor.log_determinant() / n
    cofactors = factor.inverse()
    cofactors.addr_(solution, solution, alpha=-n / fit)
    return Judgement(value, cofactors.mul_(0.5 / n))


def leave_one_out(factor: PanelCholesky, labels: Tensor, n_geometries: int) -> Judgement:
    """Return ``ln`` of the root mean square leave-one-geometry-out error, and its derivatives.

    With ``P = A⁻¹``, the errors are ``e_i = P_ii⁻¹ β_i`` (`docs/theory.md`, eq. 12). From
    ``dP = -P dA P``, and with ``g`` the derivative by ``e`` and ``h_i = P_ii⁻¹ g_i``,

        G = Σ_i (P_{:i} h_i) (P_{:i} e_i)ᵀ - (P h) βᵀ,   made symmetric.
    """
    n = len(labels)
    block = n // n_geometries
    inverse = factor.inverse()
    solution = inverse @ labels
    own = inverse.view(n_geometries, block, n_geometries, block)
    own = own.diagonal(dim1=0, dim2=2).permute(2, 0, 1)  # (M, b, b)
    errors = torch.linalg.solve(own, solution.view(n_geometries, block, 1))[:, :, 0]
    mean_square = float(errors.square().mean())
    pulled = torch.linalg.solve(own, errors / (n * mean_square))  # h
    by_geometry = inverse.view(n, n_geometries, block)
    left = torch.einsum("nmr,mr->nm", by_geometry, pulled)
    right = torch.einsum("nmr,mr->nm", by_geometry, errors)
    cofactors = left @ right.T
    cofactors.addr_(left.sum(dim=1), solution, alpha=-1.0)
    return Judgement(0.5 * math.log(mean_square), 0.5 * (cofactors + cofactors.T))


def root_mean_square(errors: Tensor) -> tuple[float, Tensor]:
    """Return ``ln`` of the root mean square of errors ``(V, r)``, and its derivative by them."""
    mean_square = float(errors.square().mean())
    return 0.5 * math.log(mean_square), errors / (errors.numel() * mean_square)
