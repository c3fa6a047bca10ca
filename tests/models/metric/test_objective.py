import math

import numpy as np
import pytest
import torch
from metric_cases import arrays_of, toy_arrays
from molecules import TWO_ROTORS, WATER, every_other_orbit
from toy_models import toy_dataset

import kraft
from kraft.core.errors import OptionError
from kraft.models.metric.mixing import metric_variables
from kraft.models.metric.objective import CRITERIA, MetricObjective

KERNELS = ["matern52", "matern72", "gaussian"]
REGULARIZATION = 1e-3


def objective_of(arrays, criterion, kernel="matern52", deviation=math.inf, mixing=0.0):
    variables = metric_variables(arrays, mixing)
    chosen = np.arange(arrays.n_train)
    return MetricObjective(arrays, chosen, kernel, criterion, deviation, variables)


def some_point(objective, seed=0):
    rng = np.random.default_rng(seed)
    point = objective.start(2.0, REGULARIZATION)
    point[:-1] += 0.3 * rng.normal(size=len(point) - 1)
    return point


def matrix_at(arrays, objective, point):
    """Return ``A`` and ``y`` at a point."""
    operator = objective._operator(point)
    matrix = operator.to_dense() + math.exp(point[-1]) * torch.eye(operator.size).double()
    return matrix.to(torch.float64), arrays.labels.vector(operator)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("mixing", [0.0, 0.4])
