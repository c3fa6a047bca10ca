import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from molecules import CARBON_DIOXIDE, WATER
from toy_models import toy_dataset

from kraft import train
from kraft.descriptors import InverseDistances
from kraft.models.labels import Labels
from kraft.models.objective import Objective, TrainingArrays
from kraft.symmetry.orbits import feature_permutations

LENGTH_SCALE, REGULARIZATION = 1.5, 1e-6


def _arrays(training, validation=None, *, energy_weight=0.0, permutations=WATER.permutations):
    return TrainingArrays(
        descriptor=InverseDistances(training.n_atoms),
        positions=torch.tensor(training.positions),
        labels=Labels.from_dataset(training, energy_weight),
        feature_permutations=feature_permutations(permutations),
        feature_weights=np.ones(training.n_atoms * (training.n_atoms - 1) // 2),
        valid_positions=None if validation is None else torch.tensor(validation.positions),
        valid_forces=None if validation is None else torch.tensor(validation.forces),
    )


@pytest.mark.parametrize("kernel", ["matern52", "matern72", "gaussian"])
def test_validation_error_is_that_of_the_trained_model(kernel):
    training, validation = toy_dataset(WATER, 12), toy_dataset(WATER, 9, seed=1)
    objective = Objective(_arrays(training, validation), np.arange(12), kernel)
    model = train(
        training,
        kernel=kernel,
        length_scale=LENGTH_SCALE,
        regularization=REGULARIZATION,
        permutations=WATER.permutations,
    )[0]
    expected = np.abs(model.predict(validation.positions).forces - validation.forces).mean()
    assert objective.force_mae(LENGTH_SCALE, REGULARIZATION) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("energy_weight", [0.0, 1.0])
@pytest.mark.parametrize("kernel", ["matern52", "gaussian"])
def test_leave_one_out_against_refitting(kernel, energy_weight):
    """The formula from one factorization equals ``M`` fits, each without one geometry."""
    n = 7
    training = toy_dataset(WATER, n)
    arrays = _arrays(training, energy_weight=energy_weight)
    operator, _ = arrays.operator(kernel, LENGTH_SCALE)
    matrix = operator.to_dense()
    matrix += torch.diag(arrays.labels.regularization(operator, REGULARIZATION))
    y = arrays.labels.vector(operator)
    block = operator.block_size
    errors = []
    for left_out in range(n):
        rows = torch.arange(n * block).view(n, block)
        kept = rows[[i for i in range(n) if i != left_out]].reshape(-1)
        own = rows[left_out]
        coefficients = torch.linalg.solve(matrix[kept][:, kept], y[kept])
        residual = torch.zeros_like(y)
        residual[own] = y[own] - matrix[own][:, kept] @ coefficients
        forces, _ = operator.split(residual)
        errors.append(forces[left_out].abs().mean() * arrays.labels.scale)
    expected = float(torch.stack(errors).mean())
    got = Objective(arrays, np.arange(n), kernel).force_mae(LENGTH_SCALE, REGULARIZATION)
    assert got == pytest.approx(expected, rel=1e-6)


def test_leave_one_out_predicts_what_a_model_without_the_geometry_does():
    """The same against whole trainings of fewer frames, to leave no formula in common."""
    n = 5
    training = toy_dataset(WATER, n)
    objective = Objective(_arrays(training), np.arange(n), "matern52")
    errors = []
    for left_out in range(n):
        kept = training.subset([i for i in range(n) if i != left_out])
        model = train(
            kept,
            kernel="matern52",
            length_scale=LENGTH_SCALE,
            regularization=REGULARIZATION,
            permutations=WATER.permutations,
        )[0]
        predicted = model.predict(training.positions[left_out]).forces
        errors.append(np.abs(predicted - training.forces[left_out]).mean())
    assert objective.force_mae(LENGTH_SCALE, REGULARIZATION) == pytest.approx(
        np.mean(errors), rel=1e-4
    )


def test_leave_one_out_energies_are_those_of_models_without_the_geometry():
    n = 10
    training = toy_dataset(WATER, n)
    arrays = replace(_arrays(training), energies=torch.tensor(training.energies))
    errors = []
    for left_out in range(n):
        kept = training.subset([i for i in range(n) if i != left_out])
        model = train(
            kept,
            kernel="matern52",
            length_scale=LENGTH_SCALE,
            regularization=REGULARIZATION,
            permutations=WATER.permutations,
        )[0]
        energy = model.predict(training.positions[left_out]).energies
        errors.append(energy - training.energies[left_out])
    expected = np.abs(errors).mean()
    fit = Objective(arrays, np.arange(n), "matern52").fit(LENGTH_SCALE, REGULARIZATION)
    assert fit.energy_mae == pytest.approx(expected, rel=1e-4)
    few = Objective(arrays, np.arange(9), "matern52").fit(LENGTH_SCALE, REGULARIZATION)
    assert few.energy_mae is None  # too few to judge by


@pytest.mark.parametrize("energy_weight", [0.0, 1.0])
def test_energies_of_validation_geometries_are_judged_up_to_a_constant(energy_weight):
    training, validation = toy_dataset(WATER, 12), toy_dataset(WATER, 11, seed=1)
    arrays = _arrays(training, validation, energy_weight=energy_weight)
    assert Objective(arrays, np.arange(12), "matern52").fit(1.5, 1e-6).energy_mae is None
    arrays = replace(arrays, valid_energies=torch.tensor(validation.energies + 3.0))
    fit = Objective(arrays, np.arange(12), "matern52").fit(LENGTH_SCALE, REGULARIZATION)
    model = train(
        training,
        kernel="matern52",
        length_scale=LENGTH_SCALE,
        regularization=REGULARIZATION,
        permutations=WATER.permutations,
        energy_weight=energy_weight,
    )[0]
    errors = model.predict(validation.positions).energies - validation.energies
    assert fit.energy_mae == pytest.approx(np.abs(errors - errors.mean()).mean(), rel=1e-6)


def test_a_subset_uses_only_its_geometries():
    training = toy_dataset(WATER, 10)
    some = np.array([8, 1, 4])
    whole = Objective(_arrays(training), some, "matern52")
    assert whole.n_train == 3
    labels = Labels.from_dataset(training)
    few = _arrays(training.subset(some))
    rescaled = Labels(labels.forces[some], None, labels.scale, 0.0)
    few = TrainingArrays(**{**vars(few), "labels": rescaled})
    alone = Objective(few, np.arange(3), "matern52")
    assert whole.force_mae(1.5, 1e-6) == pytest.approx(alone.force_mae(1.5, 1e-6))
    assert whole.mean_diagonal(1.5) == pytest.approx(alone.mean_diagonal(1.5))


def test_singular_systems_are_infinitely_bad():
    twice = toy_dataset(WATER, 3).subset([0, 1, 2, 0])
    objective = Objective(_arrays(twice), np.arange(4), "gaussian")
    assert objective.force_mae(1.5, 0.0) > 0.0  # infinite, or whatever rounding makes of it
    broken = Objective(_arrays(toy_dataset(WATER, 3)), np.arange(3), "gaussian")
    assert broken.force_mae(1.5, -1e6) == math.inf
    assert broken.force_mae(1.5, math.nan) == math.inf


def test_linear_molecules():
    training = toy_dataset(CARBON_DIOXIDE, 4)
    arrays = _arrays(training, permutations=CARBON_DIOXIDE.permutations)
    objective = Objective(arrays, np.arange(4), "matern52")
    assert math.isfinite(objective.force_mae(1.5, 1e-6))
