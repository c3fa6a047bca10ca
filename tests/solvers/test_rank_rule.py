import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraft.core.errors import OptionError
from kraft.solvers.rank_rule import RankRule, fit_rank_rule, rank_rule


@given(k_min=st.floats(5.0, 500.0), m=st.floats(0.5, 2.0), n=st.integers(5_000, 1_000_000))
def test_the_rank_has_the_least_cost(k_min, m, n):
    rule = RankRule(k_min, m)
    best = rule.rank(n)
    assert rule.cost(best, n) <= min(rule.cost(0.9 * best - 1, n), rule.cost(1.1 * best + 1, n))
    assert 1 <= best <= n


def test_values_of_the_paper():
    """Paper 004: 63000 labels, aspirin; the cost is that of the direct solution at k_min and n."""
    assert rank_rule(63_000) == round((100 * 63_000**2 / 2) ** (1 / 3))
    aspirin = RankRule(236, 1.14)
    assert aspirin.iterations(236, 31_400) == pytest.approx(31_400)
    assert aspirin.cost(236, 10**9) == pytest.approx(1.0)
    assert rank_rule(50, k_min=1000.0) == 50 and rank_rule(1) == 1


@given(k_min=st.floats(5.0, 500.0), m=st.floats(0.5, 2.0))
def test_a_fit_finds_the_rule(k_min, m):
    ranks = np.array([400.0, 800.0, 1600.0, 3200.0])
    steps = 20_000 * (k_min / ranks) ** m
    fitted = fit_rank_rule(ranks, steps, 20_000)
    assert (fitted.k_min, fitted.m) == (pytest.approx(k_min), pytest.approx(m))
    noisy = fit_rank_rule(ranks, steps * np.array([1.1, 0.9, 1.1, 0.9]), np.full(4, 20_000))
    assert noisy.m == pytest.approx(m, abs=0.15)


@pytest.mark.parametrize(
    "ranks, steps, message",
    [
        ([100], [10], "two or more"),
        ([100, 100], [10, 9], "two or more"),
        ([100, 200], [10], "two or more"),
        ([100, 200], [10, 11], "do not fall"),
        ([100, 200], [10, 0], "positive"),
    ],
)
def test_measurements_that_fit_no_rule(ranks, steps, message):
    with pytest.raises(OptionError, match=message):
        fit_rank_rule(ranks, steps, 1000)


@pytest.mark.parametrize("k_min, m", [(0.0, 1.0), (100.0, -1.0), (np.inf, 1.0), (np.nan, 1.0)])
def test_parameters_must_be_positive(k_min, m):
    with pytest.raises(OptionError, match="positive"):
        RankRule(k_min, m)
