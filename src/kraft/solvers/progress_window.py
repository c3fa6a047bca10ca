"""Whether an iteration still gets on, and how long it will take."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

LEAST_STEPS = 100
"""Shortest window, in steps."""

FRACTION = 0.15
"""The window grows with the steps since the last restart, by this fraction of them."""

RESIDUAL_FACTOR = 0.9
"""A window made progress when its best residual is below this times the best before it."""

ENERGY_FRACTION = 0.05
"""A window made progress when it gained this fraction of the energy gained from zero."""


@dataclass
class ProgressWindow:
    """Residuals and energies since the last restart, judged over a rolling window.

    The window is the last ``max(LEAST_STEPS, FRACTION · steps)`` steps. An iteration has stalled
    when over a whole window *neither*

    - the best residual fell below ``RESIDUAL_FACTOR`` times the best one before the window, *nor*
    - the energy ``φ(x) = ½ xᵀ A x - bᵀ x`` fell by ``ENERGY_FRACTION`` of ``|φ(x)|``.

    The 2-norm of the residual is no sound measure alone: conjugate gradients lower ``φ``, the
    squared error in the norm of ``A``, with every step, while residuals may rise for hundreds of
    steps before they fall. Towards the end ``φ`` has all its leading digits and residuals tell.
    """

    least_steps: int = LEAST_STEPS
    fraction: float = FRACTION
    residual_factor: float = RESIDUAL_FACTOR
    energy_fraction: float = ENERGY_FRACTION
    _seconds: list[float] = field(default_factory=list)
    _best: list[float] = field(default_factory=list)
    _energies: list[float] = field(default_factory=list)

    def restart(self) -> None:
        """Forget everything."""
        for values in (self._seconds, self._best, self._energies):
            values.clear()

    def add(self, seconds: float, relative_residual: float, energy: float) -> None:
        """Take in a step: wall time so far, its residual and its energy."""
        best = min(self._best[-1], relative_residual) if self._best else relative_residual
        self._seconds.append(seconds)
        self._best.append(best)
        self._energies.append(energy)

    @property
    def steps(self) -> int:
        """The length of the window at present."""
        return max(self.least_steps, int(self.fraction * len(self._best)))

    @property
    def stalled(self) -> bool:
        """Whether neither residual nor energy made progress over the window."""
        before = len(self._best) - self.steps - 1
        if before < 0:
            return False
        gained = self._energies[before] - self._energies[-1]
        return not (
            self._best[-1] < self.residual_factor * self._best[before]
            or gained > self.energy_fraction * abs(self._energies[-1])
        )

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
