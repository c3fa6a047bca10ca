"""Models whose features mix: training, files, and what is refused."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from kernel_cases import random_mixing
from molecules import CHIRAL, TWO_ROTORS, WATER, tensor
from safetensors import safe_open
from safetensors.numpy import save_file
from toy_models import slow_energy, toy_atomized_parameters, toy_dataset, toy_parameters

import kraft
from kraft.core.errors import GeometryError, ModelFileError, OptionError
from kraft.models.model_file import FORMAT_VERSION, read_model, write_model
from kraft.symmetry.orbits import feature_permutations

PAPER = {"kernel": "matern52", "length_scale": 3.0, "regularization": 1e-6}
OF_WATER = random_mixing(feature_permutations(WATER.permutations)).numpy()


def train(training, weights=None, mixing=None, **options):
    options = {**PAPER, "permutations": WATER.permutations, **options}
    return kraft.train(training, feature_weights=weights, feature_mixing=mixing, **options)


def forces_of(model, molecule=WATER):
    return model.predict(molecule.frames(3, seed=2)).forces


@pytest.mark.parametrize("molecule", [WATER, CHIRAL], ids=str)
def test_training_solves_the_system_of_the_kernel_of_positions(molecule):
    """Predicted forces at the training geometries, by differentiation, are labels less ``λ α``."""
    training = toy_dataset(molecule, 4)
    mixing = random_mixing(feature_permutations(molecule.permutations)).numpy()
    options = {"permutations": molecule.permutations, "kernel": "gaussian", "regularization": 1e-2}
    model, _ = train(training, mixing=mixing, **options)
    parameters = model.parameters
    np.testing.assert_array_equal(parameters.feature_mixing, mixing)
    plain, _ = train(training, **options)
    assert np.abs(forces_of(model, molecule) - forces_of(plain, molecule)).max() > 1e-3
    for index in range(4):
        gradient = torch.func.grad(lambda x: slow_energy(parameters, x))(
            tensor(training.positions[index])
        )
        expected = training.forces[index] - 1e-2 * parameters.coefficients[index]
        np.testing.assert_allclose(-gradient.numpy(), expected, atol=1e-9)


def test_the_identity_changes_nothing_and_a_diagonal_is_weights():
    training, weights = toy_dataset(WATER, 8), np.array([2.0, 2.0, 0.5])
    plain, weighted = train(training)[0], train(training, weights)[0]
    identity, diagonal = (train(training, mixing=m)[0] for m in (np.eye(3), np.diag(weights)))
    np.testing.assert_allclose(forces_of(identity), forces_of(plain), atol=1e-9)
    np.testing.assert_allclose(forces_of(diagonal), forces_of(weighted), atol=1e-9)
    assert plain.parameters.feature_mixing is None


@pytest.mark.parametrize("energy_weight", [0.0, 0.5])
@pytest.mark.parametrize("preconditioner", ["random-pivoting", "geometries", "jacobi"])
def test_dense_equals_iterative(preconditioner, energy_weight):
    given = toy_dataset(WATER, 20), [1.0, 1.0, 2.0], OF_WATER
    options = {"energy_weight": energy_weight, "regularization": 1e-3}
    dense, _ = train(*given, solver="dense", **options)
    solver = kraft.SolverOptions("iterative", tolerance=1e-10, preconditioner=preconditioner)
    iterative, result = train(*given, solver_options=solver, **options)
    assert result.outcome.converged and result.outcome.iterations
    np.testing.assert_allclose(forces_of(iterative), forces_of(dense), atol=1e-5)


def test_of_a_reduced_descriptor():
    training = toy_dataset(WATER, 6)
    model, _ = train(training, [1.0, 1.0], OF_WATER[:2, :2], features=[0, 1])
    whole = np.zeros((3, 3))
    whole[:2, :2] = OF_WATER[:2, :2]
    expected, _ = train(training, mixing=whole)
    np.testing.assert_allclose(forces_of(model), forces_of(expected), atol=1e-6)
    with pytest.raises(OptionError, match=r"2 x 2 finite.*kept"):
        train(training, mixing=OF_WATER, features=[0, 1])


@pytest.mark.parametrize(
    "mixing, message",
    [
        (np.eye(4), "3 x 3 finite numbers"),
        (np.eye(3) + np.eye(3, k=1), "symmetric matrix"),
        (np.diag([1.0, 2.0, 3.0]), "equivalent pairs of features"),
        (np.zeros((3, 3)), "all zero"),
    ],
)
def test_what_does_not_fit_is_explained(mixing, message):
    with pytest.raises(OptionError, match=message):
        train(toy_dataset(WATER, 4), mixing=mixing)


@pytest.mark.parametrize("weights", ["auto", "learned"])
def test_a_mixing_cannot_be_given_where_weights_are_learned(weights):
    with pytest.raises(OptionError, match="together with their weights"):
        train(toy_dataset(WATER, 4), weights, OF_WATER)


def test_another_mixing_is_not_resumed(tmp_path):
    training, path = toy_dataset(WATER, 8), tmp_path / "m.state.safetensors"
    options = {"solver": "iterative", "checkpoint": path}
    whole, _ = train(training, mixing=OF_WATER, **options)
    again, _ = train(training, mixing=OF_WATER, resume=True, **options)
    np.testing.assert_array_equal(forces_of(again), forces_of(whole))
    with pytest.raises(OptionError, match="mixing of features differs"):
        train(training, resume=True, **options)


@pytest.mark.parametrize("known", [False, True], ids=["descriptors", "geometries"])
@pytest.mark.parametrize("cell", [None, 7.0 * np.eye(3)], ids=["free", "periodic"])
def test_the_file_keeps_it(cell, known, tmp_path):
    parameters = toy_parameters(TWO_ROTORS, energies=True, cell=cell, weighted=True, mixes=True)
    if not known:
        parameters = replace(parameters, training_positions=None, coefficients=None)
    write_model(parameters, tmp_path / "m.safetensors")
    back = read_model(tmp_path / "m.safetensors")
    for item in fields(parameters):
        np.testing.assert_equal(getattr(back, item.name), getattr(parameters, item.name))
    positions = TWO_ROTORS.frames(2, seed=4)
    got, expected = (kraft.ForceField(p).predict(positions) for p in (back, parameters))
    np.testing.assert_array_equal(got.forces, expected.forces)


def rewritten(path, parameters, **arrays):
    """Write a model file with other arrays."""
    write_model(parameters, path)
    with safe_open(path, framework="np") as file:
        content = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    save_file({**content, **arrays}, path, metadata=metadata)
    return path


@pytest.mark.parametrize(
    "mixing, message",
    [
        (np.eye(4), r"feature_mixing should have shape \(3, 3\)"),
        (np.eye(3) + 0.1 * np.eye(3, k=1), "symmetric"),
        (np.diag([1.0, 2.0, 3.0]), "equivalent pairs"),
        (np.full((3, 3), np.inf), "not finite"),
        (np.zeros((3, 3)), "all zero"),
    ],
)
def test_a_damaged_file_is_refused(mixing, message, tmp_path):
    parameters = toy_parameters(WATER, mixes=True)
    path = rewritten(tmp_path / "m.safetensors", parameters, feature_mixing=mixing)
    with pytest.raises(ModelFileError, match=rf"damaged.*{message}"):
        read_model(path)


def test_atomized_models_have_none(tmp_path):
    path = tmp_path / "m.safetensors"
    rewritten(path, toy_atomized_parameters(), feature_mixing=np.eye(3))
    with pytest.raises(ModelFileError, match="one by one"):
        read_model(path)


@pytest.mark.parametrize("mixes", [False, True])
def test_every_file_has_the_version_that_knows_of_it(mixes, tmp_path):
    write_model(toy_parameters(WATER, mixes=mixes), tmp_path / "m.safetensors")
    with safe_open(tmp_path / "m.safetensors", framework="np") as file:
        assert f'"format_version": {FORMAT_VERSION}' in file.metadata()["kraft"]
        assert ("feature_mixing" in file.keys()) == mixes  # noqa: SIM118
    assert FORMAT_VERSION >= 3


def test_parameters_check_its_shape():
    with pytest.raises(GeometryError, match=r"feature_mixing should have shape \(3, 3\)"):
        replace(toy_parameters(WATER), feature_mixing=np.eye(2))
