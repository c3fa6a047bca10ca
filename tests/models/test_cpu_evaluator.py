"""The path through NumPy gives what the path through torch gives."""

import numpy as np
import pytest
import torch
from molecules import BENZENE, MOLECULES, WATER
from toy_models import toy_parameters

import kraft.models.cpu_evaluator as module
from kraft import ForceField
from kraft.models.evaluator import Evaluator


def through_torch(parameters):
    """Evaluate with torch even on the CPU."""
    evaluator = Evaluator(parameters, "cpu", torch.float64)
    evaluator.cpu = None
    return evaluator


@pytest.mark.parametrize(
    "energies, mixes",
    [(False, False), (True, False), (True, True)],
    ids=["forces", "energies", "mixed"],
)
@pytest.mark.parametrize("kernel", ["matern52", "matern72", "gaussian"])
@pytest.mark.parametrize("molecule", MOLECULES, ids=str)
@pytest.mark.parametrize("n_geometries", [1, 3])
def test_same_as_through_torch(molecule, kernel, energies, mixes, n_geometries, dtype):
    parameters = toy_parameters(
        molecule, kernel=kernel, energies=energies, weighted=True, mixes=mixes, n_train=7
    )
    evaluator = Evaluator(parameters, "cpu", dtype)
    assert evaluator.cpu is not None
    positions = molecule.frames(n_geometries, seed=2)
    expected = through_torch(parameters)(torch.tensor(positions))
    got, forces = evaluator.cpu(positions)
    assert got.dtype == forces.dtype == np.float64
    tolerance = 1000 * torch.finfo(dtype).eps
    scale = float(expected.forces.abs().max())
    np.testing.assert_allclose(forces, expected.forces.numpy(), rtol=0, atol=tolerance * scale)
    np.testing.assert_allclose(got, expected.energies.numpy(), rtol=tolerance)


def test_a_sparse_incidence_matrix_gives_the_same(monkeypatch):
    parameters = toy_parameters(BENZENE, mixes=True)
    positions = BENZENE.frames(4)
    dense = ForceField(parameters).predict(positions)
    monkeypatch.setattr(module, "DENSE_INCIDENCE_ATOMS", 2)
    sparse = ForceField(parameters).predict(positions)
    np.testing.assert_allclose(sparse.forces, dense.forces, atol=1e-12)


def test_periodic_models_go_through_torch():
    field = ForceField(toy_parameters(WATER, cell=np.eye(3) * 30.0))
    assert field.evaluator.cpu is None
    positions = WATER.frames(2)
    np.testing.assert_allclose(
        field.predict(positions[0]).forces, field.predict(positions).forces[0], atol=1e-11
    )


def test_far_from_the_origin():
    field = ForceField(toy_parameters(WATER))
    positions = WATER.frames(1)[0]
    far = field.predict(positions + 1e4)
    np.testing.assert_allclose(far.forces, field.predict(positions).forces, atol=1e-7)
