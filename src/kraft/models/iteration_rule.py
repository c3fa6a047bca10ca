"""How many iterations a system takes with a preconditioner of some rank.

The rule of paper 004, ``#/n = (k_min / k)^m``, holds for blocks beside the columns too, with a
steeper ``m``. ``k_min`` depends on the molecule, the kernel and the regularization, so it is
measured on some of the geometries where that pays.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kraft.core.progress import Progress, silent
from kraft.kernels import KernelOperator
from kraft.solvers import IterativeSolver
from kraft.solvers.monitor import Iterate, StopReason
from kraft.solvers.preconditioners import method_with_blocks
from kraft.solvers.rank_rule import RankRule

K_MIN_A_MOTION, TYPICAL_SLOPE = 4.0, 1.5
"""``k_min`` for each internal motion, and ``m``.

Measured were, by kernel and regularization, a ``k_min`` of 30 to 40 for ethanol (21 motions), 33 to
110 for malonaldehyde (21), 36 to 100 for uracil (30), 80 to 190 for aspirin (57) and 35 to 270 for
a tetrapeptide (120).
The first is taken from the upper end, since too small a rank costs more time than too large a one.
"""

SLOPES = (1.3, 1.8)
"""Bounds of ``m``: slopes of small systems, 1.1 to 2, were found closer to 1.5 in large ones."""

FEWEST = 20.0
"""Iterations at least, at a tolerance of 1e-4."""

REFERENCE_TOLERANCE = 1e-4

DIGITS_POWER = 2.0
"""Iterations grow as this power of the digits of the residual: the first ones come quickly. Aspirin
(200, 500, 1000 geometries) had powers of 2.5, 2.0 and 1.5 between 1e-2 and 1e-4."""

SUBSET_LABELS = 2500
"""Labels of the subset that iterations are measured on."""

SUBSET_RANKS = (0.2, 0.1, 0.05)
"""Ranks tried on the subset, relative to its size; the cheapest first."""


MOST_LEFT = 2.5
"""Iterations that ended early count when the digits asked for are no more than this many times
those that they reached."""


@dataclass(frozen=True)
class IterationRule:
    """Iterations by rank and number of labels.

    Attributes
    ----------
    k_min, m
        Constants of ``#/n = (k_min / k)^m`` for a relative residual of 1e-4.
    tolerance
        Relative residual asked for.
    measured
        Whether the constants are this system's own.
    """

    k_min: float
    m: float = TYPICAL_SLOPE
    tolerance: float = REFERENCE_TOLERANCE
    measured: bool = False

    @classmethod
    def typical(cls, block_size: int, tolerance: float = REFERENCE_TOLERANCE) -> IterationRule:
        """Return the rule of molecules with as many labels a geometry, within a factor of four."""
        return cls(K_MIN_A_MOTION * block_size, tolerance=tolerance)

    def iterations(self, rank: int, n: int) -> float:
        """Return the expected number of iterations: they grow with the digits asked for."""
        share: float = (math.log(self.tolerance) / math.log(REFERENCE_TOLERANCE)) ** DIGITS_POWER
        return share * max(FEWEST, RankRule(self.k_min, self.m).iterations(max(rank, 1), n))


@dataclass(frozen=True, eq=False)
class Samples:
    """A system of which a part can be solved: regularization and labels ``(n,)``."""

    operator: KernelOperator
    regularization: Tensor
    labels: Tensor


def measure_rule(
    samples: Samples,
    preconditioner: str,
    block_geometries: int | None,
    tolerance: float,
    *,
    seconds: float,
    seed: int = 0,
    progress: Progress = silent,
) -> IterationRule:
    """Solve a part of the system with preconditioners of several ranks.

    Parameters
    ----------
    samples
        The system.
    preconditioner, block_geometries
        Method and remainder; blocks of one geometry when None, 0 for the papers' shift.
    tolerance
        Relative residual that the rule shall be for.
    seconds
        How long it may take, about.
    """
    operator, block = samples.operator, samples.operator.block_size
    count = min(len(operator.geometries), max(8, SUBSET_LABELS // block))
    chosen = np.linspace(0, len(operator.geometries) - 1, count).astype(np.int64)
    part = operator.subset(chosen)
    rows = torch.as_tensor(chosen, device=part.device)
    weights, labels = (
        vector.reshape(-1, block)[rows].reshape(-1)
        for vector in (samples.regularization.expand(operator.size), samples.labels)
    )
    blocks = 1 if block_geometries is None else block_geometries
    deadline = time.monotonic() + seconds
    ranks: list[float] = []
    steps: list[float] = []
    for share in SUBSET_RANKS:
        rank = max(2, round(share * part.size))
        solver = IterativeSolver(
            preconditioner=method_with_blocks(preconditioner, blocks),
            rank=rank,
            tolerance=REFERENCE_TOLERANCE,
            max_iterations=part.size,
            seed=seed,
            rank_growth=1.0,
        )
        progress("measuring iterations", len(ranks), len(SUBSET_RANKS))
        outcome = solver.prepare(part, weights).solve(labels, monitor=_Deadline(deadline))
        left = math.log(REFERENCE_TOLERANCE) / math.log(min(outcome.relative_residual, 0.5))
        if left < MOST_LEFT:
            ranks.append(float(rank))
            steps.append(max(outcome.iterations, 1) * max(1.0, left) ** DIGITS_POWER)
        if not outcome.converged or time.monotonic() > deadline:
            break
    if not ranks:
        return IterationRule.typical(block, tolerance)
    return _fitted(ranks, steps, part.size, tolerance)


class _Deadline:
    """Ends an iteration when the time is over."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline

    def __call__(self, iterate: Iterate) -> StopReason | None:
        del iterate
        return StopReason.MAX_TIME if time.monotonic() > self._deadline else None


def _fitted(ranks: list[float], steps: list[float], n: int, tolerance: float) -> IterationRule:
    """Return the rule through the points."""
    slope = TYPICAL_SLOPE
    logarithms = np.log(ranks), np.log(np.array(steps) / n)
    if len(ranks) > 1:
        slope = float(np.clip(-np.polyfit(*logarithms, 1)[0], *SLOPES))
    # the line of this slope through the middle of the points
    k_min = float(np.exp(np.mean(logarithms[0] + logarithms[1] / slope)))
    return IterationRule(k_min, slope, tolerance, measured=True)
