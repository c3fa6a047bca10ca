"""What is watched on the beads of a path integral: distances and novelty, as in `kraft md`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from ase.data import chemical_symbols

from kraft.core.errors import GeometryError
from kraft.core.typing import FloatArray
from kraft.data.geometry_format import read_geometries
from kraft.models import ForceField
from kraft.simulation.guards import Alarm, DistanceGuard, novelty_alarms, visited_distances

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


class BeadWatch:
    """Judges the beads now and then, and writes down or stops what is unlike the training data.

    Parameters
    ----------
    force_field
        The model.
    action
        ``"stop"`` raises GeometryError, ``"warn"`` writes to ``alarms`` only, once for each kind
        of alarm and bead, ``"ignore"`` does nothing.
    max_novelty
        Highest novelty without alarm; None for no limit.
    alarms
        Extended XYZ to append geometries with alarms to, after the last sound ones of their beads.
    start
        File with the geometry (Å) that tells which atoms are bonded; by default the beads that are
        looked at first do.
    """

    def __init__(
        self,
        force_field: ForceField,
        *,
        action: Extrapolation,
        max_novelty: float | None,
        alarms: Path | None,
        start: Path | None,
    ) -> None:
        self._force_field, self._action, self._limit = force_field, action, max_novelty
        self._alarms, self._start = alarms, start
        self._guard: DistanceGuard | None = None
        self._sound: FloatArray | None = None
        known = () if alarms is None else read_alarms(alarms)
        self._known = {(alarm.bead, alarm.reason): alarm.step for alarm in known}

    @property
    def active(self) -> bool:
        """Whether a look can have a consequence."""
        return self._action == "stop" or (self._action == "warn" and self._alarms is not None)

    def look(self, geometries: FloatArray, novelty: FloatArray, step: int) -> None:
        """Judge the beads at ``(B, N, 3)`` in Å with their novelty ``(B,)``.

        Raises
        ------
        GeometryError
            When a bead has an alarm that stops.
        """
        if not self.active:
            return
        found = self._found(geometries, novelty)
        for alarm in found:
            self._write(geometries, alarm, step)
        if found and self._action == "stop":
            worst = max(found, key=lambda alarm: float(novelty[alarm.row]))
            raise GeometryError(
                f"Bead {worst.row} after {step} steps: {worst.message} Train on geometries like "
                "these, lower the temperature, or allow it (on_extrapolation, max_novelty)."
            )
        self._sound = geometries

    def _found(self, geometries: FloatArray, novelty: FloatArray) -> list[Alarm]:
        """Return the first alarm of each bead that has any."""
        if self._guard is None:
            starts = geometries
            if self._start is not None:
                starts = read_geometries(self._start).positions
                if starts.shape[1:] != geometries.shape[1:]:
                    raise GeometryError(
                        f"{self._start} has {starts.shape[1]} atoms, the simulation has "
                        f"{geometries.shape[1]}. Expected a geometry of the molecule."
                    )
            self._guard = distance_guard(self._force_field, starts)
        found = self._guard.at(geometries)
        if self._limit is not None:
            seen = {alarm.row for alarm in found}
            far = novelty_alarms(novelty, self._limit)
            found += [alarm for alarm in far if alarm.row not in seen]
        return sorted(found, key=lambda alarm: alarm.row)

    def _write(self, geometries: FloatArray, alarm: Alarm, step: int) -> None:
        """Append an alarm, unless it is known: i-PI asks again after an error."""
        bead, kind = alarm.row, (alarm.row, alarm.reason)
        known = self._known.get(kind)
        if self._alarms is None or known == step or (known is not None and self._action == "warn"):
            return
        self._known[kind] = step
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
