"""How many columns a preconditioner should have, paper 004, section IV C.

The number of iterations falls with the rank as ``#/n = (k_min / k)^m``, whatever the size ``n``.
Weighing it against the work of building the preconditioner gives the rank of least run time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from kraft.core.errors import OptionError


@dataclass(frozen=True)
class RankRule:
    """The rule of thumb for the rank.

    Parameters
    ----------
    k_min
        Rank at which the iteration takes as many steps as there are unknowns; grows with the
        complexity of the molecule. The paper's Table I: ethanol 10, uracil 32, toluene 44,
        azobenzene 62, nanotube 89, aspirin 236, catcher 316.
    m
        How fast the number of steps falls with the rank; close to 1.
    """

    k_min: float = 100.0
    m: float = 1.0

    def __post_init__(self) -> None:
        if not (self.k_min > 0.0 and self.m > 0.0 and np.isfinite([self.k_min, self.m]).all()):
            raise OptionError(
                f"k_min and m of the rank rule must be positive numbers, but are {self.k_min:g} "
                f"and {self.m:g}. Give 100 and 1, say, or let them be measured."
            )

    def iterations(self, rank: float, n: int) -> float:
        """Return the expected number of steps at a rank, for ``n`` unknowns."""
        return float(n * (self.k_min / rank) ** self.m)

    def cost(self, rank: float, n: int) -> float:
        """Return the run time at a rank, in units of the direct solution's (eq. 7)."""
        return float((self.k_min / rank) ** self.m + (rank / n) ** 2)

    def rank(self, n: int) -> int:
        """Return the rank of least run time for ``n`` unknowns (eq. 8), from 1 to ``n``."""
        exponent = 1.0 / (2.0 + self.m)
        best = (self.k_min**self.m * self.m * float(n) ** 2 / 2.0) ** exponent
        return int(min(max(round(best), 1), n))


def rank_rule(n: int, *, k_min: float = 100.0, m: float = 1.0) -> int:
    """Return the rank that the rule of thumb gives for ``n`` unknowns, paper 004, eq. 8.

    >>> rank_rule(63000), rank_rule(63000, k_min=236, m=1.14)
    (5833, 6929)
    """
    return RankRule(k_min, m).rank(n)


def fit_rank_rule(ranks: ArrayLike, iterations: ArrayLike, n: ArrayLike) -> RankRule:
    """Fit the rule to measured numbers of iterations, by least squares of the logarithms.

    Parameters
    ----------
    ranks, iterations
        ``(P,)`` pairs of rank and number of steps to convergence.
    n
        Number of unknowns, one for all pairs or one a pair.

    Raises
    ------
    OptionError
        With fewer than two distinct ranks, numbers that are not positive, or steps that do not
        fall with the rank.
    """
    rank, steps = np.asarray(ranks, dtype=np.float64), np.asarray(iterations, dtype=np.float64)
    unknowns = np.broadcast_to(np.asarray(n, dtype=np.float64), rank.shape)
    if rank.shape != steps.shape or len(np.unique(rank)) < 2:
        raise OptionError(
            "A rank rule needs the iterations at two or more different ranks, but came with "
            f"{len(np.unique(rank))} ranks and {steps.size} numbers of iterations."
        )
    if min(rank.min(), steps.min(), unknowns.min()) <= 0.0:
        raise OptionError("Ranks, iterations and sizes of a rank rule must be positive.")
    slope, offset = np.polyfit(np.log(rank), np.log(steps / unknowns), 1)
    if slope >= 0.0:
        raise OptionError(
            "The iterations do not fall with the rank, so no rank rule fits them: measure at "
            "larger ranks or with more unknowns."
        )
    return RankRule(k_min=float(np.exp(-offset / slope)), m=float(-slope))
