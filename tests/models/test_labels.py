import numpy as np
import pytest
import torch
from molecules import WATER
from toy_models import toy_dataset

from kraft.core.errors import DataError
from kraft.data import Dataset
from kraft.descriptors import FeatureMap, InverseDistances
from kraft.kernels import KERNELS, KernelOperator
from kraft.kernels.geometries import ReducedGeometries
from kraft.models.labels import Labels
from kraft.symmetry.orbits import feature_permutations


def _operator(dataset, *, energy_labels):
    ones, zeros = torch.ones(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    geometries = ReducedGeometries.from_positions(
        InverseDistances(3), torch.tensor(dataset.positions), FeatureMap(ones, zeros)
    )
    return KernelOperator(
        KERNELS["matern52"],
        geometries,
        feature_permutations(WATER.permutations),
        energy_labels=energy_labels,
    )


def test_forces_are_scaled_to_a_standard_deviation_of_one():
    dataset = toy_dataset(WATER, 6)
    labels = Labels.from_dataset(dataset)
    assert labels.energies is None and labels.scale == pytest.approx(dataset.forces.std())
    np.testing.assert_allclose(labels.forces * labels.scale, dataset.forces)
    vector = labels.vector(_operator(dataset, energy_labels=False))
    assert float(vector.norm()) == pytest.approx(np.linalg.norm(labels.forces), rel=1e-10)


def test_energies_are_relative_to_their_mean():
    dataset = toy_dataset(WATER, 6)
    labels = Labels.from_dataset(dataset, 2.0)
    assert labels.energies.mean() == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(np.diff(labels.energies) * labels.scale, np.diff(dataset.energies))
    operator = _operator(dataset, energy_labels=True)
    vector = labels.vector(operator).view(6, operator.block_size)
    np.testing.assert_allclose(vector[:, -1].numpy(), labels.energies)


def test_the_weight_divides_the_regularization_of_energies():
    dataset = toy_dataset(WATER, 2)
    operator = _operator(dataset, energy_labels=True)
    weights = Labels.from_dataset(dataset, 2.0).regularization(operator, 1e-6)
    assert weights.tolist() == pytest.approx(2 * ([1e-6] * 3 + [0.25e-6]))


def test_what_cannot_be_learned_from():
    dataset = toy_dataset(WATER, 3, energies=False)
    with pytest.raises(DataError, match="--energy-key"):
        Labels.from_dataset(dataset, 1.0)
    still = Dataset(dataset.atomic_numbers, dataset.positions, np.zeros_like(dataset.forces))
    with pytest.raises(DataError, match="nothing to learn"):
        Labels.from_dataset(still)
    for weight in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="energy weight"):
            Labels.from_dataset(toy_dataset(WATER, 3), weight)
