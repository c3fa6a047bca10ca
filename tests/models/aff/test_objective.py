"""Scores of range and nugget against dense formulas and explicit retraining."""

import math

import numpy as np
import pytest
import torch
from atomized_cases import LENGTH_SCALE, atomized_arrays
from molecules import BENZENE, WATER, tensor

from kraft.kernels import KERNELS
from kraft.kernels.atom_sets import AtomSetOperator
from kraft.models.aff.objective import (
    Held,
    Objective,
    leave_one_out_errors,
    log_prior,
    typical_distance,
)
from kraft.models.aff.solution import expansion_forces, solve_sets
from kraft.models.aff.systems import factorized

KERNEL, NUGGET = KERNELS["matern52"], 1e-3


def set_operators(arrays):
    factors = arrays.tiles(keep=True).factors(KERNEL, LENGTH_SCALE, keep=True)
    return [AtomSetOperator(s, arrays.geometries, factors, arrays.descriptor) for s in arrays.sets]


@pytest.mark.parametrize("molecule", [WATER, BENZENE], ids=str)
def test_likelihood_against_the_dense_gaussian(molecule):
    """The sum over sets of the normal density, each with its maximum-likelihood variance."""
    arrays = atomized_arrays(molecule, molecule.frames(5))
    score = Objective(arrays, KERNEL, "likelihood")(LENGTH_SCALE, NUGGET)
    expected, n_labels = 0.0, 0
    for operator in set_operators(arrays):
        labels = arrays.labels(operator.atom_set)
        n = len(labels)
        matrix = operator.to_dense() + NUGGET * torch.eye(n, dtype=torch.float64)
        variance = labels @ torch.linalg.solve(matrix, labels) / n
        normal = torch.distributions.MultivariateNormal(torch.zeros_like(labels), variance * matrix)
        expected += float(normal.log_prob(labels)) + 0.5 * n * (1.0 + math.log(2.0 * math.pi))
        n_labels += n
    relative = NUGGET / arrays.mean_diagonal(KERNEL, LENGTH_SCALE)
    spread = typical_distance(tensor(arrays.geometries.values))
    expected += log_prior(spread / LENGTH_SCALE, relative, 5)
    assert score == pytest.approx(-expected / n_labels, rel=1e-9)


def test_chosen_sets_only():
    arrays = atomized_arrays(WATER, WATER.frames(5))
    scores = [
        Objective(arrays, KERNEL, "leave-one-out", chosen=chosen)(LENGTH_SCALE, NUGGET)
        for chosen in ([0], [1], None)
    ]
    assert scores[2] == pytest.approx((3 * scores[0] + 6 * scores[1]) / 9, rel=1e-10)


def test_leave_one_out_errors_are_those_of_retraining():
    positions = WATER.frames(6)
    arrays = atomized_arrays(WATER, positions)
    operator = set_operators(arrays)[1]
    labels = arrays.labels(operator.atom_set)
    factor = factorized(operator, NUGGET, concurrent=False)
    errors = leave_one_out_errors(factor, factor.solve(labels), operator.block_size)
    score = Objective(arrays, KERNEL, "leave-one-out", chosen=[1])(LENGTH_SCALE, NUGGET)
    assert score == pytest.approx(float(errors.abs().mean()), rel=1e-10)
    for left_out in range(6):
        rest = np.delete(np.arange(6), left_out)
        some = arrays.subset(rest)
        solution = solve_sets(some, KERNEL, LENGTH_SCALE, NUGGET)
        query = arrays.geometries.subset(np.array([left_out]))
        forces = expansion_forces(some, query, KERNEL, LENGTH_SCALE, solution.coefficients)
        expected = (arrays.forces[left_out] - forces[0])[operator.atom_set.atoms].reshape(-1)
        torch.testing.assert_close(errors[left_out], expected, rtol=1e-7, atol=1e-9)


def test_validation_error_is_that_of_the_forces():
    positions = WATER.frames(9)
    whole = atomized_arrays(WATER, positions)
    arrays = whole.subset(np.arange(6))
    held = Held(whole.geometries.subset(np.arange(6, 9)), whole.forces[6:])
    score = Objective(arrays, KERNEL, "validation", held=held)(LENGTH_SCALE, NUGGET)
    solution = solve_sets(arrays, KERNEL, LENGTH_SCALE, NUGGET)
    forces = expansion_forces(arrays, held.geometries, KERNEL, LENGTH_SCALE, solution.coefficients)
    assert score == pytest.approx(float((forces - held.forces).abs().mean()), rel=1e-10)


def test_singular_covariances_score_infinitely():
    arrays = atomized_arrays(WATER, WATER.frames(3)[[0, 1, 0]])
    assert Objective(arrays, KERNEL, "likelihood")(LENGTH_SCALE, 0.0 + 1e-300) == math.inf


def test_prior_decides_where_the_data_do_not():
    """It falls towards both ends of range and nugget, and weighs less with more geometries."""
    for low, middle, high in ((1e-6, 1.0, 1e3),):
        assert log_prior(low, 1e-9, 10) < log_prior(middle, 1e-9, 10) > log_prior(high, 1e-9, 10)
    for nugget in (1e-14, 1e-2):
        assert log_prior(1.0, nugget, 10) < log_prior(1.0, 1e-9, 10)
    assert log_prior(100.0, 1e-9, 10) < log_prior(100.0, 1e-9, 1000)
