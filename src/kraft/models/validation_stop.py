"""Watching the validation error while a system is solved: seldom enough to cost little."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from kraft.solvers.monitor import Iterate

IMPROVEMENT = 0.005
"""An error must fall by this fraction to count as improved."""

WINDOW = 0.2
"""Fraction of all iterations over which it must have improved."""

LEAST_WINDOW = 40
"""Iterations that the window has at least."""

LEAST_EVALUATIONS = 5
"""Evaluations that the window must hold."""

LARGEST_RESIDUAL = 0.1
"""Relative residual above which the error of an iterate tells nothing about the end."""

EVALUATION_SHARE = {"validation": 0.08, "residual": 0.02}
"""Share of the time that evaluations may take, by the stopping rule."""

SPACING = 0.02
"""Fraction of all iterations that lie between evaluations at least."""


@dataclass
class ValidationWatch:
    """Measures the validation error now and then, and tells when it has stopped improving.

    It has stopped when, over the last ``WINDOW`` of all iterations (at least ``LEAST_WINDOW``
    iterations and ``LEAST_EVALUATIONS`` evaluations), no error was lower than the best one before
    by more than ``IMPROVEMENT``, at a relative residual below ``LARGEST_RESIDUAL``.

    Parameters
    ----------
    error
        Force error in eV/Å of coefficients ``(n,)``.
    share
        Share of the time that evaluations may take.
    """

    error: Callable[[Tensor], float]
    share: float
    latest: float | None = None
    _points: list[tuple[int, float]] = field(default_factory=list)
    _costs: list[float] = field(default_factory=list)
    _not_before: float = 0.0

    def look(self, iterate: Iterate) -> bool:
        """Evaluate the iterate if it is time; return whether the error has stopped improving."""
        started = time.perf_counter()
        if started < self._not_before or not self._far_enough(iterate.iteration):
            return False
        self.latest = self.error(iterate.coefficients())
        iterate.record_validation(self.latest)
        ended = time.perf_counter()
        self._costs.append(ended - started)
        cost = min(self._costs[-3:])  # other work on the machine may prolong any one of them
        self._not_before = ended + cost * (1.0 / self.share - 1.0)
        self._points.append((iterate.iteration, self.latest))
        return iterate.relative_residual < LARGEST_RESIDUAL and self.stopped_improving()

    def stopped_improving(self) -> bool:
        """Tell whether the errors seen so far have stopped improving."""
        if len(self._points) <= LEAST_EVALUATIONS:
            return False
        first, last = self._points[0][0], self._points[-1][0]
        begin = min(
            last - max(LEAST_WINDOW, WINDOW * (last - first)),
            self._points[-LEAST_EVALUATIONS - 1][0],
        )
        before = [error for iteration, error in self._points if iteration <= begin]
        recent = [error for iteration, error in self._points if iteration > begin]
        return bool(before) and min(recent) > (1.0 - IMPROVEMENT) * min(before)

    def _far_enough(self, iteration: int) -> bool:
        if not self._points:
            return True
        return iteration - self._points[-1][0] >= max(2, SPACING * iteration)
