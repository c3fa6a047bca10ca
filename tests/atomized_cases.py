"""Arrays of atomized force fields of small molecules, and dense covariances by autograd."""

from __future__ import annotations

import numpy as np
import torch
from kernel_cases import LENGTH_SCALE, Case
from molecules import Molecule, pair_potential, tensor

from kraft.data import Dataset
from kraft.descriptors import InverseDistances
from kraft.kernels import KERNELS
from kraft.models.aff.systems import AtomizedArrays
from kraft.symmetry.orbits import atom_orbits, feature_orbits

__all__ = ["LENGTH_SCALE", "atomized_arrays", "dataset", "full_covariance", "orbit_weights"]


def orbit_weights(molecule: Molecule) -> np.ndarray:
    """Return feature weights that differ between orbits, as `kernel_cases.Case` has them."""
    weights = np.ones(molecule.n_atoms * (molecule.n_atoms - 1) // 2)
    for index, orbit in enumerate(feature_orbits(molecule.permutations)):
        weights[orbit] = (1.0, 1.5, 2.0)[index % 3]
    return weights


def atomized_arrays(
    molecule: Molecule, positions: np.ndarray, *, sets=None, cell=None, weighted: bool = True
) -> AtomizedArrays:
    """Return the arrays of some geometries with the forces of the pair potential."""
    _, forces = pair_potential(molecule.atomic_numbers, positions)
    descriptor = InverseDistances(molecule.n_atoms, cell=None if cell is None else tensor(cell))
    weights = orbit_weights(molecule)
    return AtomizedArrays.of(
        descriptor,
        tensor(positions),
        tensor(forces),
        molecule.permutations,
        atom_orbits(molecule.permutations) if sets is None else sets,
        weights if weighted else np.ones_like(weights),
    )


def full_covariance(
    molecule: Molecule, positions: np.ndarray, kernel: str = "matern52", *, cell=None
) -> torch.Tensor:
    """Return ``(B, 3N + 1, B, 3N + 1)`` of forces and energy of all geometries, by autograd."""
    case = Case(KERNELS[kernel], molecule, positions, cell=cell)
    case.scale = tensor(orbit_weights(molecule)) * case.kernel.scale(LENGTH_SCALE)
    count = len(positions)
    rows = [torch.stack([case.covariance(i, j) for j in range(count)], dim=1) for i in range(count)]
    return torch.stack(rows)


def dataset(molecule: Molecule, n: int, *, seed: int = 0, energies: bool = True) -> Dataset:
    """Return frames of the pair potential."""
    positions = molecule.frames(n, seed=seed)
    found, forces = pair_potential(molecule.atomic_numbers, positions)
    return Dataset(molecule.atomic_numbers, positions, forces, found if energies else None)
