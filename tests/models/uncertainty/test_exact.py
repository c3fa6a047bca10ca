"""Exact deviations against one dense joint Gaussian made by automatic differentiation."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from joint_gaussian import JointGaussian
from molecules import CARBON_DIOXIDE, CHIRAL, WATER, random_rotation, tensor
from toy_models import toy_parameters

from kraft.core.errors import GeometryError, MemoryLimitError, OptionError, SolverError
from kraft.kernels import KERNELS
from kraft.models.uncertainty.exact import ExactUncertainty, standard_deviations
from kraft.models.uncertainty.system import TrainedSystem

CELL = np.array([[5.0, 0.2, 0.0], [0.0, 5.5, 0.1], [0.0, 0.0, 6.0]])


def exact(parameters, **options) -> ExactUncertainty:
    return ExactUncertainty(TrainedSystem.from_parameters(parameters, "cpu"), **options)


def check(joint):
    got = exact(joint.parameters).deviations(joint.queries)
    identity = torch.eye(joint.n, dtype=torch.float64)
    for query in range(2):
        functionals = torch.stack(
            [joint.functional(query, axis) for axis in identity] + [joint.energy(query)]
        )
        expected = joint.posterior(functionals).diagonal().clamp_min(0.0).sqrt()
        scale = joint.variance**0.5
        torch.testing.assert_close(
            got.forces[query].reshape(-1), expected[:-1], rtol=1e-6, atol=1e-6 * scale
        )
        torch.testing.assert_close(got.energies[query], expected[-1], rtol=1e-6, atol=1e-6 * scale)


@pytest.mark.parametrize("energies", [False, True], ids=["forces", "energies"])
@pytest.mark.parametrize("kernel", sorted(KERNELS))
@pytest.mark.parametrize("molecule", [WATER, CHIRAL, CARBON_DIOXIDE], ids=str)
def test_deviations_against_the_joint_gaussian(molecule, kernel, energies):
    check(JointGaussian(molecule, kernel, energies=energies))


@pytest.mark.parametrize("mixes", [False, True], ids=["plain", "mixed"])
def test_deviations_in_a_periodic_cell(mixes):
    check(JointGaussian(WATER, "matern52", energies=True, cell=CELL, mixes=mixes))


@pytest.mark.parametrize("kernel", sorted(KERNELS))
def test_deviations_where_features_mix(kernel):
    check(JointGaussian(CHIRAL, kernel, energies=True, mixes=True))


@pytest.mark.parametrize("energies", [False, True], ids=["forces", "energies"])
@pytest.mark.parametrize(
    "molecule, features", [(WATER, [0, 1]), (CHIRAL, [0, 1, 2, 4, 9])], ids=str
)
def test_deviations_of_reduced_models(molecule, features, energies):
    chosen = {"features": np.array(features), "feature_function": "inverse-sqrt"}
    check(JointGaussian(molecule, "matern52", energies=energies, **chosen))


@pytest.mark.parametrize("mixes", [False, True], ids=["plain", "mixed"])
@pytest.mark.parametrize("energies", [False, True], ids=["forces", "energies"])
def test_joint_covariance_of_directions(energies, mixes):
    joint = JointGaussian(WATER, "matern52", energies=energies, mixes=mixes)
    directions = torch.tensor(np.random.default_rng(1).normal(size=(2, 2, 3, 3)))
    functionals = torch.stack(
        [joint.functional(query, directions[query, k]) for query in range(2) for k in range(2)]
    )
    got = exact(joint.parameters).projected(joint.queries, directions)
    torch.testing.assert_close(
        got, joint.posterior(functionals), rtol=1e-6, atol=1e-9 * joint.variance
    )


def test_directions_of_another_shape_are_refused():
    joint = JointGaussian(WATER, "matern52", energies=False)
    with pytest.raises(GeometryError, match="directions"):
        exact(joint.parameters).projected(joint.queries, torch.zeros(2, 3, 3))


@pytest.mark.parametrize("chunk", [1, 9, 30])
def test_chunks_change_nothing(chunk):
    uncertainty = exact(toy_parameters(WATER, n_train=4))
    positions = tensor(WATER.frames(5, seed=8))
    whole = uncertainty.deviations(positions)
    uncertainty._chunk_columns = chunk
    parts = uncertainty.deviations(positions)
    torch.testing.assert_close(parts.forces, whole.forces, rtol=1e-8, atol=0.0)
    torch.testing.assert_close(parts.energies, whole.energies, rtol=1e-8, atol=0.0)


def test_nothing_is_uncertain_at_noiseless_training_geometries():
    parameters = replace(toy_parameters(WATER, n_train=5), regularization=1e-12)
    uncertainty = exact(parameters)
    at = uncertainty.deviations(tensor(parameters.training_positions)).forces
    away = uncertainty.deviations(tensor(WATER.frames(5, seed=9))).forces
    assert float(at.max()) < 1e-4 * float(away.max())


def test_prior_far_away():
    parameters = replace(toy_parameters(CHIRAL, n_train=4), length_scale=0.02)
    system = TrainedSystem.from_parameters(parameters, "cpu")
    queries = system.queries(tensor(CHIRAL.positions * 0.6)[None])
    forces = ExactUncertainty(system).deviations(tensor(CHIRAL.positions * 0.6)[None]).forces
    identity = torch.eye(15, dtype=torch.float64).view(1, 5, 3, 15)
    jacobian = queries.descriptor.jacobian_product(queries.features, identity)[0]
    first = parameters.radial_kernel.derivative(1, torch.zeros((), dtype=torch.float64))
    expected = (-first * system.variance * jacobian.square().sum(dim=0)).sqrt()
    torch.testing.assert_close(forces.reshape(-1), expected, rtol=1e-6, atol=0.0)


def test_uncertainty_turns_with_the_molecule():
    uncertainty = exact(toy_parameters(CHIRAL, n_train=4))
    rotation = tensor(random_rotation(2))
    positions = tensor(CHIRAL.frames(2, seed=7))
    turned = positions @ rotation.T + torch.tensor([1.0, -2.0, 0.5])
    here, there = uncertainty.deviations(positions), uncertainty.deviations(turned)
    torch.testing.assert_close(there.energies, here.energies, rtol=1e-7, atol=0.0)
    # variances of the components along the turned axes of every atom
    axes = torch.eye(15, dtype=torch.float64).view(1, 15, 5, 3).expand(2, 15, 5, 3)
    covariance = uncertainty.projected(turned, axes @ rotation.T)
    torch.testing.assert_close(
        covariance.diagonal().view(2, 5, 3), here.forces.square(), rtol=1e-6, atol=1e-12
    )


def test_uncertainty_follows_permuted_atoms():
    uncertainty = exact(toy_parameters(WATER, n_train=4))
    positions = tensor(WATER.frames(3, seed=7))
    here = uncertainty.deviations(positions)
    there = uncertainty.deviations(positions[:, [0, 2, 1]])
    torch.testing.assert_close(there.forces, here.forces[:, [0, 2, 1]], rtol=1e-7, atol=0.0)
    torch.testing.assert_close(there.energies, here.energies, rtol=1e-7, atol=0.0)


def test_net_force_is_certain():
    uncertainty = exact(toy_parameters(WATER, n_train=4))
    position = tensor(WATER.frames(1, seed=7))
    axes = torch.eye(3, dtype=torch.float64)[None, :, None].expand(1, 3, 3, 3)
    variance = uncertainty.projected(position, axes).abs().max()
    assert float(variance) < 1e-20 * float(uncertainty._system.variance)


def test_negative_variances_are_rounding_or_an_error():
    prior = torch.tensor([2.0, 2.0], dtype=torch.float64)
    rounded = torch.tensor([-1e-10, 4.0], dtype=torch.float64)
    assert standard_deviations(rounded, prior).tolist() == [0.0, 2.0]
    assert standard_deviations(rounded, prior, 0.25).tolist() == [0.5, 2.0]
    for wrong in (-1e-6, float("nan")):
        with pytest.raises(SolverError, match="ill-conditioned"):
            standard_deviations(torch.tensor([wrong, 4.0], dtype=torch.float64), prior)


def test_models_that_lack_something_are_refused():
    parameters = toy_parameters(WATER, energies=True)
    with pytest.raises(OptionError, match="weight"):
        exact(replace(parameters, energy_weight=None))
    with pytest.raises(OptionError, match="training geometries"):
        exact(replace(parameters, training_positions=None, coefficients=None))


def test_a_factor_that_does_not_fit_is_refused():
    with pytest.raises(MemoryLimitError):
        exact(toy_parameters(WATER), max_memory=1000)
