"""Averages over replicas as a function of time."""

from __future__ import annotations

import numpy as np
import pytest

from kraft.analysis.trajectories import average_over_replicas, between_replicas, first_reached
from kraft.core.errors import DataError, OptionError

TIMES = np.array([0.0, 2.0, 4.0, 6.0])


def test_mean_and_standard_error_at_each_time():
    table = np.random.default_rng(0).normal(size=(5, 4)) + np.arange(4)
    found = average_over_replicas(list(table), [TIMES] * 5)
    np.testing.assert_allclose(found.mean, table.mean(axis=0))
    np.testing.assert_allclose(found.standard_error, table.std(axis=0, ddof=1) / np.sqrt(5))
    np.testing.assert_array_equal(found.times, TIMES)
    assert found.counts.tolist() == [5] * 4
    assert between_replicas(list(table)) == pytest.approx(
        table.mean(axis=1).std(ddof=1) / np.sqrt(5)
    )


def test_replicas_that_ended_early_count_while_they_are_there():
    series = [np.array([1.0, 2.0]), np.array([3.0, 4.0, 5.0]), np.array([2.0, 6.0, 9.0, 7.0])]
    found = average_over_replicas(series, [TIMES[: len(each)] for each in series])
    np.testing.assert_allclose(found.mean, [2.0, 4.0, 7.0])
    assert found.counts.tolist() == [3, 3, 2] and found.times.tolist() == [0.0, 2.0, 4.0]
    assert average_over_replicas(series, [None] * 3).times is None


def test_replicas_at_different_times_have_no_average():
    series = [np.zeros(4)] * 2
    for other in (2.0 * TIMES, None):
        with pytest.raises(DataError, match="same times"):
            average_over_replicas(series, [TIMES, other])
    with pytest.raises(OptionError, match="at least 2"):
        average_over_replicas(series[:1], [TIMES])
    with pytest.raises(OptionError, match="at least 2"):
        between_replicas(series[:1])


@pytest.mark.parametrize(
    ("values", "level", "expected"),
    [
        ([0.0, 1.0, 2.0], 1.5, 1.5),
        ([3.0, 1.0, 2.0], 2.0, 0.5),  # from above
        ([1.0, 1.0, 1.0], 1.0, 0.0),
        ([0.0, 1.0, 0.0], 1.0, 1.0),
        ([0.0, 1.0], 1.5, np.nan),
    ],
)
def test_when_a_level_is_first_reached(values, level, expected):
    assert first_reached(np.array(values), level) == pytest.approx(expected, nan_ok=True)
