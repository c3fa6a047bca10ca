"""Averages over independent simulations as a function of time, for what is not stationary.

Such as the unfolding of a molecule under an external force (paper 003, Fig. 4): each time has its
mean over the replicas and the standard error of that mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kraft.core.errors import DataError, OptionError
from kraft.core.typing import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class ReplicaAverage:
    """Mean over replicas at each time.

    Attributes
    ----------
    times
        ``(T,)`` fs, or None where they are not known.
    mean, standard_error
        ``(T,)`` in the unit of the series; the error is the standard deviation over the replicas
        divided by the root of their number.
    counts
        ``(T,)`` replicas that have come to each time, at least 2.
    """

    times: FloatArray | None
    mean: FloatArray
    standard_error: FloatArray
    counts: IntArray


def average_over_replicas(
    series: Sequence[FloatArray], times: Sequence[FloatArray | None]
) -> ReplicaAverage:
    """Return the mean of series ``(T_r,)`` of replicas at each time.

    Replicas may end early; the average goes on as long as there are two.

    Parameters
    ----------
    series
        Of at least two replicas.
    times
        ``(T_r,)`` fs of each, or None for all of them.

    Raises
    ------
    OptionError
        When there is one replica.
    DataError
        When replicas have frames at different times.
    """
    if len(series) < 2:
        raise OptionError(f"Expected at least 2 replicas to average over, got {len(series)}.")
    n = sorted(len(each) for each in series)[-2]
    known = [None if each is None else each[:n] for each in times]
    longest = max((each for each in known if each is not None), key=len, default=None)
    for each in known:
        if (each is None) != (longest is None) or (
            each is not None
            and longest is not None
            and not np.allclose(each, longest[: len(each)], rtol=1e-6, atol=1e-6)
        ):
            raise DataError(
                "Expected replicas with frames at the same times, got different ones: no average "
                "over replicas as a function of time."
            )
    table = np.full((len(series), n), np.nan)
    for row, values in enumerate(series):
        table[row, : min(n, len(values))] = values[:n]
    counts = np.isfinite(table).sum(axis=0)
    spread = np.nanstd(table, axis=0, ddof=1)
    return ReplicaAverage(longest, np.nanmean(table, axis=0), spread / np.sqrt(counts), counts)


def between_replicas(series: Sequence[FloatArray]) -> float:
    """Return the standard error of the mean of all, by the spread of the replicas' means.

    It needs no assumption about how fast each forgets, but several replicas of about one length.

    Raises
    ------
    OptionError
        When there is one replica.
    """
    if len(series) < 2:
        raise OptionError(f"Expected at least 2 replicas to compare, got {len(series)}.")
    means = [float(np.mean(each)) for each in series]
    return float(np.std(means, ddof=1) / np.sqrt(len(means)))


def first_reached(values: FloatArray, level: float) -> float:
    """Return the (broken) number of the frame at which a series ``(T,)`` first reaches a level.

    Between frames it is taken as straight. NaN when the series stays on one side.

    Examples
    --------
    >>> first_reached(np.array([1.0, 2.0, 4.0, 3.0]), 3.0)
    1.5
    >>> first_reached(np.array([1.0, 2.0]), 3.0)
    nan
    """
    above = np.asarray(values, dtype=np.float64) - level
    if above[0] == 0.0:
        return 0.0
    crossed = np.flatnonzero(above * np.sign(above[0]) <= 0.0)
    if crossed.size == 0:
        return float("nan")
    after = int(crossed[0])
    return float(after - 1 + above[after - 1] / (above[after - 1] - above[after]))
