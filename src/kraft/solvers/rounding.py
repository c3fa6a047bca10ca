"""How much regularization a system needs to be solved in double precision.

Rounding changes ``A`` by about ``ε ‖A‖`` and so does not know its smaller eigenvalues: ``A + Λ``
stays positive definite, and a preconditioner of it too, only while ``Λ`` is larger. A solution
``c`` has a residual of about ``ε ‖A‖ |c|``, and ``|Λ c| / |y|`` is the share of the labels that is
not fitted. With ``Λ = λ W`` both want

    λ >= ε ‖W^{-1/2} A W^{-1/2}‖ max(1, |Λ c| / (τ |y|)),

``τ`` being the relative residual that is tolerated. The norm grows with the number of labels:
geometries that are alike add up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from kraft.core.errors import IllConditionedError
from kraft.linalg.arrays import host
from kraft.linalg.operators import SymmetricOperator
from kraft.solvers.dense import TOLERATED_RESIDUAL

SAMPLED_BLOCKS = 16
"""Diagonal blocks whose norms are computed; those of one molecule differ little."""

RAISE = 10.0
"""A regularization is raised by this factor at least, and by powers of it."""

MOST_RAISES = 6
"""A regularization is raised as often at most."""

_Result = TypeVar("_Result")


def norm_bound(operator: SymmetricOperator, weights: Tensor | float = 1.0) -> float:
    """Return an upper bound of the largest eigenvalue of ``W^{-1/2} A W^{-1/2}``.

    ``A`` is positive semi-definite, so the norms of its diagonal blocks add up to a bound, which is
    reached where the geometries are alike. Those of some blocks, evenly spaced, stand for all.

    Parameters
    ----------
    operator
        ``A``.
    weights
        ``W``, a number or one number a row.
    """
    n_blocks, size = operator.size // operator.block_size, operator.block_size
    chosen = np.unique(np.linspace(0, n_blocks - 1, SAMPLED_BLOCKS).astype(np.int64))
    norms = []
    for index in chosen:
        block = host(operator.principal(np.array([index])))
        if isinstance(weights, Tensor):
            roots = np.sqrt(host(weights[index * size : (index + 1) * size]))
        else:
            roots = np.full(size, math.sqrt(weights))
        with np.errstate(all="ignore"):
            block = block / roots / roots[:, None]
        finite = bool(np.isfinite(block).all())
        norms.append(float(np.linalg.norm(block, 2)) if finite else math.nan)
    return n_blocks * sum(norms) / len(norms)


def shortfall(norm: float, regularization: float, unfitted: float = 0.0) -> float:
    """Return the factor by which a regularization ``λ`` is too small; at most 1 if it is not.

    Parameters
    ----------
    norm
        ``‖W^{-1/2} A W^{-1/2}‖``.
    regularization
        ``λ``.
    unfitted
        ``|Λ c| / |y|`` of a solution, or of one of a part of the labels.
    """
    if not regularization > 0.0:
        return math.inf
    epsilon = torch.finfo(torch.float64).eps
    return epsilon * norm / regularization * max(1.0, unfitted / TOLERATED_RESIDUAL)


def by_raising(attempt: Callable[[float], _Result]) -> tuple[_Result, float]:
    """Attempt a solution with more and more regularization until rounding lets it succeed.

    A step is as large as the shortfall that a failure tells of.

    Parameters
    ----------
    attempt
        Is called with the factor for the regularization, 1 at first.

    Returns
    -------
    result, factor
        What the attempt returned, and the factor of that attempt. Whoever calls this tells of a
        factor that is not 1.

    Raises
    ------
    IllConditionedError
        That of the last attempt.
    """
    factor = 1.0
    for _ in range(MOST_RAISES):
        try:
            return attempt(factor), factor
        except IllConditionedError as error:
            steps = math.log(max(error.shortfall, RAISE)) / math.log(RAISE)
            factor *= RAISE ** math.ceil(steps - 1e-9)
    return attempt(factor), factor
