"""Whether an iteration still gets on, and how long it will take."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Patience:
    """What counts as progress over a window of the last steps.

    Attributes
    ----------
    least_steps, fraction
        Length of the window: the larger of a number and a fraction of the steps since the restart.
    residual_factor
        Progress is a best residual, or a geometric mean of the residuals, below this times the one
        of before the window.
    energy_fraction
        Progress is a gain of this fraction of the energy gained since the last restart ...
    energy_floor
        ... that is no less than this fraction of ``|φ|`` either.
    """

    least_steps: int
    fraction: float
    residual_factor: float
    energy_fraction: float
    energy_floor: float


EAGER = Patience(100, 0.15, residual_factor=0.9, energy_fraction=0.05, energy_floor=0.01)
"""While a stronger preconditioner can be had: slow progress is reason enough to ask for it."""

PATIENT = Patience(300, 0.5, residual_factor=0.97, energy_fraction=0.005, energy_floor=0.0)
"""When it cannot be had: any progress is better than giving up."""


@dataclass
class ProgressWindow:
    """Residuals and energies since the last restart, judged over a rolling window.

    An iteration has stalled when over a whole window the residuals made no progress *and* the
    energy ``φ(x) = ½ xᵀ A x - bᵀ x`` made none, see :class:`Patience`.

    The 2-norm of the residual is no sound measure alone: conjugate gradients lower ``φ``, the
    squared error in the norm of ``A``, with every step, while residuals may rise for hundreds of
    steps before they fall. Towards the end ``φ`` has all its leading digits and residuals tell.
    """

    _seconds: list[float] = field(default_factory=list)
    _best: list[float] = field(default_factory=list)
    _logarithms: list[float] = field(default_factory=list)
    _energies: list[float] = field(default_factory=list)

    def restart(self) -> None:
        """Forget everything."""
        for values in (self._seconds, self._best, self._logarithms, self._energies):
            values.clear()

    @property
    def steps(self) -> int:
        """Steps since the restart."""
        return len(self._best)

    @property
    def seconds(self) -> float:
        """Wall time since the first of these steps."""
        return self._seconds[-1] - self._seconds[0] if self._seconds else 0.0

    def add(self, seconds: float, relative_residual: float, energy: float) -> None:
        """Take in a step: wall time so far, its residual and its energy."""
        best = min(self._best[-1], relative_residual) if self._best else relative_residual
        total = self._logarithms[-1] if self._logarithms else 0.0
        self._seconds.append(seconds)
        self._best.append(best)
        self._logarithms.append(total + math.log(max(relative_residual, 1e-300)))
        self._energies.append(energy)

    def stalled(self, patience: Patience) -> bool:
        """Whether neither residuals nor energy made progress over the window."""
        window = max(patience.least_steps, int(patience.fraction * len(self._best)))
        before = len(self._best) - 1 - window
        if before < 0:
            return False
        factor, energies = patience.residual_factor, self._energies
        gained, total = energies[before] - energies[-1], energies[0] - energies[-1]
        return not (
            self._best[-1] < factor * self._best[before]
            or self._mean_logarithm(window) < math.log(factor)
            or gained
            > max(patience.energy_fraction * total, patience.energy_floor * abs(energies[-1]))
        )

    def _mean_logarithm(self, window: int) -> float:
        """Return how much the mean logarithm fell from the window before to the last one."""
        sums, last = self._logarithms, len(self._logarithms) - 1
        first = max(0, last - 2 * window)
        length = last - window - first
        if length < window // 2:
            return 0.0
        earlier = (sums[last - window] - sums[first]) / length
        return (sums[last] - sums[last - window]) / window - earlier

    def seconds_left(self, target: float) -> float | None:
        """Return the time until the residual meets the target, at the speed of the last half.

        ``None`` when there were too few steps to tell, or no progress.
        """
        if len(self._best) < 10:
            return None
        half = len(self._best) // 2
        best, seconds = self._best[-1], self._seconds[-1] - self._seconds[half]
        if best <= target:
            return 0.0
        gain = math.log(self._best[half] / best)
        return math.log(best / target) / gain * seconds if gain > 0.0 and target > 0.0 else None
