"""Covariances with energies, and of geometries with themselves, against autograd."""

import pytest
import torch
from atomized_cases import LENGTH_SCALE, atomized_arrays, full_covariance
from molecules import MOLECULES, WATER, tensor

from kraft.kernels import KERNELS
from kraft.kernels.atom_energies import dense_jacobian, force_energy_covariances, own_covariances
from kraft.kernels.atom_geometries import Distances, radial_factors, radial_values

CASES = [WATER, MOLECULES[1], MOLECULES[3]]


@pytest.mark.parametrize("kernel", sorted(KERNELS))
@pytest.mark.parametrize("molecule", CASES, ids=str)
def test_forces_with_energies(molecule, kernel):
    positions = molecule.frames(5)
    arrays = atomized_arrays(molecule, positions)
    queries, training = arrays.geometries.part(slice(3, 5)), arrays.geometries.part(slice(0, 3))
    squared = Distances(queries, training).tile()
    factors = radial_factors(KERNELS[kernel], LENGTH_SCALE, squared)
    found = tensor(force_energy_covariances(queries, training, factors.minus_first))
    covariance = full_covariance(molecule, positions, kernel)
    torch.testing.assert_close(found, covariance[3:, :-1, :3, -1], rtol=1e-8, atol=1e-10)
    values = tensor(radial_values(KERNELS[kernel], LENGTH_SCALE, squared))
    torch.testing.assert_close(values, covariance[3:, -1, :3, -1], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kernel", sorted(KERNELS))
@pytest.mark.parametrize("molecule", CASES, ids=str)
def test_of_a_geometry_with_itself(molecule, kernel):
    positions = molecule.frames(3)
    own = own_covariances(
        atomized_arrays(molecule, positions).geometries, KERNELS[kernel], LENGTH_SCALE
    )
    covariance = full_covariance(molecule, positions, kernel)
    for index in range(3):
        block = covariance[index, :, index]
        torch.testing.assert_close(own.forces[index], block[:-1, :-1], rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(own.mixed[index], block[:-1, -1], rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(own.energies[index], block[-1, -1], rtol=1e-10, atol=1e-12)


def test_jacobian_against_automatic_differentiation():
    positions = tensor(WATER.frames(2))
    arrays = atomized_arrays(WATER, WATER.frames(2))
    for index in range(2):
        expected = torch.func.jacrev(
            lambda r: arrays.descriptor.values(r[None])[0] * arrays.weights
        )(positions[index])
        found = dense_jacobian(arrays.geometries)[index]
        torch.testing.assert_close(found, expected.flatten(1), rtol=1e-10, atol=1e-12)
