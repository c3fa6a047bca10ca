"""The forces of all sets at once against the matrices of the sets."""

import numpy as np
import pytest
import torch
from atomized_cases import LENGTH_SCALE, atomized_arrays
from molecules import BENZENE, MOLECULES, TWO_ROTORS, WATER, tensor

import kraft.kernels.atom_expansion as module
from kraft.kernels import KERNELS
from kraft.kernels.atom_expansion import AtomExpansion
from kraft.kernels.atom_geometries import Distances, radial_factors


def expected_forces(arrays, kernel, coefficients, n_train):
    """Return cross-covariances times coefficients, set by set."""
    queries = arrays.geometries.part(slice(n_train, len(arrays.geometries)))
    training = arrays.geometries.part(slice(0, n_train))
    factors = radial_factors(kernel, LENGTH_SCALE, Distances(queries, training).tile())
    forces = torch.zeros(len(queries), arrays.geometries.n_atoms, 3, dtype=torch.float64)
    for atom_set in arrays.sets:
        tile = atom_set.tile(queries, atom_set.columns(training), factors)
        matrix = tensor(tile.reshape(len(queries) * atom_set.block_size, -1))
        own = coefficients[:, atom_set.atoms].reshape(-1)
        forces[:, atom_set.atoms] = (matrix @ own).view(len(queries), -1, 3)
    return queries, training, factors, forces


@pytest.mark.parametrize("elements", [1, 150_000], ids=["tiny tiles", "tiles"])
@pytest.mark.parametrize("kernel", sorted(KERNELS))
@pytest.mark.parametrize("molecule", [*MOLECULES, BENZENE, TWO_ROTORS], ids=str)
def test_forces_are_those_of_the_covariances(molecule, kernel, elements, monkeypatch):
    monkeypatch.setattr(module, "TILE_ELEMENTS", elements)
    arrays = atomized_arrays(molecule, molecule.frames(7))
    coefficients = tensor(np.random.default_rng(0).normal(size=(4, molecule.n_atoms, 3)))
    queries, training, factors, expected = expected_forces(arrays, KERNELS[kernel], coefficients, 4)
    sets = [atom_set.atoms for atom_set in arrays.sets]
    forces = AtomExpansion(training, sets, coefficients)(queries, factors)
    scale = float(expected.abs().max())
    torch.testing.assert_close(tensor(forces), expected, rtol=0, atol=1e-12 * scale)


def test_single_precision_is_close():
    arrays = atomized_arrays(WATER, WATER.frames(7))
    coefficients = tensor(np.random.default_rng(0).normal(size=(4, 3, 3)))
    queries, training, factors, expected = expected_forces(
        arrays, KERNELS["matern52"], coefficients, 4
    )
    sets = [atom_set.atoms for atom_set in arrays.sets]
    forces = tensor(AtomExpansion(training, sets, coefficients, torch.float32)(queries, factors))
    error = float((forces - expected).abs().max() / expected.abs().max())
    assert 1e-10 < error < 1e-5
