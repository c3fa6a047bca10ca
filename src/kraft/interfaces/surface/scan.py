"""Scans of a bond, an angle or a dihedral angle: all else as it is, or relaxed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kraft.analysis.trajectories import BondGraph
from kraft.core.errors import GeometryError, OptionError
from kraft.core.progress import Progress, silent
from kraft.core.typing import FloatArray, IntArray
from kraft.interfaces.surface.coordinates import FixCoordinate, InternalCoordinate, check_value
from kraft.interfaces.surface.images import ModelImages
from kraft.interfaces.surface.profile import Profile
from kraft.interfaces.surface.relaxation import (
    FMAX,
    MAX_STEPS,
    check_limits,
    checked_geometry,
    largest_force,
    minimize,
)
from kraft.models import ForceField
from kraft.simulation.watching import MAX_NOVELTY

MAX_SWEEPS = 12
_IMPROVEMENT = 1e-5
"""eV: a geometry has to be lower by this to take the place of one found before."""

_MAX_POINTS = 10_000


@dataclass(frozen=True, eq=False)
class Scan:
    """Energies and geometries along an internal coordinate.

    Attributes
    ----------
    coordinate
        What was changed.
    values
        ``(P,)`` in degrees or Å, rising.
    energies
        ``(P,)`` in eV.
    slopes
        ``(P,)`` eV per degree or Å: minus the force along the coordinate, exactly.
    positions
        ``(P, N, 3)`` in Å.
    forces
        ``(P, N, 3)`` in eV/Å, with what the constraint holds.
    max_forces
        ``(P,)`` largest force on an atom that is left beside the constraint, eV/Å.
    converged
        ``(P,)`` whether that is below what was asked for; True of rigid scans.
    hysteresis
        ``(P,)`` eV by which the highest and lowest geometry found at a value differ: more than one
        valley runs there. The lowest counts.
    novelty
        ``(P,)``, about 1 near the training geometries.
    relaxed
        Whether all else was relaxed.
    full_turn
        Whether the last point is the first, a turn further.
    n_sweeps
        How often the range was gone through.
    interrupted
        Whether it was stopped from outside; points that were not reached are left out.
    """

    coordinate: InternalCoordinate
    values: FloatArray
    energies: FloatArray
    slopes: FloatArray
    positions: FloatArray
    forces: FloatArray
    max_forces: FloatArray
    converged: NDArray[np.bool_]
    hysteresis: FloatArray
    novelty: FloatArray
    relaxed: bool
    full_turn: bool
    n_sweeps: int
    interrupted: bool = False

    @property
    def profile(self) -> Profile:
        """The energies as a curve, with its minima and barriers."""
        return Profile(self.values, self.energies, self.slopes, self.full_turn)


def scan(
    force_field: ForceField,
    positions: ArrayLike,
    atoms: Sequence[int],
    values: ArrayLike,
    *,
    relaxed: bool = True,
    fmax: float = FMAX,
    max_steps: int = MAX_STEPS,
    progress: Progress = silent,
    stop_requested: Callable[[], bool] = lambda: False,
) -> Scan:
    """Change a bond, an angle or a dihedral angle in steps.

    A relaxed scan starts where the geometry is and goes to both ends, then through the range in
    both directions, each point from the lowest geometry found at its neighbor, until no point
    becomes lower any more. So it does not stay in a valley only because it came from there.
    A geometry unlike all training geometries (novelty above 2) never takes the place of one like
    them, however low its energy; a relaxation that runs away is given up and counts as not
    converged.

    Parameters
    ----------
    force_field
        The model.
    positions
        ``(N, 3)`` in Å to start from.
    atoms
        Two (bond), three (angle) or four (dihedral) atoms, counted from 0.
    values
        ``(P,)`` in Å or degrees, rising. A dihedral angle that ends 360 degrees after its start
        makes a full turn.
    relaxed
        Whether all else is relaxed at each value. Otherwise the two sides of the molecule stay as
        they are.
    fmax, max_steps
        Of the relaxations, as in :func:`kraft.interfaces.surface.relax`.
    progress
        Told about the points done.
    stop_requested
        Asked often; True ends the work with what was reached.

    Raises
    ------
    OptionError
        When atoms or values make no sense, or a rigid scan would tear a ring.
    GeometryError
        When the geometry does not fit the model, or one with a value cannot be made.
    """
    check_limits(fmax, max_steps)
    start = checked_geometry(force_field, positions)
    coordinate = InternalCoordinate(tuple(int(atom) for atom in atoms), force_field.parameters.cell)
    coordinate.require_in(len(start))
    grid = _checked_values(coordinate, values)
    turn = coordinate.period is not None and bool(np.isclose(grid[-1] - grid[0], 360.0))
    graph = BondGraph.of(force_field.atomic_numbers, start, coordinate.cell)
    side = coordinate.movable(graph)
    if not relaxed:
        return _rigid(force_field, start, coordinate, grid, side, turn)
    work = _Relaxed(
        force_field, coordinate, grid[:-1] if turn else grid, side, turn, fmax, max_steps,
        stop_requested,
    )  # fmt: skip
    return work.run(start, progress)


def _checked_values(coordinate: InternalCoordinate, values: ArrayLike) -> FloatArray:
    grid = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if grid.ndim != 1 or not 2 <= len(grid) <= _MAX_POINTS or not np.isfinite(grid).all():
        raise OptionError(f"Expected 2 to {_MAX_POINTS} values to scan, got shape {grid.shape}.")
    if not (np.diff(grid) > 0.0).all():
        raise OptionError("Expected values in rising order, each once.")
    if coordinate.period is not None and grid[-1] - grid[0] > 360.0 + 1e-6:
        raise OptionError(
            f"Expected at most a full turn of 360 degrees, got {grid[0]:g} to {grid[-1]:g}."
        )
    for value in (grid[0], grid[-1]):
        check_value(coordinate, float(value))
    return grid


def _rigid(
    force_field: ForceField,
    start: FloatArray,
    coordinate: InternalCoordinate,
    grid: FloatArray,
    side: IntArray | None,
    turn: bool,
) -> Scan:
    """Return a scan that keeps both sides of the molecule as they are."""
    if side is None:
        raise OptionError(
            f"The {coordinate.kind} {'-'.join(map(str, coordinate.atoms))} is part of a ring: "
            "moving one side would tear it. Relax the scan (leave out --rigid; Python: "
            "relaxed=True)."
        )
    positions = np.stack([coordinate.moved(start, float(value), side) for value in grid])
    energies, forces = force_field.predict(positions)
    step = 1e-3
    slopes = np.empty(len(grid))
    for k, value in enumerate(grid):
        ahead, behind = (coordinate.moved(start, value + h, side) for h in (step, -step))
        slopes[k] = -np.vdot(forces[k], ahead - behind) / (2.0 * step)
    every = np.ones(len(grid), dtype=bool)
    return Scan(
        coordinate, grid, energies, slopes, positions, forces,
        max_forces=np.linalg.norm(forces, axis=2).max(axis=1), converged=every,
        hysteresis=np.zeros(len(grid)), novelty=force_field.novelty(positions), relaxed=False,
        full_turn=turn, n_sweeps=1,
    )  # fmt: skip


class _Relaxed:
    """A relaxed scan at work: the lowest geometry found so far at each value."""

    def __init__(
        self,
        force_field: ForceField,
        coordinate: InternalCoordinate,
        grid: FloatArray,
        side: IntArray | None,
        turn: bool,
        fmax: float,
        max_steps: int,
        stop_requested: Callable[[], bool],
    ) -> None:
        n = len(grid)
        self._force_field, self._coordinate, self._grid = force_field, coordinate, grid
        self._side, self._turn, self._fmax, self._max_steps = side, turn, fmax, max_steps
        self._stop = stop_requested
        self._lowest, self._highest = np.full(n, np.inf), np.full(n, -np.inf)
        self._positions = np.zeros((n, len(force_field.atomic_numbers), 3))
        self._forces = np.zeros_like(self._positions)
        self._rest = np.full(n, np.inf)
        self._converged = np.zeros(n, dtype=bool)
        self._novelty = np.full(n, np.inf)
        self._tried: dict[tuple[int, int], float] = {}

    def run(self, start: FloatArray, progress: Progress) -> Scan:
        """Sweep until nothing becomes lower."""
        n = len(self._grid)
        gaps = [
            abs(self._coordinate.difference(float(value), self._coordinate.value(start)))
            for value in self._grid
        ]
        first = int(np.argmin(gaps))
        self._visit(first, start)
        n_sweeps = 0
        for sweep in range(MAX_SWEEPS):
            improved = False
            for done, (before, point) in enumerate(self._pairs(first, sweep)):
                progress(f"sweep {sweep + 1}", done, n)
                if self._stop():
                    break
                improved |= self._from_neighbor(before, point)
            n_sweeps = sweep + 1
            if self._stop() or (sweep >= 2 and not improved):
                break
        return self._result(n_sweeps)

    def _pairs(self, first: int, sweep: int) -> Iterator[tuple[int, int]]:
        """Yield (neighbor, point) in the order of a sweep; the first begins at the start."""
        n = len(self._grid)
        if sweep == 0 and not self._turn:
            yield from ((k - 1, k) for k in range(first + 1, n))
            return
        origin = first if sweep == 0 else 0
        rising = sweep % 2 == 0
        for k in range(n):
            if rising:
                before, point = origin + k, origin + k + 1
            else:
                before, point = n - k, n - k - 1
            if self._turn:
                yield before % n, point % n
            elif 0 <= before < n and 0 <= point < n:
                yield before, point

    def _from_neighbor(self, before: int, point: int) -> bool:
        """Try the lowest geometry of a neighbor, unless it was tried already."""
        energy = self._lowest[before]
        if not np.isfinite(energy) or self._tried.get((before, point)) == energy:
            return False
        if self._novelty[before] > MAX_NOVELTY >= self._novelty[point]:
            return False
        self._tried[before, point] = energy
        return self._visit(point, self._positions[before])

    def _visit(self, point: int, geometry: FloatArray) -> bool:
        """Relax at a value from a geometry; True when that is lower than what was known."""
        value = float(self._grid[point])
        try:
            moved = self._coordinate.moved(geometry, value, self._side)
            moved = self._coordinate.projected(moved, value)
            images = ModelImages(self._force_field, moved[None])
            atoms = cast(Any, images.atoms[0])  # untyped in ASE
            atoms.set_constraint(FixCoordinate(self._coordinate, value))
            limit = 2.0 * max(MAX_NOVELTY, self._novelty_of(moved))
            _, converged = minimize(
                self._force_field, atoms, self._fmax, self._max_steps,
                lambda: self._stop() or self._novelty_of(atoms.positions) > limit,
            )  # fmt: skip
            energy, forces = (array[0] for array in images.results())
        except GeometryError as error:
            raise GeometryError(f"At {value:g} {self._coordinate.unit}: {error}") from error
        if not converged and self._stop():
            return False
        novelty = self._novelty_of(atoms.positions)
        strange, known = novelty > MAX_NOVELTY, self._novelty[point] > MAX_NOVELTY
        if strange == known:
            self._highest[point] = max(self._highest[point], energy)
            better = energy < self._lowest[point] - _IMPROVEMENT
            finished = converged and not self._converged[point]
        else:  # a low energy far from all data means nothing
            better = finished = known
            self._highest[point] = energy if known else self._highest[point]
        if not (better or finished):
            return False
        self._lowest[point], self._positions[point] = energy, atoms.positions
        self._forces[point], self._converged[point] = forces, converged
        self._novelty[point] = novelty
        self._rest[point] = largest_force(atoms.get_forces())
        return bool(better)

    def _novelty_of(self, positions: FloatArray) -> float:
        return float(self._force_field.novelty(positions))

    def _result(self, n_sweeps: int) -> Scan:
        known = np.flatnonzero(np.isfinite(self._lowest))
        complete = len(known) == len(self._grid)
        turn = self._turn and complete
        chosen = np.append(known, 0) if turn else known
        values = self._grid[chosen].copy()
        if turn:
            values[-1] += 360.0
        positions, forces = self._positions[chosen], self._forces[chosen]
        slopes = np.empty(len(chosen))
        for k, (points, pulls) in enumerate(zip(positions, forces, strict=True)):
            gradient = self._coordinate.gradient(points)
            slopes[k] = -np.vdot(pulls, gradient) / np.vdot(gradient, gradient)
        interrupted = self._stop()
        if not len(chosen):
            raise OptionError("Stopped before the first point was relaxed: nothing to show.")
        return Scan(
            self._coordinate, values, self._lowest[chosen], slopes, positions, forces,
            max_forces=self._rest[chosen], converged=self._converged[chosen],
            hysteresis=self._highest[chosen] - self._lowest[chosen],
            novelty=self._novelty[chosen], relaxed=True, full_turn=turn,
            n_sweeps=n_sweeps, interrupted=interrupted,
        )  # fmt: skip
