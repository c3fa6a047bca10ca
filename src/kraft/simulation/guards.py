"""What shows that a simulation has left what its model knows.

Distances are judged by covalent radii (as ASE tabulates them), by the bonds of the start geometries
and by what the training geometries show: what these contain is never an alarm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from scipy.special import chdtri

from kraft.core.errors import GeometryError, OptionError
from kraft.core.typing import FloatArray, IntArray
from kraft.data.geometry import pair_distances
from kraft.models import ForceField
from kraft.simulation.motion import Motion
from kraft.simulation.signals import Signal
from kraft.simulation.system import System

Reason = Literal[
    "not finite", "broken bond", "close contact", "temperature", "novelty", "uncertainty"
]

BONDED = 1.3
"""Atoms nearer than this times the sum of their covalent radii in every start are bonded."""

BROKEN = 1.5
"""A bond is broken beyond this times the sum of the radii."""

STRETCHED = 1.3
"""A bond that starts long is broken beyond this times its longest start."""

CLASH = 1.2
"""Atoms that are not bonded clash below this times the sum of their radii."""

CRUSHED = 0.65
"""Bonded atoms clash below this times the sum of their radii."""

VISITED_SLACK = 0.05
"""Distances may leave the range of the training geometries by this share of it without alarm."""

HOT = 3.0
"""A temperature is never an alarm below this times the one wanted."""

IMPROBABLE = 1e-12
"""Nor when it is above by chance with a larger probability than this."""

NOVELTY, FORCE_STD = "novelty", "force_std_eV_A"
"""Columns of what guards compute, in the table of a run."""


@dataclass(frozen=True)
class Alarm:
    """That something is wrong with one replica.

    Attributes
    ----------
    row
        Which of the replicas looked at.
    reason
        What kind of thing.
    message
        What exactly, with numbers and limits.
    """

    row: int
    reason: Reason
    message: str


class Guard(Protocol):
    """Looks at replicas and tells which of them are in trouble."""

    def check(self, motion: Motion, system: System) -> list[Alarm]:
        """Return the alarms; all numbers in ``motion`` are finite."""
        ...


def alarms(guards: Sequence[Guard], motion: Motion, system: System) -> list[Alarm]:
    """Return the first alarm of each replica that has any; those that are not finite come first."""
    values = (motion.forces, motion.positions, motion.velocities)
    finite = np.array([np.isfinite(array).all(axis=(1, 2)) for array in values]).all(axis=0)
    found = {
        int(row): Alarm(
            int(row),
            "not finite",
            "Positions or forces are no finite numbers any more: atoms are in one place, or the "
            "time step is too long.",
        )
        for row in np.flatnonzero(~finite)
    }
    rows = np.flatnonzero(finite)
    if len(rows) == 0:
        return list(found.values())
    looked_at = motion if finite.all() else motion.rows(rows.tolist())
    for guard in guards:
        for alarm in guard.check(looked_at, system):
            row = int(rows[alarm.row])
            found.setdefault(row, Alarm(row, alarm.reason, alarm.message))
    return [found[row] for row in sorted(found)]


@dataclass(frozen=True, eq=False)
class DistanceGuard:
    """Broken bonds and atoms that come too near.

    Attributes
    ----------
    atomic_numbers
        ``(N,)``.
    lower, upper
        ``(N (N - 1) / 2,)`` limits in Å, row by row of the triangle; no upper one (infinity) for
        atoms that are not bonded.
    cell
        ``(3, 3)`` in Å, or None.
    """

    atomic_numbers: IntArray
    lower: FloatArray
    upper: FloatArray
    cell: FloatArray | None = None

    @classmethod
    def of(
        cls,
        atomic_numbers: IntArray,
        starts: FloatArray,
        *,
        cell: FloatArray | None = None,
        visited: tuple[FloatArray, FloatArray] | None = None,
    ) -> DistanceGuard:
        """Return the guard of a molecule that starts at ``(S, N, 3)`` in Å.

        Parameters
        ----------
        atomic_numbers
            ``(N,)``.
        starts
            A pair is bonded when it is in all of them.
        cell
            ``(3, 3)`` in Å, or None.
        visited
            Shortest and longest distances in Å that the training geometries show, row by row of
            the triangle (:func:`visited_distances`).

        Raises
        ------
        GeometryError
            When a start is outside the limits itself.
        """
        radii = covalent_radii[atomic_numbers]
        first, second = np.triu_indices(len(atomic_numbers), 1)
        sums = radii[first] + radii[second]
        distances = pair_distances(starts, cell)
        bonded = (distances < BONDED * sums).all(axis=0)
        apart = (distances >= BONDED * sums).all(axis=0)
        lower = np.where(apart, CLASH, CRUSHED) * sums
        longest = np.maximum(BROKEN * sums, STRETCHED * distances.max(axis=0))
        upper = np.where(bonded, longest, np.inf)
        if visited is not None:
            lower = np.minimum(lower, (1.0 - VISITED_SLACK) * visited[0])
            upper = np.maximum(upper, (1.0 + VISITED_SLACK) * visited[1])
        guard = cls(atomic_numbers, lower, upper, cell)
        if any(found := guard._alarms(distances)):
            raise GeometryError(
                f"Start geometry {found[0].row} is no good: {found[0].message} Expected geometries "
                "as in the training data; relax it, and check the unit of length."
            )
        return guard

    def check(self, motion: Motion, system: System) -> list[Alarm]:  # noqa: ARG002
        """Return the alarms."""
        return self.at(motion.positions)

    def at(self, positions: FloatArray) -> list[Alarm]:
        """Return the alarms at ``(R, N, 3)`` in Å."""
        return self._alarms(pair_distances(positions, self.cell))

    def _alarms(self, distances: FloatArray) -> list[Alarm]:
        near, far = distances < self.lower, distances > self.upper
        found = []
        for row in np.flatnonzero((near | far).any(axis=1)):
            excess = np.maximum(self.lower / distances[row], distances[row] / self.upper)
            pair = int(excess.argmax())
            length = distances[row, pair]
            names = self._names(pair)
            if near[row, pair]:
                limit = f"{length:.2f} Å apart, nearer than {self.lower[pair]:.2f} Å."
                found.append(Alarm(int(row), "close contact", f"Atoms {names} are {limit}"))
            else:
                limit = f"{length:.2f} Å long, beyond {self.upper[pair]:.2f} Å."
                found.append(Alarm(int(row), "broken bond", f"The bond {names} is {limit}"))
        return found

    def _names(self, pair: int) -> str:
        first, second = (int(atoms[pair]) for atoms in np.triu_indices(len(self.atomic_numbers), 1))
        return "-".join(
            f"{chemical_symbols[self.atomic_numbers[atom]]}{atom}" for atom in (first, second)
        )


@dataclass(frozen=True)
class TemperatureGuard:
    """Runaway temperatures.

    Attributes
    ----------
    temperature
        K, wanted.
    """

    temperature: float

    def limit(self, degrees_of_freedom: int) -> float:
        """Return the temperature in K above which something is wrong.

        Three times the one wanted, or that which the canonical distribution exceeds with a
        probability of 1e-12.
        """
        chance = float(chdtri(degrees_of_freedom, IMPROBABLE)) / degrees_of_freedom
        return self.temperature * max(HOT, chance)

    def check(self, motion: Motion, system: System) -> list[Alarm]:
        """Return the alarms."""
        temperatures = system.temperatures(motion.velocities)
        limit = self.limit(system.degrees_of_freedom)
        return [
            Alarm(
                int(row),
                "temperature",
                f"The temperature is {temperatures[row]:.0f} K, beyond {limit:.0f} K where "
                f"{self.temperature:g} K is wanted.",
            )
            for row in np.flatnonzero(temperatures > limit)
        ]


@dataclass(frozen=True, eq=False)
class NoveltyGuard:
    """Geometries far from the training geometries (:meth:`kraft.ForceField.novelty`).

    Attributes
    ----------
    force_field
        The model.
    limit
        Highest novelty without alarm; geometries like the training ones have about 1.
    """

    force_field: ForceField
    limit: float

    def __post_init__(self) -> None:
        _require_limit("novelty", self.limit)

    @cached_property
    def signal(self) -> Signal:
        """The novelty of geometries."""
        return Signal(NOVELTY, self.force_field.novelty)

    def check(self, motion: Motion, system: System) -> list[Alarm]:  # noqa: ARG002
        """Return the alarms."""
        return novelty_alarms(self.signal(motion.positions), self.limit)


@dataclass(frozen=True, eq=False)
class UncertaintyGuard:
    """Forces that the model is unsure of; costs more than the forces themselves.

    Attributes
    ----------
    force_field
        The model.
    limit
        Largest standard deviation of a force component without alarm, in eV/Å.
    """

    force_field: ForceField
    limit: float

    def __post_init__(self) -> None:
        _require_limit("uncertainty", self.limit)

    @cached_property
    def signal(self) -> Signal:
        """The largest standard deviation of a force component in eV/Å."""
        return Signal(FORCE_STD, self._largest)

    def check(self, motion: Motion, system: System) -> list[Alarm]:  # noqa: ARG002
        """Return the alarms."""
        return uncertainty_alarms(self.signal(motion.positions), self.limit)

    def _largest(self, positions: FloatArray) -> FloatArray:
        predicted = self.force_field.predict(positions, uncertainty=True)
        largest: FloatArray = predicted.forces_std.max(axis=(1, 2))
        return largest


def novelty_alarms(novelty: FloatArray, limit: float) -> list[Alarm]:
    """Return the alarms of geometries with a novelty ``(R,)`` beyond a limit."""
    return [
        Alarm(
            int(row),
            "novelty",
            f"The geometry is unlike the training geometries: novelty {novelty[row]:.2f}, "
            f"beyond {limit:g}.",
        )
        for row in np.flatnonzero(novelty > limit)
    ]


def uncertainty_alarms(forces_std: FloatArray, limit: float) -> list[Alarm]:
    """Return the alarms of geometries with a largest deviation ``(R,)`` in eV/Å beyond a limit."""
    return [
        Alarm(
            int(row),
            "uncertainty",
            f"A force has a standard deviation of {forces_std[row]:.3g} eV/Å, beyond "
            f"{limit:g} eV/Å.",
        )
        for row in np.flatnonzero(forces_std > limit)
    ]


def visited_distances(force_field: ForceField) -> tuple[FloatArray, FloatArray] | None:
    """Return the shortest and the longest distance of each pair in the training geometries.

    Each is ``(N (N - 1) / 2,)`` in Å, row by row of the triangle, equivalent pairs alike; None
    where the model lacks its training geometries (one imported from another program).
    """
    positions = force_field.parameters.training_positions
    if positions is None:
        return None
    distances = pair_distances(positions, force_field.parameters.cell)
    n_atoms = positions.shape[1]
    first, second = np.triu_indices(n_atoms, 1)
    ends = []
    for row in (-distances.min(axis=0), distances.max(axis=0)):
        square = np.zeros((n_atoms, n_atoms))
        square[first, second] = square[second, first] = row
        equivalent = [square[np.ix_(p, p)][first, second] for p in force_field.permutations]
        ends.append(np.max(equivalent, axis=0))
    return -ends[0], ends[1]


def _require_limit(name: str, limit: float) -> None:
    if not limit > 0.0:
        raise OptionError(f"Expected a positive limit of the {name}, got {limit}.")
