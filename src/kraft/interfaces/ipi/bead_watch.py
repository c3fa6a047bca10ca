"""What is watched on the beads of a path integral: distances and novelty, as in `kraft md`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from ase.data import chemical_symbols

from kraft.core.errors import ExtrapolationError, GeometryError
from kraft.core.typing import FloatArray
from kraft.data.geometry import pair_distances
from kraft.data.geometry_format import read_geometries
from kraft.models import ForceField
from kraft.simulation.guards import (
    Alarm,
    DistanceGuard,
    novelty_alarms,
    uncertainty_alarms,
    visited_distances,
)

Extrapolation = Literal["stop", "warn", "ignore"]

_ALARM = re.compile(r'step=(\d+) bead=(\d+) alarm="([^"]+)" sound=F message="([^"]+)"')


@dataclass(frozen=True)
class BeadAlarm:
    """An alarm of one bead.

    Attributes
    ----------
    step
        When it was found.
    bead
        From 0.
    reason
        What kind of thing.
    message
        What exactly.
    """

    step: int
    bead: int
    reason: str
    message: str


def read_alarms(path: str | os.PathLike[str]) -> tuple[BeadAlarm, ...]:
    """Return the alarms that stand in a file of geometries with alarms; none without the file."""
    if not Path(path).exists():
        return ()
    found = _ALARM.findall(Path(path).read_text(encoding="utf-8"))
    return tuple(BeadAlarm(int(step), int(bead), *rest) for step, bead, *rest in found)


def distance_guard(force_field: ForceField, starts: FloatArray) -> DistanceGuard:
    """Return the guard of broken bonds and close contacts for starts ``(S, N, 3)`` in Å.

    Raises
    ------
    GeometryError
        When a start is unsound itself.
    """
    return DistanceGuard.of(
        force_field.atomic_numbers,
        starts,
        cell=force_field.parameters.cell,
        visited=visited_distances(force_field),
    )


def typical_geometry(force_field: ForceField) -> FloatArray | None:
    """Return the training geometry ``(N, 3)`` in Å with distances nearest to the median ones.

    None where the model lacks its training geometries (one imported from another program).
    """
    positions = force_field.parameters.training_positions
    if positions is None:
        return None
    distances = pair_distances(positions, force_field.parameters.cell)
    deviations = np.abs(distances - np.median(distances, axis=0)).max(axis=1)
    typical: FloatArray = positions[deviations.argmin()]
    return typical


class BeadWatch:
    """Judges the beads now and then, and writes down or stops what is unlike the training data.

    Parameters
    ----------
    force_field
        The model.
    action
        ``"stop"`` raises ExtrapolationError, ``"warn"`` tells and writes to ``alarms`` only, once
        for each kind of alarm and bead, ``"ignore"`` does nothing.
    max_novelty
        Highest novelty without alarm; None for no limit.
    max_force_std
        Largest standard deviation of a force component in eV/Å without alarm; None for no limit.
    alarms
        Extended XYZ to append geometries with alarms to, after the last sound ones of their beads.
    start
        File with the geometry (Å) that tells which atoms are bonded; by default a typical training
        geometry does, or the beads that are looked at first where the model has none.
    continued
        Whether alarms that the file has already are of this simulation, and known.
    on_alarm
        Told about alarms when they occur.
    """

    def __init__(
        self,
        force_field: ForceField,
        *,
        action: Extrapolation,
        max_novelty: float | None,
        max_force_std: float | None,
        alarms: Path | None,
        start: Path | None,
        continued: bool,
        on_alarm: Callable[[BeadAlarm], None] | None,
    ) -> None:
        self._force_field, self._action = force_field, action
        self._max_novelty, self._max_force_std = max_novelty, max_force_std
        self._alarms, self._start, self._on_alarm = alarms, start, on_alarm
        self._guard: DistanceGuard | None = None
        self._sound: FloatArray | None = None
        known = read_alarms(alarms) if continued and alarms is not None else ()
        self._known = {(alarm.bead, alarm.reason): alarm.step for alarm in known}

    @property
    def active(self) -> bool:
        """Whether a look can have a consequence."""
        heard = self._alarms is not None or self._on_alarm is not None
        return self._action == "stop" or (self._action == "warn" and heard)

    @property
    def wants_force_std(self) -> bool:
        """Whether it judges the standard deviations of forces."""
        return self.active and self._max_force_std is not None

    def look(
        self,
        geometries: FloatArray,
        novelty: FloatArray,
        step: int,
        force_std: FloatArray | None = None,
    ) -> None:
        """Judge the beads at ``(B, N, 3)`` in Å.

        Parameters
        ----------
        geometries
            Where they are.
        novelty
            ``(B,)``.
        step
            When.
        force_std
            ``(B,)`` eV/Å, largest standard deviation of a force component, where it is judged.

        Raises
        ------
        ExtrapolationError
            When a bead has an alarm that stops.
        """
        if not self.active:
            return
        found = self._found(geometries, novelty, force_std)
        for alarm in found:
            self._write(geometries, alarm, step)
        if found and self._action == "stop":
            worst = max(found, key=lambda alarm: float(novelty[alarm.row]))
            raise ExtrapolationError(
                f"Bead {worst.row} after {step} steps: {worst.message} Train on geometries like "
                "these, lower the temperature, or allow it (on_extrapolation, max_novelty, "
                "max_force_std).",
                worst.message,
                step,
                worst.row,
            )
        self._sound = geometries

    def _found(
        self, geometries: FloatArray, novelty: FloatArray, force_std: FloatArray | None
    ) -> list[Alarm]:
        """Return the first alarm of each bead that has any."""
        if self._guard is None:
            self._guard = distance_guard(self._force_field, self._starts(geometries))
        alarms = self._guard.at(geometries)
        if self._max_novelty is not None:
            alarms += novelty_alarms(novelty, self._max_novelty)
        if self._max_force_std is not None and force_std is not None:
            alarms += uncertainty_alarms(force_std, self._max_force_std)
        found: dict[int, Alarm] = {}
        for alarm in alarms:
            found.setdefault(alarm.row, alarm)
        return [found[row] for row in sorted(found)]

    def _starts(self, geometries: FloatArray) -> FloatArray:
        """Return geometries ``(S, N, 3)`` in Å that tell which atoms are bonded."""
        if self._start is None:
            typical = typical_geometry(self._force_field)
            return geometries if typical is None else typical[None]
        starts = read_geometries(self._start).positions
        if starts.shape[1:] != geometries.shape[1:]:
            raise GeometryError(
                f"{self._start} has {starts.shape[1]} atoms, the simulation has "
                f"{geometries.shape[1]}. Expected a geometry of the molecule."
            )
        return starts

    def _write(self, geometries: FloatArray, alarm: Alarm, step: int) -> None:
        """Tell and append an alarm, unless it is known: i-PI asks again after an error."""
        bead, kind = alarm.row, (alarm.row, alarm.reason)
        known = self._known.get(kind)
        if known == step or (known is not None and self._action == "warn"):
            return
        self._known[kind] = step
        if self._on_alarm is not None:
            self._on_alarm(BeadAlarm(step, bead, alarm.reason, alarm.message))
        if self._alarms is None:
            return
        symbols = [chemical_symbols[number] for number in self._force_field.atomic_numbers]
        before = None if self._sound is None else self._sound[min(bead, len(self._sound) - 1)]
        with self._alarms.open("a", encoding="utf-8") as handle:
            for geometry, sound in ((before, True), (geometries[bead], False)):
                if geometry is None or not np.isfinite(geometry).all():
                    continue
                head = 'Properties=species:S:1:pos:R:3 pbc="F F F" length_unit=Ang'
                head += f' step={step} bead={bead} alarm="{alarm.reason}" sound={"FT"[sound]}'
                head += "" if sound else f' message="{alarm.message}"'
                handle.write(f"{len(symbols)}\n{head}\n")
                for symbol, row in zip(symbols, geometry.tolist(), strict=True):
                    handle.write(f"{symbol} {' '.join(map(repr, row))}\n")
