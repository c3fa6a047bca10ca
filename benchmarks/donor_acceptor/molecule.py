"""4-dimethylamino-4'-nitrostilbene, built from standard bond lengths, and rotations of its bonds.

The molecule of paper 000, figure 5: an electron donor (dimethylamine) and an acceptor (nitro) at
the ends of a conjugated bridge (phenylene, ethylene, phenylene).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray

_AROMATIC, _ETHYLENE, _VINYL_PHENYL = 1.40, 1.35, 1.46
_AMINE_PHENYL, _AMINE_METHYL, _NITRO_PHENYL, _NITRO = 1.37, 1.45, 1.46, 1.22
_HYDROGEN = 1.09
_BOND_REACH = 1.25
"""Atoms nearer than this times the sum of their covalent radii are bonded."""


@dataclass(frozen=True, eq=False)
class Stilbene:
    """The molecule.

    Attributes
    ----------
    atomic_numbers, positions
        ``(36,)`` and ``(36, 3)`` in Å, planar but for the methyl hydrogens.
    parts
        Names of its parts and their atoms.
    single_bonds
        Names of the single bonds that are turned, with the atom that stays and the one that turns,
        together with everything behind it.
    """

    atomic_numbers: Array
    positions: Array
    parts: dict[str, list[int]]
    single_bonds: dict[str, tuple[int, int]]

    @property
    def permutations(self) -> Array:
        """``(16, N)`` the symmetries by turns of half a circle about single bonds.

        Of each phenylene, of the amine and of the nitro group. The molecule has 18 times as many:
        turns of the methyl groups, which the frames do not show.
        """
        n_atoms = len(self.atomic_numbers)
        group = [list(range(n_atoms))]
        for part, exchanges in _EXCHANGES.items():
            atoms = next(atoms for name, atoms in self.parts.items() if part in name)
            swap = list(range(n_atoms))
            for one, other in exchanges:
                swap[atoms[one]], swap[atoms[other]] = atoms[other], atoms[one]
            group += [[swap[atom] for atom in element] for element in group]
        return np.array(group)


_RING_FLIP = ((1, 5), (2, 4), (6, 9), (7, 8))
_EXCHANGES = {
    "beside the donor": _RING_FLIP,
    "beside the acceptor": _RING_FLIP,
    "dimethylamine": ((1, 5), (2, 6), (3, 8), (4, 7)),
    "nitro": ((1, 2),),
}
"""Atoms of a part, counted within it, that half a turn exchanges."""


def stilbene() -> Stilbene:
    """Build the molecule in a plane, where all directions are multiples of 60 degrees."""
    atoms = _Builder()
    donor_end = atoms.add(6, np.zeros(3))
    acceptor_end = atoms.grow(6, donor_end, _ETHYLENE, 0)
    atoms.grow(1, donor_end, _HYDROGEN, 240)
    atoms.grow(1, acceptor_end, _HYDROGEN, 60)
    ethylene = atoms.taken()
    donor_ring, amine_carbon = atoms.phenylene(donor_end, 120)
    donor_atoms = atoms.taken()
    acceptor_ring, nitro_carbon = atoms.phenylene(acceptor_end, 300)
    acceptor_atoms = atoms.taken()
    amine = atoms.grow(7, amine_carbon, _AMINE_PHENYL, 120)
    for angle, side in ((60, 90), (180, -90)):
        atoms.methyl(amine, angle, angle + side)
    amine_atoms = atoms.taken()
    nitro = atoms.grow(7, nitro_carbon, _NITRO_PHENYL, 300)
    for angle in (0, 240):
        atoms.grow(8, nitro, _NITRO, angle)
    nitro_atoms = atoms.taken()
    return Stilbene(
        np.array(atoms.numbers),
        np.array(atoms.positions),
        {
            "dimethylamine (donor)": amine_atoms,
            "phenylene beside the donor": donor_atoms,
            "ethylene": ethylene,
            "phenylene beside the acceptor": acceptor_atoms,
            "nitro (acceptor)": nitro_atoms,
        },
        {
            "ethylene, acceptor's phenylene": (acceptor_end, acceptor_ring),
            "ethylene, donor's phenylene": (donor_end, donor_ring),
            "phenylene, dimethylamine": (amine_carbon, amine),
            "phenylene, nitro": (nitro_carbon, nitro),
        },
    )


class _Builder:
    """Atoms put one beside the other in the plane ``z = 0``."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.positions: list[Array] = []
        self._told = 0

    def add(self, number: int, position: Array) -> int:
        self.numbers.append(number)
        self.positions.append(position)
        return len(self.numbers) - 1

    def grow(self, number: int, atom: int, length: float, angle: float) -> int:
        """Put an atom beside another, in the direction of an angle in degrees."""
        return self.add(number, self.positions[atom] + length * _direction(angle))

    def phenylene(self, atom: int, angle: float) -> tuple[int, int]:
        """Put a ring in this direction; return its nearest carbon and the one opposite."""
        center = self.positions[atom] + (_VINYL_PHENYL + _AROMATIC) * _direction(angle)
        ring = [angle + 180 + 60 * step for step in range(6)]
        carbons = [self.add(6, center + _AROMATIC * _direction(a)) for a in ring]
        for step in (1, 2, 4, 5):
            self.add(1, center + (_AROMATIC + _HYDROGEN) * _direction(ring[step]))
        return carbons[0], carbons[3]

    def methyl(self, atom: int, angle: float, side: float) -> None:
        """Put a methyl group in this direction, one hydrogen in the plane on the given side."""
        carbon = self.grow(6, atom, _AMINE_METHYL, angle)
        axis, across, normal = _direction(angle), _direction(side), np.array([0.0, 0.0, 1.0])
        for turn in np.radians([0.0, 120.0, 240.0]):
            outward = np.cos(turn) * across + np.sin(turn) * normal
            step = axis / 3.0 + np.sqrt(8.0) / 3.0 * outward
            self.add(1, self.positions[carbon] + _HYDROGEN * step)

    def taken(self) -> list[int]:
        """Return the atoms that were added since this was asked last."""
        some = list(range(self._told, len(self.numbers)))
        self._told = len(self.numbers)
        return some


