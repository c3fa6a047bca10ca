"""Energies conditioned on training energies and forces, against the dense joint Gaussian."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from atomized_cases import LENGTH_SCALE, atomized_arrays, full_covariance
from molecules import MOLECULES, WATER, tensor

from kraft.core.errors import SolverError
from kraft.kernels import KERNELS
from kraft.kernels.atom_geometries import Distances
from kraft.models.aff.energies import EnergyProcess, energy_covariance

M, NUGGET = 4, 1e-3
MOLECULE_CASES = [WATER, MOLECULES[3]]


def process_and_queries(molecule, kernel="matern52", nugget=NUGGET):
    positions = molecule.frames(M + 2)
    arrays = atomized_arrays(molecule, positions)
    training, queries = arrays.geometries.part(slice(0, M)), arrays.geometries.part(slice(M, M + 2))
    energies = tensor(np.random.default_rng(0).normal(size=M) - 3.0)
    process = EnergyProcess.fit(KERNELS[kernel], LENGTH_SCALE, nugget, training, energies)
    return process, queries, Distances(queries, training).tile(), energies


def dense_parts(molecule, kernel):
    """Return for every query: covariance of [E_X, F*], of these with E*, and of E*."""
    covariance = full_covariance(molecule, molecule.frames(M + 2), kernel)
    n = 3 * molecule.n_atoms
    for query in (M, M + 1):
        energies = covariance[:M, -1, :M, -1]
        mixed = covariance[:M, -1, query, :n]
        forces = covariance[query, :n, query, :n]
        joint = torch.cat(
            [torch.cat([energies, mixed], dim=1), torch.cat([mixed.T, forces], dim=1)]
        )
        cross = torch.cat([covariance[:M, -1, query, -1], covariance[query, :n, query, -1]])
        yield joint + NUGGET * torch.eye(M + n), cross, covariance[query, -1, query, -1]


@pytest.mark.parametrize("kernel", sorted(KERNELS))
@pytest.mark.parametrize("molecule", MOLECULE_CASES, ids=str)
def test_conditional_against_the_dense_joint_gaussian(molecule, kernel):
    process, queries, squared, energies = process_and_queries(molecule, kernel)
    forces = tensor(np.random.default_rng(1).normal(size=(2, molecule.n_atoms, 3)))
    found = process.conditional(queries, squared, forces)
    for index, (joint, cross, own) in enumerate(dense_parts(molecule, kernel)):
        weights = torch.linalg.solve(joint, cross)
        surprise = torch.cat([energies - process.mean, forces[index].reshape(-1)])
        mean = process.mean + weights @ surprise
        variance = process.variance * (own + NUGGET - cross @ weights)
        torch.testing.assert_close(found.energies[index], mean, rtol=1e-7, atol=1e-9)
        torch.testing.assert_close(found.variances[index], variance, rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(found.gains[index], weights[M:], rtol=1e-6, atol=1e-8)


def test_mean_and_variance_maximize_the_likelihood():
    """Of the dense Gaussian, over a grid around them; the profile likelihood is its maximum."""
    process, _, _, energies = process_and_queries(WATER)
    matrix = energy_covariance(process.geometries, process.kernel, process.length_scale)
    matrix = matrix + NUGGET * torch.eye(M, dtype=torch.float64)

    def log_density(mean, variance):
        location = torch.full((M,), mean, dtype=torch.float64)
        normal = torch.distributions.MultivariateNormal(location, variance * matrix)
        return float(normal.log_prob(energies))

    best = log_density(process.mean, process.variance)
    assert best == pytest.approx(
        process.log_likelihood - 0.5 * M * (1.0 + np.log(2.0 * np.pi)), rel=1e-10
    )
    for mean, variance in ((0.01, 1.0), (-0.01, 1.0), (0.0, 1.01), (0.0, 0.99)):
        assert log_density(process.mean + mean, process.variance * variance) < best


def test_training_energies_are_interpolated_without_nugget():
    """With the forces of the process itself: any forces would contradict the energies."""
    process, _, _, energies = process_and_queries(WATER, "matern72", nugget=1e-9)
    squared = Distances(process.geometries, process.geometries).tile()
    forces = torch.zeros(M, 3, 3, dtype=torch.float64)
    found = process.conditional(process.geometries, squared, forces)
    torch.testing.assert_close(found.energies, energies, rtol=0, atol=1e-4)
    prior = process.variance * float(len(WATER.permutations))
    assert float(found.variances.abs().max()) < 1e-7 * prior


def test_singular_covariance_is_told():
    geometries = atomized_arrays(WATER, WATER.frames(3)[[0, 1, 0]]).geometries
    energies = tensor(np.array([1.0, 2.0, 1.5]))
    assert EnergyProcess.fit(KERNELS["matern52"], 1.0, -1e-9, geometries, energies) is None


def test_forces_that_cannot_be_conditioned_on_are_told():
    process, queries, squared, _ = process_and_queries(WATER, nugget=0.0)
    process = replace(process, regularization=-1e-9)
    with pytest.raises(SolverError, match="larger"):
        process.conditional(queries, squared, torch.zeros(2, 3, 3, dtype=torch.float64))
