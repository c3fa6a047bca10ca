"""Whether a series has come to equilibrium: cumulative means, and a test of their drift."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from kraft.analysis.trajectories.blocking import BlockedMean, blocked_mean
from kraft.core.errors import OptionError
from kraft.core.typing import FloatArray

EARLY, LATE = 0.2, 0.5
"""Shares of the series at its start and end whose means are compared."""

P_LIMIT = 0.05
_DISCARDS = np.arange(0.0, 0.55, 0.1)
_MIN_LENGTH = 40


@dataclass(frozen=True, eq=False)
class Stationarity:
    """Comparison of the mean of the first fifth of a series with that of its last half.

    After Geweke (in Bayesian Statistics 4, Oxford 1992), with blocked standard errors.

    Attributes
    ----------
    early, late
        The two means.
    z
        Their difference in standard errors.
    p_value
        Probability of such a difference in a stationary series.
    discard
        The smallest share of the series, of 0, 0.1 ... 0.5, without which the rest passes; None
        when none does.
    """

    early: BlockedMean
    late: BlockedMean
    z: float
    p_value: float
    discard: float | None

    @property
    def stationary(self) -> bool:
        """Whether the test finds no drift; it cannot see motions slower than the series."""
        return self.p_value >= P_LIMIT


def cumulative_mean(series: ArrayLike) -> FloatArray:
    """Return the mean of all values so far, ``(T,)``; the cumulative potential energy of paper 000.

    Examples
    --------
    >>> cumulative_mean([1.0, 3.0, 2.0])
    array([1., 2., 2.])
    """
    values = np.asarray(series, dtype=np.float64)
    first = values[0] if values.size else 0.0  # energies are large numbers with small differences
    means: FloatArray = first + np.cumsum(values - first) / np.arange(1, len(values) + 1)
    return means


def stationarity(series: ArrayLike) -> Stationarity:
    """Test whether a series ``(T,)`` is stationary.

    Raises
    ------
    OptionError
        When it has fewer than 40 values or is not finite.
    """
    values = np.asarray(series, dtype=np.float64)
    if values.ndim != 1 or len(values) < _MIN_LENGTH or not np.isfinite(values).all():
        raise OptionError(
            f"Expected a series of at least {_MIN_LENGTH} finite numbers for the test of "
            f"stationarity, got shape {values.shape}."
        )
    early, late, z, p_value = _compare(values)
    discard = None
    for share in _DISCARDS:
        rest = values[int(share * len(values)) :]
        if len(rest) >= _MIN_LENGTH // 2 and _compare(rest)[3] >= P_LIMIT:
            discard = float(round(share, 1))
            break
    return Stationarity(early, late, z, p_value, discard)


def _compare(values: FloatArray) -> tuple[BlockedMean, BlockedMean, float, float]:
    n = len(values)
    early = blocked_mean(values[: max(4, int(EARLY * n))])
    late = blocked_mean(values[n - int(LATE * n) :])
    spread = float(np.hypot(early.standard_error, late.standard_error))
    gap = early.mean - late.mean
    z = 0.0 if gap == 0.0 else gap / spread if spread > 0.0 else float(np.copysign(np.inf, gap))
    return early, late, z, float(2.0 * ndtr(-abs(z)))