def _direction(angle: float) -> Array:
    radians = np.radians(angle)
    return np.array([np.cos(radians), np.sin(radians), 0.0])


def bonds(atomic_numbers: Array, positions: Array) -> list[tuple[int, int]]:
    """Return the pairs of bonded atoms."""
    from ase.data import covalent_radii

    radii = covalent_radii[atomic_numbers]
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    near = distances < _BOND_REACH * (radii[:, None] + radii[None])
    return [(int(a), int(b)) for a, b in np.argwhere(np.triu(near, 1))]


def atoms_behind(bonded: list[tuple[int, int]], stays: int, turns: int) -> list[int]:
    """Return the atoms that turn with the bond from ``stays`` to ``turns``."""
    found, new = {turns}, [turns]
    while new:
        atom = new.pop()
        for pair in bonded:
            if atom in pair:
                other = pair[0] if pair[1] == atom else pair[1]
                if other not in found and {atom, other} != {stays, turns}:
                    found.add(other)
                    new.append(other)
    if stays in found:
        raise ValueError(f"the bond of atoms {stays} and {turns} is part of a ring")
    return sorted(found)


def turned(positions: Array, stays: int, turns: int, moving: list[int], angle: float) -> Array:
    """Return positions ``(N, 3)`` with a bond turned by an angle in radians."""
    axis = positions[turns] - positions[stays]
    axis = axis / np.linalg.norm(axis)
    arms = positions[moving] - positions[turns]
    along = (arms @ axis)[:, None] * axis
    across = arms - along
    result = positions.copy()
    result[moving] = (
        positions[turns] + along + np.cos(angle) * across + np.sin(angle) * np.cross(axis, across)
    )
    return result
