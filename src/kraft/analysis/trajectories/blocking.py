"""Standard errors of means of correlated series: blocking.

Neighbors of a series are averaged again and again; the variance of the mean grows with the length
of the blocks until they are independent (Flyvbjerg and Petersen, J. Chem. Phys. 91, 461 (1989)).
The blocks taken are the shortest of length ``B`` with ``B³ > 2 n (s_B / s_1)⁴``, where the error
that correlations leave is as small as the statistical error of the error itself (Lee, Conduit,
Nemec, López Ríos and Drummond, Phys. Rev. E 83, 066706 (2011)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from kraft.core.errors import OptionError
from kraft.core.typing import FloatArray, IntArray

MIN_BLOCKS = 8
"""Where no length of blocks will do, the largest error of at least as many blocks is taken."""


@dataclass(frozen=True, eq=False)
class BlockedMean:
    """A mean and its standard error.

    Attributes
    ----------
    mean, standard_error
        In the unit of the series; the error is NaN for fewer than four values.
    n
        Length of the series.
    inefficiency
        How many neighboring values are worth one independent one.
    converged
        Whether blocks became independent; otherwise the series is too short and the error too
        small.
    block_lengths, errors
        ``(L,)`` standard error by length of the blocks, as it would be from that level.
    """

    mean: float
    standard_error: float
    n: int
    inefficiency: float
    converged: bool
    block_lengths: IntArray
    errors: FloatArray

    @property
    def n_effective(self) -> float:
        """Number of independent values; infinite where all blocks have the same mean."""
        return self.n / self.inefficiency if self.inefficiency != 0.0 else float("inf")


def blocked_mean(series: ArrayLike) -> BlockedMean:
    """Return mean and standard error of a correlated, stationary series ``(T,)``.

    Raises
    ------
    OptionError
        When it is empty, not one-dimensional or not finite.
    """
    values = np.asarray(series, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise OptionError(f"Expected a series (T,) of finite numbers, got shape {values.shape}.")
    mean, n = float(values.mean()), len(values)
    if n < 4:
        return BlockedMean(
            mean, float("nan"), n, float("nan"), False, np.ones(1, np.int64), np.full(1, np.nan)
        )
    lengths, errors = _levels(values - mean)
    if errors[0] == 0.0:
        return BlockedMean(mean, 0.0, n, 1.0, True, lengths, errors)
    growth = errors / errors[0]
    enough = np.flatnonzero(lengths.astype(np.float64) ** 3 > 2.0 * n * growth**4)
    usable = np.flatnonzero(lengths <= n // MIN_BLOCKS)
    converged = bool(enough.size and usable.size and enough[0] <= usable[-1])
    if converged:
        error = float(errors[enough[0]])
    else:
        error = float(errors[usable].max() if usable.size else errors.max())
    inefficiency = (error / float(errors[0])) ** 2
    return BlockedMean(mean, error, n, inefficiency, converged, lengths, errors)


def _levels(centered: FloatArray) -> tuple[IntArray, FloatArray]:
    """Return block lengths and standard errors of all levels."""
    lengths, errors, length = [], [], 1
    while len(centered) >= 2:
        lengths.append(length)
        errors.append(float(centered.std(ddof=1)) / np.sqrt(len(centered)))
        pairs = len(centered) // 2
        centered = 0.5 * (centered[0 : 2 * pairs : 2] + centered[1 : 2 * pairs : 2])
        length *= 2
    return np.array(lengths), np.array(errors)


def pooled_mean(series: Sequence[ArrayLike], *, independent: bool = True) -> BlockedMean:
    """Return the mean of several series and its standard error.

    Parameters
    ----------
    series
        ``(T,)`` each.
    independent
        They come from independent simulations, of any lengths; errors then add up as squares.
        Otherwise, as for the beads of a path integral, they have one length and are averaged
        before blocking.

    Raises
    ------
    OptionError
        As :func:`blocked_mean`, and where lengths should be equal and are not.
    """
    if not series:
        raise OptionError("Expected at least one series.")
    if not independent:
        lengths = {np.shape(each) for each in series}
        if len(lengths) != 1:
            raise OptionError(f"Expected series of one length, got shapes {sorted(lengths)}.")
        return blocked_mean(np.mean([np.asarray(each, np.float64) for each in series], axis=0))
    parts = [blocked_mean(each) for each in series]
    if len(parts) == 1:
        return parts[0]
    sizes = np.array([part.n for part in parts], dtype=np.float64)
    shares = sizes / sizes.sum()
    mean = float(shares @ [part.mean for part in parts])
    error = float(np.sqrt((shares**2) @ [part.standard_error**2 for part in parts]))
    naive = float(np.sqrt((shares**2) @ [part.errors[0] ** 2 for part in parts]))
    return BlockedMean(
        mean,
        error,
        int(sizes.sum()),
        (error / naive) ** 2 if naive > 0.0 else 1.0,
        all(part.converged for part in parts),
        np.ones(1, np.int64),
        np.array([naive]),
    )
