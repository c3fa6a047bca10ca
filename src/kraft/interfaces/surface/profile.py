"""An energy along a coordinate: minima, tops and the barriers between them.

Energies and slopes are known at points; between them a cubic runs through both (Hermite), so that
minima and tops lie where slopes say, not at the points.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.interpolate import CubicHermiteSpline

from kraft.core.typing import FloatArray

_LOWEST_BARRIER = 2e-5
"""eV: lower ones are errors of relaxed energies, not barriers."""


@dataclass(frozen=True)
class StationaryPoint:
    """A minimum or a top of a profile: where it is, and its energy in eV."""

    coordinate: float
    energy: float


@dataclass(frozen=True)
class Barrier:
    """A top between two minima.

    Attributes
    ----------
    start, top, end
        The minimum before it, itself, and the minimum after it.
    """

    start: StationaryPoint
    top: StationaryPoint
    end: StationaryPoint

    @property
    def forward(self) -> float:
        """Height above the minimum before, eV."""
        return self.top.energy - self.start.energy

    @property
    def reverse(self) -> float:
        """Height above the minimum after, eV."""
        return self.top.energy - self.end.energy


@dataclass(frozen=True, eq=False)
class Profile:
    """Energies along a coordinate.

    Attributes
    ----------
    coordinates
        ``(P,)``, rising. A full turn has its first point again at the end.
    energies
        ``(P,)`` in eV.
    slopes
        ``(P,)`` in eV per unit of the coordinate.
    full_turn
        Whether the end is the start.
    between_minima
        Whether both ends are minima, whatever is left of their slopes.
    """

    coordinates: FloatArray
    energies: FloatArray
    slopes: FloatArray
    full_turn: bool = False
    between_minima: bool = False

    def at(self, coordinates: FloatArray) -> FloatArray:
        """Return energies ``(K,)`` in eV at coordinates inside the range."""
        energies: FloatArray = self._curve()(coordinates)
        return energies

    def minima(self) -> tuple[StationaryPoint, ...]:
        """Return the minima in the order of the coordinate; those of a full turn once each."""
        return tuple(point for point, is_top in self._points() if not is_top)

    def tops(self) -> tuple[StationaryPoint, ...]:
        """Return the maxima in the order of the coordinate; those of a full turn once each."""
        return tuple(point for point, is_top in self._points() if is_top)

    def barriers(self) -> tuple[Barrier, ...]:
        """Return every top that has a minimum before and after it.

        In a full turn the minimum after the last top is the first one, a turn further.
        """
        points = self._points()
        if self.full_turn and points:
            turn = float(self.coordinates[-1] - self.coordinates[0])
            while points[0][1] and len(points) > 1:  # start with a minimum
                points = [*points[1:], _turned(points[0], turn)]
            points.append(_turned(points[0], turn))
        return tuple(
            Barrier(points[k - 1][0], point, points[k + 1][0])
            for k, (point, is_top) in enumerate(points)
            if is_top and 0 < k < len(points) - 1
        )

    def _curve(self) -> Any:
        return CubicHermiteSpline(self.coordinates, self.energies, self.slopes)

    def _points(self) -> list[tuple[StationaryPoint, bool]]:
        """Return minima and tops by turns, in the order of the coordinate; True is a top."""
        if len(self.coordinates) < 2:
            return []
        curve = self._curve()
        places = curve.derivative().roots(extrapolate=False)
        first, last = float(self.coordinates[0]), float(self.coordinates[-1])
        places = [float(x) for x in places if np.isfinite(x) and first <= x <= last]
        bends = curve.derivative(2)
        found = [
            (StationaryPoint(x, float(curve(x))), bool(bends(x) < 0.0))
            for x in sorted(set(places))
            if bends(x) != 0.0
        ]
        if self.full_turn and len(found) > 1:
            gap = last - first - (found[-1][0].coordinate - found[0][0].coordinate)
            if gap < 1e-6 * (last - first):  # the same point at both ends
                found.pop()
        if self.between_minima:
            ends = [(StationaryPoint(x, float(curve(x))), False) for x in (first, last)]
            found = [ends[0], *found, ends[1]]
        return self._without_ripples(_alternating(found))

    def _without_ripples(
        self, points: list[tuple[StationaryPoint, bool]]
    ) -> list[tuple[StationaryPoint, bool]]:
        """Drop neighbors, a minimum and a top, that differ by next to nothing."""
        points = list(points)
        while len(points) > 2:
            steps = [abs(a[0].energy - b[0].energy) for a, b in pairwise(points)]
            k = int(np.argmin(steps))
            if steps[k] >= _LOWEST_BARRIER:
                break
            del points[k : k + 2]
            points = _alternating(points)
        return points


def _turned(point: tuple[StationaryPoint, bool], turn: float) -> tuple[StationaryPoint, bool]:
    place, is_top = point
    return StationaryPoint(place.coordinate + turn, place.energy), is_top


def _alternating(
    points: list[tuple[StationaryPoint, bool]],
) -> list[tuple[StationaryPoint, bool]]:
    """Of neighbors of one kind keep the most extreme, so that minima and tops take turns."""
    kept: list[tuple[StationaryPoint, bool]] = []
    for point, is_top in points:
        if kept and kept[-1][1] == is_top:
            higher = point.energy > kept[-1][0].energy
            if higher == is_top:
                kept[-1] = (point, is_top)
            continue
        kept.append((point, is_top))
    return kept
