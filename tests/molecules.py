"""Small molecules for tests: geometries without data files, with their permutation groups."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kraft.core.typing import FloatArray, IntArray
from kraft.symmetry.orbits import feature_orbits


@dataclass(frozen=True, eq=False)
class Molecule:
    """Equilibrium geometry ``(N, 3)`` in Å and a permutation group ``(S, N)``, identity first."""

    name: str
    atomic_numbers: IntArray
    positions: FloatArray
    permutations: IntArray
    linear: bool = False

    def __repr__(self) -> str:
        return self.name

    @property
    def n_atoms(self) -> int:
        return len(self.atomic_numbers)

    def frames(self, n: int, *, seed: int = 0, amplitude: float = 0.1) -> FloatArray:
        """Return ``n`` distorted geometries; a linear molecule stays linear but is turned."""
        rng = np.random.default_rng(seed)
        steps = rng.normal(size=(n, self.n_atoms, 3)) * amplitude
        if not self.linear:
            return self.positions + steps
        axes = rng.normal(size=(n, 3))
        axes /= np.linalg.norm(axes, axis=1, keepdims=True)
        return (self.positions[:, 2] + steps[:, :, 2])[:, :, None] * axes[:, None, :]


def group(*blocks: list[IntArray] | list[list[int]], n_atoms: int) -> IntArray:
    """Return the direct product of permutations given by the images of a few atoms each."""
    rows = []
    for choice in itertools.product(*blocks):
        row = np.arange(n_atoms)
        for images in choice:
            places = np.sort(np.asarray(images))
            row[places] = images
        rows.append(row)
    return np.unique(np.array(rows), axis=0)


HYDROGEN = Molecule(
    "hydrogen",
    np.array([1, 1]),
    np.array([[0.0, 0.0, -0.4], [0.0, 0.0, 0.4]]),
    np.array([[0, 1], [1, 0]]),
    linear=True,
)

CARBON_DIOXIDE = Molecule(
    "carbon dioxide",
    np.array([8, 6, 8]),
    np.array([[0.0, 0.0, -1.2], [0.0, 0.0, 0.0], [0.0, 0.0, 1.2]]),
    np.array([[0, 1, 2], [2, 1, 0]]),
    linear=True,
)

WATER = Molecule(
    "water",
    np.array([8, 1, 1]),
    np.array([[0.0, 0.0, 0.1], [0.0, 0.76, -0.5], [0.0, -0.76, -0.5]]),
    np.array([[0, 1, 2], [0, 2, 1]]),
)

CHIRAL = Molecule(  # five different atoms: S = 1
    "bromochlorofluoromethane",
    np.array([6, 1, 9, 17, 35]),
    np.array(
        [
            [0.0, 0.0, 0.0],
            [0.63, 0.63, 0.63],
            [-0.8, -0.8, 0.8],
            [1.0, -1.0, -1.0],
            [-1.1, 1.1, -1.1],
        ]
    ),
    np.arange(5)[None],
)

_HEXAGON = np.array([[np.cos(a), np.sin(a), 0.0] for a in np.arange(6) * np.pi / 3])
_DIHEDRAL = np.array(
    [
        np.r_[image, image + 6]
        for s in range(6)
        for image in ((np.arange(6) + s) % 6, (s - np.arange(6)) % 6)
    ]
)

BENZENE = Molecule(  # S = 12, no atom stays in place
    "benzene",
    np.array([6] * 6 + [1] * 6),
    np.concatenate([1.39 * _HEXAGON, 2.48 * _HEXAGON]),
    _DIHEDRAL[np.lexsort(_DIHEDRAL.T[::-1])],
)

_TURNS = [[0, 1, 2], [1, 2, 0], [2, 0, 1]]

TWO_ROTORS = Molecule(  # S = 18: two methyl-like rotors and a swap on a fixed frame, many classes
    "two rotors",
    np.array([1, 1, 1, 6, 6, 8, 8, 7, 1, 1, 1]),
    np.array(
        [
            [1.0, 0.0, 0.0], [-0.5, 0.87, 0.0], [-0.5, -0.87, 0.0],
            [0.0, 0.1, 0.5], [0.1, 0.0, 2.0], [1.2, 0.3, 2.6], [-1.1, -0.2, 2.7], [0.2, 1.4, 3.3],
            [0.0, 1.0, 5.0], [0.87, -0.5, 5.1], [-0.87, -0.5, 5.0],
        ]
    ),
    group(
        [np.array(turn) for turn in _TURNS],
        [[5, 6], [6, 5]],
        [np.array(turn) + 8 for turn in _TURNS],
        n_atoms=11,
    ),
)  # fmt: skip

MOLECULES = (HYDROGEN, CARBON_DIOXIDE, WATER, CHIRAL, BENZENE, TWO_ROTORS)
SMALL_MOLECULES = (HYDROGEN, CARBON_DIOXIDE, WATER, CHIRAL)


def every_other_orbit(molecule: Molecule) -> IntArray:
    """Return whole orbits of pair features, about half of them; of two or more, not all."""
    orbits = feature_orbits(molecule.permutations)
    return np.sort(np.concatenate(orbits[:: 2 if len(orbits) > 1 else 1]))


def tensor(array: FloatArray, dtype: torch.dtype = torch.float64, device: str = "cpu") -> Tensor:
    return torch.tensor(np.asarray(array), dtype=dtype, device=device)


def random_rotation(seed: int = 0) -> FloatArray:
    """Return a proper rotation matrix."""
    matrix = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    return matrix * np.sign(np.linalg.det(matrix))


def pair_potential(
    atomic_numbers: IntArray, positions: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return energies ``(B,)`` and forces ``(B, N, 3)`` of a smooth, permutation-symmetric model.

    ``E = Σ_{a<b} A (1 - e^{-(r - r_0)})²`` with constants of the pair of elements.
    """
    first, second = np.triu_indices(len(atomic_numbers), 1)
    charges = atomic_numbers[first] * atomic_numbers[second]
    depth, rest = 1.0 + 0.3 * np.cos(charges), 1.5 + 0.3 * np.sin(charges)
    separations = positions[:, first] - positions[:, second]
    distances = np.linalg.norm(separations, axis=-1)
    decay = np.exp(-(distances - rest))
    energies = (depth * (1.0 - decay) ** 2).sum(axis=1)
    pull = -(2.0 * depth * (1.0 - decay) * decay / distances)[..., None] * separations
    forces = np.zeros_like(positions)
    for pair, (a, b) in enumerate(zip(first, second, strict=True)):
        forces[:, a] += pull[:, pair]
        forces[:, b] -= pull[:, pair]
    return energies, forces
