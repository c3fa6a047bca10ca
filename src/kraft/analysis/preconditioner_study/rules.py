"""How many columns a preconditioner should have: rules against measured run times.

The rule of thumb of paper 004 (eqs. 7 and 8) assumes ``#/n = (k_min/k)^m`` iterations and a build
that costs ``k² n``; it is good when its prediction costs little more than the best measured rank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kraft.core.errors import OptionError
from kraft.solvers.rank_rule import RankRule, fit_rank_rule

PAPER_RULES: Mapping[str, RankRule] = {
    "default": RankRule(k_min=100.0, m=1.0),
    "ethanol": RankRule(k_min=10.0, m=0.87),
    "uracil": RankRule(k_min=32.0, m=1.07),
    "toluene": RankRule(k_min=44.0, m=1.01),
    "aspirin": RankRule(k_min=236.0, m=1.14),
    "azobenzene": RankRule(k_min=62.0, m=1.02),
    "catcher": RankRule(k_min=316.0, m=1.02),
    "nanotube": RankRule(k_min=89.0, m=0.73),
}
"""Table I of paper 004, measured at ``n = 31 400``."""


@dataclass(frozen=True)
class RulePoint:
    """A rank and what a training with it takes.

    Attributes
    ----------
    rank
        Columns of the preconditioner.
    iterations
        Until convergence.
    seconds
        To build the preconditioner and to iterate.
    """

    rank: int
    iterations: int
    seconds: float


@dataclass(frozen=True)
class Prediction:
    """What a rule predicts, and what it costs.

    Attributes
    ----------
    rule
        Name of the rule.
    rank
        That it predicts.
    seconds
        Interpolated linearly between the measured ranks, as in the paper; None outside them.
    ratio
        Of ``seconds`` to the shortest measured time; None likewise.
    """

    rule: str
    rank: int
    seconds: float | None
    ratio: float | None


def fit_rule(points: Sequence[RulePoint], n_labels: int) -> RankRule | None:
    """Return the rule that the converged points follow.

    None for fewer than two ranks, and where more columns do not mean fewer iterations.
    """
    if len({point.rank for point in points}) < 2:
        return None
    try:
        return fit_rank_rule(
            np.array([point.rank for point in points]),
            np.array([point.iterations for point in points]),
            n_labels,
        )
    except OptionError:
        return None


def best_point(points: Sequence[RulePoint]) -> RulePoint:
    """Return the fastest of the points."""
    return min(points, key=lambda point: point.seconds)


def compare_rules(
    points: Sequence[RulePoint], n_labels: int, rules: Mapping[str, RankRule]
) -> tuple[Prediction, ...]:
    """Compare rules, and 1 % of the columns, with the fastest measured rank (004, figure 7).

    Parameters
    ----------
    points
        Converged measurements, one for each rank.
    n_labels
        ``n = 3NM``.
    rules
        By name.
    """
    ordered = sorted(points, key=lambda point: point.rank)
    ranks = [point.rank for point in ordered]
    seconds = [point.seconds for point in ordered]
    predicted = {name: rule.rank(n_labels) for name, rule in rules.items()}
    predicted["1 %"] = max(1, round(0.01 * n_labels))
    results = []
    for name, rank in predicted.items():
        if not ranks[0] <= rank <= ranks[-1]:
            results.append(Prediction(name, rank, None, None))
            continue
        expected = float(np.interp(rank, ranks, seconds))
        results.append(Prediction(name, rank, expected, expected / min(seconds)))
    return tuple(results)
