"""Models that keep some of the features, or make them by another function, as ordinary models."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from molecules import (
    BENZENE,
    CHIRAL,
    TWO_ROTORS,
    WATER,
    every_other_orbit,
    random_rotation,
    tensor,
)
from safetensors import safe_open
from safetensors.numpy import save_file
from toy_models import slow_energy, toy_atomized_parameters, toy_force_field, toy_parameters

import kraft
from kraft import ForceField
from kraft.core.errors import GeometryError, ModelFileError, OptionError, SymmetryError
from kraft.descriptors import FEATURE_FUNCTIONS, PairFeatures
from kraft.kernels.atom_geometries import AtomGeometries
from kraft.models.evaluator import Evaluator
from kraft.models.model_file import read_model, write_model
from kraft.models.molecule_match import check_molecule

CELL = np.array([[5.0, 0.2, 0.0], [0.0, 5.5, 0.1], [0.0, 0.0, 6.0]])
STAR = np.array([0, 1, 2, 3])
"""The bonds of the chiral molecule: its other distances may change freely."""


@pytest.fixture(params=sorted(FEATURE_FUNCTIONS))
def function(request):
    return request.param


def reduced(molecule, function="inverse", **options):
    chosen = {"features": every_other_orbit(molecule), "feature_function": function}
    return toy_force_field(molecule, **{**chosen, **options})


@pytest.mark.parametrize("cell", [None, CELL], ids=["free", "periodic"])
@pytest.mark.parametrize("molecule", [WATER, CHIRAL], ids=str)
def test_energy_forces_and_hessian_against_automatic_differentiation(molecule, function, cell):
    field = reduced(molecule, function, n_train=2, energies=True, cell=cell, kernel="matern72")
    positions = molecule.frames(1, seed=5)[0]

    def energy(x):
        return slow_energy(field.parameters, x)

    gradient, value = torch.func.grad_and_value(energy)(tensor(positions))
    prediction = field.predict(positions)
    assert float(prediction.energies) == pytest.approx(float(value), rel=1e-10)
    scale = float(gradient.abs().max())
    np.testing.assert_allclose(prediction.forces, -gradient.numpy(), rtol=0, atol=1e-9 * scale)
    n = positions.size
    hessian = torch.func.hessian(energy)(tensor(positions)).reshape(n, n).numpy()
    got = field.hessian(positions)
    np.testing.assert_allclose(got, hessian, rtol=0, atol=1e-9 * np.abs(hessian).max())


@pytest.mark.parametrize("molecule", [BENZENE, TWO_ROTORS], ids=str)
def test_hessian_against_finite_differences(molecule):
    field = reduced(molecule, "inverse-sqrt", energies=True)
    positions = molecule.frames(1, seed=6)[0]
    n, step = positions.size, 1e-4
    steps = step * np.eye(n).reshape(n, -1, 3)
    ahead, behind = field.predict(positions + steps), field.predict(positions - steps)
    forces = -(ahead.energies - behind.energies) / (2.0 * step)
    expected = field.predict(positions).forces.ravel()
    np.testing.assert_allclose(forces, expected, rtol=0, atol=1e-6 * (1 + np.abs(expected).max()))
    hessian = -(ahead.forces - behind.forces).reshape(n, n) / (2.0 * step)
    got = field.hessian(positions)
    np.testing.assert_allclose(got, hessian, rtol=0, atol=1e-6 * (1 + np.abs(got).max()))


@pytest.mark.parametrize("n_geometries", [1, 3])
@pytest.mark.parametrize("molecule", [WATER, BENZENE, TWO_ROTORS], ids=str)
def test_numpy_and_torch_agree(molecule, function, n_geometries, dtype):
    parameters = reduced(molecule, function, n_train=7, weighted=True).parameters
    evaluator = Evaluator(parameters, "cpu", dtype)
    slow = Evaluator(parameters, "cpu", torch.float64)
    slow.cpu = None
    positions = molecule.frames(n_geometries, seed=2)
    expected = slow(torch.tensor(positions))
    energies, forces = evaluator.cpu(positions)
    tolerance = 1000 * torch.finfo(dtype).eps
    scale = float(expected.forces.abs().max())
    np.testing.assert_allclose(forces, expected.forces.numpy(), rtol=0, atol=tolerance * scale)
    np.testing.assert_allclose(energies, expected.energies.numpy(), rtol=tolerance)


@pytest.mark.parametrize("molecule", [WATER, BENZENE, TWO_ROTORS], ids=str)
def test_symmetries_are_exact(molecule):
    field = reduced(molecule, "log", energies=True)
    positions = molecule.frames(1, seed=3)[0]
    expected = field.predict(positions)
    moved = positions @ random_rotation(1).T + 2.0
    np.testing.assert_allclose(field.predict(moved).energies, expected.energies, rtol=1e-10)
    for row in molecule.permutations:
        got = field.predict(positions[row])
        np.testing.assert_allclose(got.energies, expected.energies, rtol=1e-10)
        scale = np.abs(expected.forces).max()
        np.testing.assert_allclose(got.forces, expected.forces[row], rtol=0, atol=1e-10 * scale)


def test_all_features_given_change_no_bit():
    plain = toy_force_field(TWO_ROTORS, energies=True)
    given = toy_force_field(TWO_ROTORS, energies=True, features=np.arange(55))
    positions = TWO_ROTORS.frames(3, seed=1)
    for ours, expected in zip(given.predict(positions), plain.predict(positions), strict=True):
        np.testing.assert_array_equal(ours, expected)
    np.testing.assert_array_equal(given.novelty(positions), plain.novelty(positions))
    np.testing.assert_array_equal(given.hessian(positions[0]), plain.hessian(positions[0]))


def test_work_falls_with_the_number_of_features():
    flops = [
        Evaluator(field.parameters, "cpu", torch.float64).flops_per_geometry
        for field in (toy_force_field(CHIRAL), toy_force_field(CHIRAL, features=STAR))
    ]
    assert flops[1] == pytest.approx(0.4 * flops[0])


@pytest.mark.parametrize("cell", [None, CELL], ids=["free", "periodic"])
def test_the_file_keeps_them(tmp_path, function, cell):
    path = tmp_path / "model.safetensors"
    parameters = reduced(TWO_ROTORS, function, cell=cell, energies=True).parameters
    write_model(parameters, path)
    back = read_model(path)
    np.testing.assert_array_equal(back.features, parameters.features)
    assert back.features.dtype == np.int64 and back.feature_function == function
    positions = TWO_ROTORS.frames(2, seed=4)
    got, expected = (ForceField(p).predict(positions) for p in (back, parameters))
    np.testing.assert_array_equal(got.forces, expected.forces)
    np.testing.assert_array_equal(got.energies, expected.energies)


def test_a_model_of_descriptors_only_is_kept_too(tmp_path):
    path = tmp_path / "model.safetensors"
    parameters = replace(reduced(WATER, "log").parameters, training_positions=None)
    write_model(parameters, path)
    np.testing.assert_array_equal(
        read_model(path).training_descriptors, parameters.training_descriptors
    )


def _rewritten(path, parameters, arrays=None, text=("", "")):
    """Write a model file with other arrays, and a word of its metadata replaced."""
    write_model(parameters, path)
    with safe_open(path, framework="np") as file:
        content = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()["kraft"]
    metadata = metadata.replace(*text) if text[0] else metadata
    save_file({**content, **(arrays or {})}, path, metadata={"kraft": metadata})
    return path


def test_a_plain_model_names_neither_in_its_file(tmp_path):
    path = _rewritten(tmp_path / "model.safetensors", toy_parameters(WATER))
    with safe_open(path, framework="np") as file:
        assert "features" not in file.keys()  # noqa: SIM118
        assert "feature_function" not in file.metadata()["kraft"]


@pytest.mark.parametrize(
    "features, message",
    [([0, 7], "ascending"), ([2, 0], "ascending"), ([0, 2], "closed"), ([0], "shape")],
)
def test_damaged_features_in_a_file_are_refused(tmp_path, features, message):
    parameters = toy_parameters(WATER, features=np.array([0, 1]))
    path = _rewritten(tmp_path / "model.safetensors", parameters, {"features": np.array(features)})
    with pytest.raises(ModelFileError, match=message):
        read_model(path)


def test_an_unknown_function_in_a_file_is_refused(tmp_path):
    parameters = toy_parameters(WATER, feature_function="log")
    path = _rewritten(tmp_path / "model.safetensors", parameters, text=('"log"', '"sine"'))
    with pytest.raises(ModelFileError, match=r"sine.*inverse-sqrt"):
        read_model(path)


def test_atomized_models_have_all_inverse_distances(tmp_path):
    features = {"features": np.array([0, 1])}
    path = _rewritten(tmp_path / "model.safetensors", toy_atomized_parameters(), features)
    with pytest.raises(ModelFileError, match="inverse distances of all pairs"):
        read_model(path)
    ones = torch.ones(2, dtype=torch.float64)
    with pytest.raises(ValueError, match="all 3 pairs"):
        AtomGeometries.of(
            PairFeatures(3, features=[0, 1]),
            tensor(WATER.frames(2)),
            ones,
            0.0 * ones,
            WATER.permutations,
        )


def test_features_that_break_orbits_make_no_model():
    with pytest.raises(SymmetryError, match=r"lack 1 \(atoms 0 and 2\)"):
        replace(
            toy_parameters(WATER),
            features=np.array([0]),
            feature_weights=np.ones(1),
            training_descriptors=np.ones((4, 1)),
            feature_coefficients=np.ones((4, 1)),
        )


def test_order_of_atoms_is_checked_by_all_distances():
    """Also by those that are no features."""
    field = toy_force_field(CHIRAL, features=STAR, feature_function="log", n_train=20)
    positions = CHIRAL.frames(1, seed=8)[0]
    atoms = Atoms(CHIRAL.atomic_numbers, positions, calculator=kraft.KraftCalculator(field))
    energy, forces = field.predict(positions)
    assert atoms.get_potential_energy() == float(energy)
    np.testing.assert_array_equal(atoms.get_forces(), forces)
    with pytest.raises(GeometryError, match="atoms = atoms"):
        check_molecule(field, CHIRAL.atomic_numbers[[0, 2, 1, 3, 4]], positions)
    swapped = toy_force_field(BENZENE, features=every_other_orbit(BENZENE), n_train=20)
    order = np.r_[1, 0, np.arange(2, 12)]
    with pytest.raises(GeometryError, match="changed places"):
        check_molecule(swapped, BENZENE.atomic_numbers, BENZENE.frames(1)[0][order])


def test_without_geometries_the_order_cannot_be_checked():
    parameters = replace(
        toy_parameters(WATER, features=np.array([2])), training_positions=None, coefficients=None
    )
    field = ForceField(parameters)
    assert field.predict(WATER.frames(2)).forces.shape == (2, 3, 3)
    with pytest.raises(OptionError, match="only 1 of the 3 distances"):
        check_molecule(field, WATER.atomic_numbers, WATER.frames(1)[0])


def test_distances_of_the_training_geometries(function):
    positions = WATER.frames(4)
    a, b = np.triu_indices(3, 1)
    expected = np.linalg.norm(positions[:, a] - positions[:, b], axis=2)
    for features in (None, np.array([2])):
        parameters = toy_parameters(WATER, features=features, feature_function=function)
        np.testing.assert_allclose(parameters.training_distances, expected, rtol=1e-12)