@pytest.mark.parametrize("molecule, n", [(WATER, 6), (TWO_ROTORS, 3)], ids=repr)
def test_gradient_against_finite_differences(molecule, n, mixing, criterion, kernel):
    objective = objective_of(toy_arrays(molecule, n, n_valid=3), criterion, kernel, 0.7, mixing)
    point = some_point(objective)
    _, gradient = objective(point)
    last = objective.variables.size - 1
    assert gradient.shape == (last + 1,)
    for variable in {0, objective.variables.n_orbits // 2, (2 * last) // 3, last}:
        values = []
        for step in (1e-4, -1e-4):
            moved = point.copy()
            moved[variable] += step
            values.append(objective(moved)[0])
        slope = (values[0] - values[1]) / 2e-4
        assert gradient[variable] == pytest.approx(slope, rel=1e-4, abs=1e-8)


def test_gradient_with_some_features_only():
    features = every_other_orbit(TWO_ROTORS)
    objective = objective_of(toy_arrays(TWO_ROTORS, 3, features=features), "likelihood")
    point = some_point(objective)
    gradient = objective(point)[1]
    moved = [point.copy(), point.copy()]
    moved[0][2] += 1e-4
    moved[1][2] -= 1e-4
    slope = (objective(moved[0])[0] - objective(moved[1])[0]) / 2e-4
    assert gradient[2] == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("kernel", KERNELS)
def test_likelihood_is_that_of_a_gaussian_with_the_best_variance(kernel):
    arrays = toy_arrays(WATER, 6)
    objective = objective_of(arrays, "likelihood", kernel)
    point = some_point(objective)
    matrix, y = matrix_at(arrays, objective, point)
    n = len(y)

    def log_density(variance):
        normal = torch.distributions.MultivariateNormal(torch.zeros(n).double(), variance * matrix)
        return float(normal.log_prob(y))

    best = float(y @ torch.linalg.solve(matrix, y)) / n
    assert log_density(best) > max(log_density(0.9 * best), log_density(1.1 * best))
    expected = -log_density(best) / n - 0.5 * (1.0 + math.log(2.0 * math.pi))
    assert objective(point)[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("kernel", KERNELS)
def test_leave_one_out_is_that_of_fits_without_each_geometry(kernel):
    arrays = toy_arrays(WATER, 6)
    objective = objective_of(arrays, "leave-one-out", kernel)
    point = some_point(objective)
    matrix, y = matrix_at(arrays, objective, point)
    rows = torch.arange(len(y)).view(6, -1)
    squares = []
    for one in range(6):
        others = rows[[i for i in range(6) if i != one]].reshape(-1)
        fit = torch.linalg.solve(matrix[others][:, others], y[others])
        squares.append((matrix[rows[one]][:, others] @ fit - y[rows[one]]).square())
    expected = 0.5 * math.log(float(torch.cat(squares).mean()))
    assert objective(point)[0] == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("mixing", [0.0, 0.4])
def test_validation_error_is_that_of_the_trained_model(mixing):
    training, validation = toy_dataset(WATER, 6), toy_dataset(WATER, 5, seed=1)
    arrays = arrays_of(training, WATER.permutations, validation)
    objective = objective_of(arrays, "validation", mixing=mixing)
    point = some_point(objective)
    model, _ = kraft.train(
        training,
        kernel="matern52",
        length_scale=math.sqrt(5.0),  # the kernel's factor is one
        regularization=REGULARIZATION,
        feature_weights=objective.variables.scale(point),
        feature_mixing=objective.variables.mixing(point),
        permutations=WATER.permutations,
    )
    errors = model.predict(validation.positions).forces - validation.forces
    # rms over the internal motions: three of the nine components of a geometry
    expected = math.sqrt((errors**2).sum() / (5 * 3)) / arrays.labels.scale
    prior = objective.variables.prior(point, math.inf)[0] / (5 * 3)  # of the mixing
    assert objective(point)[0] - prior == pytest.approx(math.log(expected), rel=1e-8)


def test_prior_prefers_equal_weights_and_knows_no_scale():
    arrays = toy_arrays(WATER, 6)
    free, bound = (
        objective_of(arrays, "likelihood"),
        objective_of(arrays, "likelihood", deviation=0.5),
    )
    equal = free.start(2.0, REGULARIZATION)
    assert bound(equal)[0] == free(equal)[0]
    unequal = equal + np.array([0.3, -0.1, 0.0])
    penalty = (0.2**2 + 0.2**2) / (2 * 0.5**2 * 6 * 3)
    assert bound(unequal)[0] - free(unequal)[0] == pytest.approx(penalty, rel=1e-9)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_permuting_equivalent_atoms_changes_nothing(criterion):
    training, validation = toy_dataset(TWO_ROTORS, 4), toy_dataset(TWO_ROTORS, 3, seed=1)
    permuted = toy_dataset(TWO_ROTORS, 4)
    positions, forces = permuted.positions.copy(), permuted.forces.copy()
    row = TWO_ROTORS.permutations[7]
    positions[1], forces[1] = positions[1][row], forces[1][row]
    permuted = kraft.Dataset(permuted.atomic_numbers, positions, forces)
    results = []
    for frames in (training, permuted):
        arrays = arrays_of(frames, TWO_ROTORS.permutations, validation)
        objective = objective_of(arrays, criterion, mixing=0.4)
        results.append(objective(some_point(objective)))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-9)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-6, atol=1e-9)


def test_singular_systems_are_infinitely_bad():
    frames = toy_dataset(WATER, 3)
    twice = kraft.Dataset(
        frames.atomic_numbers,
        np.repeat(frames.positions, 2, axis=0),
        np.repeat(frames.forces, 2, axis=0),
    )
    objective = objective_of(arrays_of(twice, WATER.permutations), "likelihood")
    value, gradient = objective(objective.start(2.0, 1e-30))
    assert value == math.inf and not gradient.any()


@pytest.mark.parametrize(
    "criterion, deviation, message",
    [
        ("other", 1.0, "Unknown criterion"),
        ("validation", 1.0, "with validation geometries"),
        ("likelihood", 0.0, "must be positive"),
    ],
)
def test_refuses_what_makes_no_sense(criterion, deviation, message):
    with pytest.raises(OptionError, match=message):
        objective_of(toy_arrays(WATER, 4), criterion, deviation=deviation)
