from __future__ import annotations

import pytest

from kraft.analysis.preconditioner_study.rules import (
    PAPER_RULES,
    RulePoint,
    best_point,
    compare_rules,
    fit_rule,
)
from kraft.solvers.rank_rule import RankRule

N = 20_000
RANKS = (100, 300, 900, 2700)


def points(rule: RankRule) -> list[RulePoint]:
    """Points that follow a rule exactly, with the paper's run time."""
    return [RulePoint(k, round(rule.iterations(k, N)), rule.cost(k, N)) for k in RANKS]


@pytest.mark.parametrize("molecule", ["ethanol", "aspirin", "default"])
def test_fit_finds_the_rule_that_made_the_points(molecule):
    rule = PAPER_RULES[molecule]
    fitted = fit_rule(points(rule), N)
    assert fitted is not None
    assert fitted.k_min == pytest.approx(rule.k_min, rel=0.02)
    assert fitted.m == pytest.approx(rule.m, rel=0.01)


def test_no_fit_from_one_rank_or_rising_iterations():
    assert fit_rule([], N) is None
    assert fit_rule([RulePoint(100, 50, 1.0)] * 2, N) is None
    assert fit_rule([RulePoint(100, 50, 1.0), RulePoint(200, 60, 1.0)], N) is None


def test_predictions_are_interpolated_between_measured_ranks():
    measured = [RulePoint(100, 9, 10.0), RulePoint(200, 9, 4.0), RulePoint(400, 9, 8.0)]
    rules = {"default": PAPER_RULES["default"], "specific": RankRule(k_min=1e-3, m=1.0)}
    found = {each.rule: each for each in compare_rules(measured, 15_000, rules)}
    assert best_point(measured).rank == 200
    assert found["1 %"].rank == 150
    assert found["1 %"].seconds == pytest.approx(7.0)
    assert found["1 %"].ratio == pytest.approx(7.0 / 4.0)
    assert found["default"].rank == 2241 and found["default"].ratio is None
    assert found["specific"].rank == 48 and found["specific"].seconds is None
