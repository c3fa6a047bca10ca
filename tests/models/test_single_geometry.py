"""The path for one small geometry gives what the path for many gives."""

import numpy as np
import pytest
import torch
from molecules import BENZENE, MOLECULES, WATER
from toy_models import toy_parameters

import kraft.models.single_geometry as module
from kraft import ForceField
from kraft.models.evaluator import Evaluator
from kraft.models.single_geometry import SingleGeometry


@pytest.mark.parametrize("energies", [False, True], ids=["forces", "energies"])
@pytest.mark.parametrize("kernel", ["matern52", "matern72", "gaussian"])
@pytest.mark.parametrize("molecule", MOLECULES, ids=str)
def test_same_as_for_many(molecule, kernel, energies, dtype):
    parameters = toy_parameters(
        molecule, kernel=kernel, energies=energies, weighted=True, n_train=7
    )
    evaluator = Evaluator(parameters, "cpu", dtype)
    assert evaluator.single is not None
    positions = molecule.frames(1, seed=2)
    many = Evaluator(parameters, "cpu", torch.float64)(torch.tensor(positions))
    energy, forces = evaluator.single(positions[0])
    assert energy.dtype == forces.dtype == np.float64
    tolerance = 1000 * torch.finfo(dtype).eps
    scale = float(many.forces.abs().max())
    np.testing.assert_allclose(forces, many.forces[0].numpy(), rtol=0, atol=tolerance * scale)
    np.testing.assert_allclose(energy, many.energies.numpy(), rtol=tolerance)


def test_large_or_periodic_models_go_the_other_way(monkeypatch):
    cell = np.eye(3) * 30.0
    assert not SingleGeometry.serves(toy_parameters(WATER, cell=cell))
    monkeypatch.setattr(module, "MAX_ATOMS", 11)
    parameters = toy_parameters(BENZENE)
    assert not SingleGeometry.serves(parameters) and SingleGeometry.serves(toy_parameters(WATER))
    field = ForceField(parameters)
    assert field.evaluator.single is None
    positions = BENZENE.frames(2)
    np.testing.assert_allclose(
        field.predict(positions[0]).forces, field.predict(positions).forces[0], atol=1e-11
    )


def test_far_from_the_origin():
    field = ForceField(toy_parameters(WATER))
    positions = WATER.frames(1)[0]
    far = field.predict(positions + 1e4)
    np.testing.assert_allclose(far.forces, field.predict(positions).forces, atol=1e-7)
