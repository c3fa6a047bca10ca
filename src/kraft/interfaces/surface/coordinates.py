"""Bond lengths, angles and dihedral angles: values, gradients, and geometries that have a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.constraints import FixConstraint
from ase.data import chemical_symbols
from scipy.spatial.transform import Rotation

from kraft.analysis.trajectories import BondGraph
from kraft.core.errors import GeometryError, OptionError
from kraft.core.typing import FloatArray, IntArray
from kraft.symmetry.distances import minimum_image

Kind = Literal["bond", "angle", "dihedral"]
_KINDS: dict[int, Kind] = {2: "bond", 3: "angle", 4: "dihedral"}
_TOLERANCE = 1e-9
_MAX_ROUNDS = 60
_NEARLY_STRAIGHT = 1.0
"""Degrees from 0 or 180 within which an angle has no usable direction."""


@dataclass(frozen=True, eq=False)
class InternalCoordinate:
    """The distance of two atoms, the angle of three, or the dihedral angle of four in a row.

    Angles are in degrees, dihedral angles with IUPAC's sign from -180 to 180, distances in Å. In a
    periodic cell the nearest images of neighbors in the row count.

    Parameters
    ----------
    atoms
        Two, three or four different atoms, counted from 0.
    cell
        ``(3, 3)`` in Å, or None.

    Raises
    ------
    OptionError
        When they are not two to four different atoms.
    """

    atoms: tuple[int, ...]
    cell: FloatArray | None = None

    def __post_init__(self) -> None:
        if len(self.atoms) not in _KINDS or len(set(self.atoms)) != len(self.atoms):
            raise OptionError(
                "Expected two (bond), three (angle) or four (dihedral) different atoms, got "
                f"{' '.join(map(str, self.atoms))}."
            )
        if min(self.atoms) < 0:
            raise OptionError(f"Atoms are counted from 0, got {min(self.atoms)}.")

    @property
    def kind(self) -> Kind:
        """What it is."""
        return _KINDS[len(self.atoms)]

    @property
    def unit(self) -> str:
        """Of its values."""
        return "Å" if self.kind == "bond" else "°"

    @property
    def period(self) -> float | None:
        """360 of a dihedral angle, None of others."""
        return 360.0 if self.kind == "dihedral" else None

    def require_in(self, n_atoms: int) -> None:
        """Raise OptionError unless all atoms are in a molecule of ``n_atoms``."""
        if max(self.atoms) >= n_atoms:
            raise OptionError(
                f"Expected atoms from 0 to {n_atoms - 1}, got {max(self.atoms)}. Atoms are counted "
                "from 0."
            )

    def name(self, atomic_numbers: Sequence[int] | IntArray) -> str:
        """Return it in words, ``dihedral C1-C0-O2-H3``."""
        names = (f"{chemical_symbols[atomic_numbers[atom]]}{atom}" for atom in self.atoms)
        return f"{self.kind} {'-'.join(names)}"

    def value(self, positions: FloatArray) -> float:
        """Return the value at ``(N, 3)`` in Å; GeometryError where three atoms lie in a line."""
        arms = self._arms(positions)
        if self.kind == "bond":
            return float(np.linalg.norm(arms[0]))
        if self.kind == "angle":
            crossed = np.linalg.norm(np.cross(arms[0], arms[1]))
            return float(np.degrees(np.arctan2(crossed, -arms[0] @ arms[1])))
        left, right = np.cross(arms[0], arms[1]), np.cross(arms[1], arms[2])
        self._require_bent(min(np.linalg.norm(left), np.linalg.norm(right)))
        sine = arms[0] @ right * np.linalg.norm(arms[1])
        return float(np.degrees(np.arctan2(sine, left @ right)))

    def gradient(self, positions: FloatArray) -> FloatArray:
        """Return the derivative ``(N, 3)`` of the value, per Å.

        Of a dihedral angle: Blondel and Karplus, J. Comput. Chem. 17, 1132 (1996), eq. 27.
        """
        arms = self._arms(positions)
        if self.kind == "bond":
            direction = arms[0] / np.linalg.norm(arms[0])
            parts = [-direction, direction]
        elif self.kind == "angle":
            parts = self._angle_gradient(-arms[0], arms[1])
        else:
            parts = self._dihedral_gradient(*arms)
        gradient = np.zeros_like(positions)
        gradient[list(self.atoms)] = parts
        return gradient

    def difference(self, value: float, other: float) -> float:
        """Return ``value - other``, of a dihedral angle the short way round."""
        gap = value - other
        return gap if self.period is None else (gap + 180.0) % 360.0 - 180.0

    def moved(self, positions: FloatArray, value: float, side: IntArray | None) -> FloatArray:
        """Return ``(N, 3)`` with another value, nothing else of the geometry changed if possible.

        Parameters
        ----------
        positions
            ``(N, 3)`` in Å.
        value
            That it shall have.
        side
            Atoms to move as one piece (:meth:`movable`). None: the atoms of the coordinate alone
            give way, along its gradient.
        """
        if side is None:
            return self.projected(positions, value)
        gap = self.difference(value, self.value(positions))
        result: FloatArray = positions.copy()
        if self.kind == "bond":
            arm = self._arms(positions)[0]
            result[side] += gap * arm / np.linalg.norm(arm)
            return result
        arms = self._arms(positions)
        if self.kind == "angle":
            axis = np.cross(-arms[0], arms[1])
            self._require_bent(float(np.linalg.norm(axis)))
        else:
            axis = arms[1]
        center = positions[self.atoms[1]]
        turn = Rotation.from_rotvec(np.radians(gap) * axis / np.linalg.norm(axis))
        result[side] = turn.apply(positions[side] - center) + center
        return result

    def projected(self, positions: FloatArray, value: float) -> FloatArray:
        """Return the geometry with ``value`` that is reached along the gradient (Newton's method).

        Raises
        ------
        GeometryError
            When it is not reached.
        """
        result: FloatArray = positions.copy()
        for _ in range(_MAX_ROUNDS):
            gap = self.difference(value, self.value(result))
            if abs(gap) < _TOLERANCE:
                return result
            slope = self.gradient(result)
            result += np.clip(gap, -10.0, 10.0) * slope / np.vdot(slope, slope)
        raise GeometryError(
            f"No geometry with {self.kind} {'-'.join(map(str, self.atoms))} of {value:g} "
            f"{self.unit} was found near the last one. Take smaller steps or another range."
        )

    def movable(self, graph: BondGraph) -> IntArray | None:
        """Return the atoms that turn or move with the last one when the coordinate changes.

        None when those are held at the other side too, in a ring.
        """
        near, far = self.atoms[-2], self.atoms[-1]
        cut = (self.atoms[1], self.atoms[2]) if self.kind == "dihedral" else (near, far)
        kept = ~np.isin(graph.bonds, cut).all(axis=1)
        parts = BondGraph(graph.atomic_numbers, graph.bonds[kept]).fragments
        side = next(part for part in parts if far in part)
        held = self.atoms[:2] if self.kind == "dihedral" else self.atoms[:-1]
        return None if np.isin(held, side).any() else side

    def _arms(self, positions: FloatArray) -> FloatArray:
        """Return vectors from each atom of the row to the next."""
        steps: FloatArray = np.diff(positions[list(self.atoms)], axis=0)
        return minimum_image(steps, self.cell)

    def _require_bent(self, area: float | np.floating[Any]) -> None:
        if not area > 1e-8:
            raise GeometryError(
                f"Atoms {' '.join(map(str, self.atoms))} have no {self.kind}: three of them lie in "
                "a line. Choose other atoms."
            )

    def _angle_gradient(self, first: FloatArray, second: FloatArray) -> list[FloatArray]:
        """Return the derivatives of the angle between two arms from the middle atom."""
        sizes = np.linalg.norm(first), np.linalg.norm(second)
        normal = np.cross(first, second)
        area = np.linalg.norm(normal)
        self._require_bent(area)
        normal = normal / area
        outer = np.degrees(np.cross(first, normal)) / sizes[0] ** 2
        other = np.degrees(np.cross(normal, second)) / sizes[1] ** 2
        return [outer, -outer - other, other]

    def _dihedral_gradient(
        self, before: FloatArray, axis: FloatArray, after: FloatArray
    ) -> list[FloatArray]:
        left, right = np.cross(before, axis), np.cross(axis, after)
        self._require_bent(min(np.linalg.norm(left), np.linalg.norm(right)))
        length = np.linalg.norm(axis)
        first = -length / (left @ left) * left
        last = length / (right @ right) * right
        near = before @ axis / length**2
        far = after @ axis / length**2
        second = -(1.0 + near) * first + far * last
        third = near * first - (1.0 + far) * last
        return [np.degrees(part) for part in (first, second, third, last)]


def check_value(coordinate: InternalCoordinate, value: float) -> None:
    """Raise OptionError when no geometry has this value, or none near it has a direction."""
    kind = coordinate.kind
    if kind == "bond" and not value > 0.0:
        raise OptionError(f"Expected positive bond lengths in Å, got {value:g}.")
    if kind == "angle" and not _NEARLY_STRAIGHT <= value <= 180.0 - _NEARLY_STRAIGHT:
        raise OptionError(
            f"Expected angles from {_NEARLY_STRAIGHT:g} to {180 - _NEARLY_STRAIGHT:g} degrees, got "
            f"{value:g}: straight arms have no direction to turn in."
        )


class FixCoordinate(FixConstraint):
    """Constraint of ASE that keeps an internal coordinate at a value.

    Positions are brought back to the value, and forces lose what would change it, exactly. ASE's
    own :class:`ase.constraints.FixInternals` does the same for many coordinates but fails for
    linear molecules.
    """

    def __init__(self, coordinate: InternalCoordinate, value: float) -> None:
        super().__init__()
        self.coordinate, self.value = coordinate, value

    def get_removed_dof(self, atoms: Atoms) -> int:  # noqa: ARG002
        """Return how many motions are taken away."""
        return 1

    def adjust_positions(self, atoms: Atoms, new: FloatArray) -> None:  # noqa: ARG002
        """Bring ``new`` to the value."""
        new[:] = self.coordinate.projected(new, self.value)

    def adjust_forces(self, atoms: Atoms, forces: FloatArray) -> None:
        """Take away what would change the coordinate."""
        slope = self.coordinate.gradient(atoms.positions)
        forces -= np.vdot(forces, slope) / np.vdot(slope, slope) * slope

    def index_shuffle(self, atoms: Atoms, ind: Any) -> None:
        """Refuse: the atoms of a scan keep their order."""
        raise NotImplementedError("FixCoordinate does not follow a new order of atoms.")

    def todict(self) -> dict[str, Any]:
        """Return what it consists of, for files of ASE."""
        return {
            "name": "FixCoordinate",
            "kwargs": {"atoms": self.coordinate.atoms, "value": self.value},
        }
