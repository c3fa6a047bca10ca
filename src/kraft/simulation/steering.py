"""A constant external force on two atoms, which pulls them apart or pushes them together.

Steered dynamics as in paper 003: forces of one size and opposite directions on two atoms, so that
the center of mass feels none.
"""

from __future__ import annotations

from dataclasses import dataclass

import ase.units
import numpy as np

from kraft.core.errors import OptionError
from kraft.core.typing import FloatArray
from kraft.simulation.motion import Forces

PICONEWTON = 1e-12 * float(ase.units.J) / float(ase.units.m)
"""eV/Å: 10 pN are 6.24 meV/Å."""

Direction = tuple[float, float, float]


@dataclass(frozen=True)
class Steering:
    """A constant force on two atoms in opposite directions.

    The force on atom ``second`` is ``F e`` and that on atom ``first`` is ``-F e``. Without a
    direction ``e`` is the unit vector from ``first`` to ``second`` at each time, and the potential
    is ``-F |r_second - r_first|``: the force neither moves nor turns the molecule as a whole. With
    one, ``e`` is fixed in space and the potential is ``-F e·(r_second - r_first)``: the force also
    turns the molecule until the line between the atoms has this direction. Distances in a periodic
    cell are those between the images that the start has.

    Attributes
    ----------
    first, second
        Numbers of the atoms, from 0.
    force
        ``F`` in pN. Positive: apart (along ``e``); negative: together.
    direction
        Any vector along ``e``, or None for the line between the atoms.

    Raises
    ------
    OptionError
        When the atoms are one, or force or direction are no finite numbers, or the direction is 0.
    """

    first: int
    second: int
    force: float
    direction: Direction | None = None

    def __post_init__(self) -> None:
        if self.first == self.second or min(self.first, self.second) < 0:
            raise OptionError(
                "Expected two different atoms to pull at, numbered from 0, got "
                f"{self.first} and {self.second}."
            )
        if not np.isfinite(self.force):
            raise OptionError(f"Expected a finite force in pN, got {self.force}.")
        if self.direction is not None:
            length = float(np.linalg.norm(self.direction))
            if len(self.direction) != 3 or not (np.isfinite(length) and length > 0.0):
                raise OptionError(
                    "Expected a direction of three numbers that are not all 0, got "
                    f"{self.direction}."
                )

    def __str__(self) -> str:
        kind = "pushing" if self.force < 0.0 else "pulling"
        where = "their line"
        if self.direction is not None:
            where = f"({', '.join(repr(float(number)) for number in self.direction)})"
        size = abs(float(self.force))
        return f"{size!r} pN {kind} atoms {self.first} and {self.second} along {where}"

    @property
    def turns(self) -> bool:
        """Whether it turns the molecule: the direction is fixed in space."""
        return self.direction is not None

    def require_atoms(self, n_atoms: int) -> None:
        """Raise OptionError when there are no atoms of these numbers."""
        if max(self.first, self.second) >= n_atoms:
            raise OptionError(
                f"Cannot pull at atoms {self.first} and {self.second}: the molecule has {n_atoms} "
                f"atoms, numbered from 0 to {n_atoms - 1}."
            )

    def potential(self, positions: FloatArray) -> FloatArray:
        """Return external potential energies ``(R,)`` in eV at ``(R, N, 3)`` in Å."""
        vectors = positions[:, self.second] - positions[:, self.first]
        if self.direction is None:
            lengths: FloatArray = np.sqrt((vectors * vectors).sum(axis=1))
        else:
            lengths = vectors @ self._axis
        return -PICONEWTON * self.force * lengths

    def pulls(self, positions: FloatArray) -> FloatArray:
        """Return forces ``(R, 3)`` in eV/Å on the second atom; those on the first are opposite.

        NaN where the two atoms are in one place and the direction is that of their line.
        """
        if self.direction is not None:
            return np.broadcast_to(PICONEWTON * self.force * self._axis, (len(positions), 3))
        vectors = positions[:, self.second] - positions[:, self.first]
        with np.errstate(invalid="ignore", divide="ignore"):
            units = vectors / np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
        pulls: FloatArray = PICONEWTON * self.force * units
        return pulls

    @property
    def _axis(self) -> FloatArray:
        """Unit vector ``(3,)`` of a fixed direction."""
        vector = np.array(self.direction, dtype=np.float64)
        axis: FloatArray = vector / np.linalg.norm(vector)
        return axis


class SteeredForces:
    """Energies and forces with those of an external force added.

    Parameters
    ----------
    forces
        Without it.
    steering
        The external force.
    """

    def __init__(self, forces: Forces, steering: Steering) -> None:
        self._forces, self._steering = forces, steering

    def __call__(self, positions: FloatArray, /) -> tuple[FloatArray, FloatArray]:
        """Return energies ``(R,)`` in eV and forces ``(R, N, 3)`` in eV/Å at ``(R, N, 3)`` in Å."""
        energies, forces = self._forces(positions)
        pulls = self._steering.pulls(positions)
        forces = forces.copy()
        forces[:, self._steering.second] += pulls
        forces[:, self._steering.first] -= pulls
        return energies + self._steering.potential(positions), forces
