"""What is watched during a simulation, and what is done about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from kraft.core.errors import OptionError
from kraft.core.typing import FloatArray
from kraft.models import ForceField
from kraft.simulation.guards import (
    DistanceGuard,
    Guard,
    NoveltyGuard,
    TemperatureGuard,
    UncertaintyGuard,
    visited_distances,
)
from kraft.simulation.signals import Signal

Action = Literal["stop", "warn", "ignore"]

MAX_NOVELTY = 2.0
"""Novelty that is an alarm; simulations near the training geometries stay below 1.5."""


@dataclass(frozen=True)
class Watching:
    """What is watched during a simulation, and what an alarm does.

    Attributes
    ----------
    action
        ``"stop"`` the replica concerned, ``"warn"`` once for each kind of alarm, or ``"ignore"``.
        What is not finite stops a replica in any case.
    interval
        Steps between looks.
    max_novelty
        Highest :meth:`kraft.ForceField.novelty` without alarm; None for no limit.
    max_uncertainty
        Largest standard deviation of a force in eV/Å without alarm; None, the default, for no
        limit, since it costs more than the forces.
    """

    action: Action = "stop"
    interval: int = 10
    max_novelty: float | None = MAX_NOVELTY
    max_uncertainty: float | None = None

    def __post_init__(self) -> None:
        if self.action not in ("stop", "warn", "ignore"):
            raise OptionError(
                f"Expected stop, warn or ignore to be done on an alarm, got {self.action!r}."
            )
        if self.interval < 1:
            raise OptionError(f"Expected an interval of at least 1 step, got {self.interval}.")

    def guards(
        self, force_field: ForceField, starts: FloatArray, temperature: float
    ) -> list[Guard]:
        """Return what looks at the replicas."""
        if self.action == "ignore":
            return []
        numbers, cell = force_field.atomic_numbers, force_field.parameters.cell
        visited = visited_distances(force_field)
        guards: list[Guard] = [DistanceGuard.of(numbers, starts, cell=cell, visited=visited)]
        if temperature > 0.0:
            guards.append(TemperatureGuard(temperature))
        if self.max_novelty is not None:
            guards.append(NoveltyGuard(force_field, self.max_novelty))
        if self.max_uncertainty is not None:
            guards.append(UncertaintyGuard(force_field, self.max_uncertainty))
        return guards


def signals(guards: Sequence[Guard]) -> list[Signal]:
    """Return what guards compute of geometries."""
    return [guard.signal for guard in guards if isinstance(guard, NoveltyGuard | UncertaintyGuard)]
