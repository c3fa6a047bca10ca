"""How the iterative solver is shown while it runs, and stopped."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from kraft.cli.interruption import StopSwitch
from kraft.cli.summary import duration, number
from kraft.data import Units
from kraft.models.observer import SolveReport


class SolveDisplay:
    """An observer of the iterative solver (:class:`kraft.models.observer.Observer`).

    Parameters
    ----------
    show
        Shows one line of text in place of the last.
    units
        Units to show errors in.
    """

    def __init__(self, show: Callable[[str], None], units: Units) -> None:
        self._show = show
        self._units = units
        self._switch = StopSwitch()

    @property
    def stop_requested(self) -> bool:
        """Whether a signal came."""
        return self._switch.requested

    def solving(self) -> AbstractContextManager[None]:
        """Listen to signals."""
        return self._switch.listening()

    def __call__(self, report: SolveReport, /) -> None:
        """Show where the solver is."""
        self._show(self.text(report))

    def text(self, report: SolveReport) -> str:
        """Return a report in words."""
        parts = [
            f"step {report.iteration}",
            f"residual {report.relative_residual:.1e} → {report.target:.0e}",
        ]
        if report.valid_force_mae is not None:
            error = report.valid_force_mae / self._units.force_factor
            parts.append(f"validation {number(error)} {self._units.force_label}")
        parts.append(f"{report.iterations_per_second:.3g} steps/s")
        if report.seconds_left is not None:
            parts.append(f"{duration(report.seconds_left)} left")
        if report.restarts:
            parts.append(f"rank {report.rank}")
        return f"solving: {', '.join(parts)}"
