"""Choosing geometries one by one, each the one that explains most given those before it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from kraft.core.errors import OptionError
from kraft.core.progress import Progress, silent
from kraft.core.typing import FloatArray, IntArray
from kraft.models.acquisition.pool_covariance import PoolCovariance

LEAST_NOISE = 1e-8
"""Variance of a label, relative to the pool's mean variance, below which there is rounding only."""

LEAST_SHARE = 1e-3
"""Frames with less of the pool's mean variance than this count as if they had so much."""


def greedy_choice(
    covariance: Tensor,
    n_geometries: int,
    n: int,
    noise: float,
    errors: Tensor | None = None,
    progress: Progress = silent,
) -> tuple[IntArray, FloatArray]:
    """Choose geometries one by one, each the one that explains most given those before it.

    Parameters
    ----------
    covariance
        ``(P R, P R)`` joint covariance of ``R`` forces of each geometry.
    n_geometries, n
        ``P``, and how many to choose.
    noise
        Variance of a label.
    errors
        ``(P,)`` how much the share of its variance counts that is removed from each geometry; all
        count alike when not given.
    progress
        Told of every choice.

    Returns
    -------
    indices, gains
        ``(n,)`` each; a gain is the weighted mean over geometries of the share of their variance
        that is removed.
    """
    variances = covariance.diagonal().view(n_geometries, -1).sum(dim=1)
    mean = float(variances.mean())
    if not mean > 0.0:
        raise OptionError(
            "The model is sure of every frame of the pool: its predicted variances are all zero, "
            "so no choice can be made by them. Train with a larger regularization."
        )
    weights = 1.0 / variances.clamp_min(LEAST_SHARE * mean)
    if errors is not None:
        weights = weights * errors
    floor = LEAST_NOISE * mean * n_geometries / len(covariance)
    pool = PoolCovariance(covariance, n_geometries, max(noise, floor), weights)
    total = pool.weighted_sum
    left = torch.ones(n_geometries, dtype=torch.bool, device=covariance.device)
    indices, gains = np.empty(n, dtype=np.int64), np.empty(n)
    for step in range(n):
        progress("choosing frames", step, n)
        gain = pool.gains().masked_fill(~left, -torch.inf)
        best = int(gain.argmax())
        indices[step], gains[step] = best, float(gain[best]) / total
        left[best] = False
        pool.condition(best)
    progress("choosing frames", n, n)
    return indices, gains
