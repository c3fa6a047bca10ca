"""Predictions of atomized force fields."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from atomized_cases import dataset
from molecules import BENZENE, HYDROGEN, TWO_ROTORS, WATER, random_rotation, tensor

import kraft.kernels.atom_expansion as expansion_module
import kraft.kernels.atom_geometries as geometries_module
import kraft.models.aff.evaluator as module
from kraft.core.errors import SolverError
from kraft.models.aff.evaluator import AtomizedEvaluator
from kraft.models.aff.training import train_aff


def trained(molecule, n=12, **options):
    options = {"length_scale": 2.0, "regularization": 1e-8, "kernel": "matern52"} | options
    energies = options.pop("energies", True)
    return train_aff(
        dataset(molecule, n, energies=energies), permutations=molecule.permutations, **options
    )[0]


def evaluator(parameters, dtype=torch.float64):
    return AtomizedEvaluator(parameters, "cpu", dtype)


def test_training_forces_and_energies_are_interpolated():
    data = dataset(WATER, 12)
    found = evaluator(trained(WATER))(tensor(data.positions))
    scale = float(np.abs(data.forces).max())
    torch.testing.assert_close(found.forces, tensor(data.forces), rtol=0, atol=1e-4 * scale)
    spread = float(np.ptp(data.energies))
    torch.testing.assert_close(found.energies, tensor(data.energies), rtol=0, atol=1e-3 * spread)


@pytest.mark.parametrize("molecule", [HYDROGEN, WATER, TWO_ROTORS], ids=str)
def test_permuted_atoms(molecule):
    found = evaluator(trained(molecule, 6))
    positions = tensor(molecule.frames(2, seed=5))
    plain = found(positions)
    for permutation in torch.as_tensor(molecule.permutations):
        permuted = found(positions[:, permutation])
        torch.testing.assert_close(permuted.energies, plain.energies, rtol=0, atol=1e-6)
        torch.testing.assert_close(permuted.forces, plain.forces[:, permutation], rtol=0, atol=1e-6)


def test_turned_molecule():
    found = evaluator(trained(WATER))
    positions, rotation = tensor(WATER.frames(3, seed=5)), tensor(random_rotation())
    plain, turned = found(positions), found(positions @ rotation.T)
    torch.testing.assert_close(turned.energies, plain.energies, rtol=0, atol=1e-8)
    torch.testing.assert_close(turned.forces, plain.forces @ rotation.T, rtol=0, atol=1e-8)


def test_chunks_do_not_show(monkeypatch):
    parameters = trained(BENZENE, 5)
    positions = tensor(BENZENE.frames(5, seed=5))
    plain = evaluator(parameters)(positions)
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", 1)
    found = evaluator(parameters)
    assert found.chunk == 1
    small = found(positions)
    torch.testing.assert_close(small.forces, plain.forces, rtol=0, atol=1e-9)
    torch.testing.assert_close(small.energies, plain.energies, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.forces(positions), plain.forces, rtol=0, atol=1e-9)


def test_single_precision_is_close():
    parameters = trained(WATER, regularization=1e-3)
    positions = tensor(WATER.frames(3, seed=5))
    plain = evaluator(parameters)(positions)
    rough = evaluator(parameters, torch.float32)(positions)
    assert rough.forces.dtype == rough.energies.dtype == torch.float64
    error = float((rough.forces - plain.forces).abs().max())
    assert 0.0 < error < 1e-3 * float(plain.forces.abs().max())


def test_without_energies_they_are_zero():
    parameters = trained(WATER, energies=False)
    found = evaluator(parameters)(tensor(WATER.frames(2)))
    assert not parameters.has_energies and not found.energies.any() and found.forces.any()


def test_tensors_in_place_of_numpy(monkeypatch):
    """The code that a GPU runs, on the CPU."""
    parameters = trained(TWO_ROTORS, 5)
    positions = tensor(TWO_ROTORS.frames(3, seed=5))
    plain = evaluator(parameters)(positions)
    for where in (geometries_module, expansion_module):
        monkeypatch.setattr(where, "native", lambda array: array)
    found = evaluator(parameters)
    assert isinstance(found.training.values, torch.Tensor)
    torch.testing.assert_close(found(positions).forces, plain.forces, rtol=0, atol=1e-9)
    torch.testing.assert_close(found(positions).energies, plain.energies, rtol=0, atol=1e-7)
    again = trained(TWO_ROTORS, 5)
    scale = float(np.abs(parameters.coefficients).max())
    np.testing.assert_allclose(again.coefficients, parameters.coefficients, atol=1e-6 * scale)


def test_trained_and_evaluated_on_a_device(device):
    parameters = trained(WATER, 8, device=device)
    found = AtomizedEvaluator(parameters, device, torch.float64)
    prediction = found(tensor(WATER.frames(3, seed=5), device=device))
    expected = evaluator(trained(WATER, 8))(tensor(WATER.frames(3, seed=5)))
    torch.testing.assert_close(prediction.forces.cpu(), expected.forces, rtol=0, atol=1e-6)
    torch.testing.assert_close(prediction.energies.cpu(), expected.energies, rtol=0, atol=1e-6)


def test_damaged_energies_are_told():
    parameters = trained(WATER)
    damaged = replace(parameters, energy_regularization=-1.0)
    with pytest.raises(SolverError, match="damaged"):
        evaluator(damaged)
