"""Contributions of atoms: against the definition by brute force, and what must hold for any."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from molecules import (
    BENZENE,
    CARBON_DIOXIDE,
    CHIRAL,
    HYDROGEN,
    MOLECULES,
    TWO_ROTORS,
    WATER,
    random_rotation,
    tensor,
)
from toy_models import toy_atomized_parameters, toy_force_field, toy_parameters

import kraft.analysis.contributions as module
from kraft.analysis.atom_coefficients import recover_coefficients
from kraft.analysis.contributions import atom_contributions, energy_shares, participation
from kraft.core.errors import DataError, GeometryError, OptionError
from kraft.descriptors import InverseDistances
from kraft.kernels import KERNELS
from kraft.models import ForceField
from kraft.models.parameters import descriptors_and_coefficients

CELL = np.array([[3.0, 0.2, 0.0], [0.0, 3.5, 0.1], [0.0, 0.0, 4.0]])


PARTITIONS = ("pairs", "coefficients")


def brute_force(parameters, positions, partition):
    """Return ``(N,)`` by the definition: explicit sums over the coefficients of every atom.

    The training geometries are permuted here, with their coefficients, where kraft permutes the
    query, so the atom whose coefficient it is needs no bookkeeping.
    """
    descriptor = parameters.descriptor("cpu")
    scale, kernel = torch.tensor(parameters.feature_scale), parameters.radial_kernel
    query = descriptor.values(positions[None])[0]

    def of_features(values):
        delta = scale * (query - values)
        if parameters.feature_mixing is not None:
            delta = torch.tensor(parameters.feature_mixing) @ delta
        return kernel.derivative(0, delta @ delta)

    def covariance(geometry):
        return of_features(descriptor.values(geometry[None])[0])

    total = torch.zeros(parameters.n_atoms, dtype=torch.float64)
    for order in parameters.permutations:
        for j in range(parameters.n_train):
            at = tensor(parameters.training_positions[j][order]).requires_grad_()
            along = tensor(parameters.coefficients[j][order])
            value = covariance(at)
            if partition == "coefficients":
                (gradient,) = torch.autograd.grad(value, at, create_graph=True)
                total = total - (gradient * along).sum(dim=1)
            else:
                features = descriptor.evaluate(at.detach()[None])
                products = descriptor.jacobian_product(features, along[None])[0]
                values = features.values[0].clone().requires_grad_()
                (gradient,) = torch.autograd.grad(of_features(values), values, create_graph=True)
                parts = torch.zeros_like(total)
                for atoms in (descriptor.first_atoms, descriptor.second_atoms):
                    parts = parts.index_add(0, atoms, -0.5 * gradient * products)
                total = total + parts
            if parameters.energy_coefficients is not None:
                total = total + parameters.energy_coefficients[j] / parameters.n_atoms * value
    return total


CASES = [(WATER, kernel, energies) for kernel in sorted(KERNELS) for energies in (False, True)]
CASES += [(molecule, "matern52", True) for molecule in (HYDROGEN, CARBON_DIOXIDE, CHIRAL)]


@pytest.mark.parametrize("partition", PARTITIONS)
@pytest.mark.parametrize(("molecule", "kernel", "energies"), CASES)
def test_definition(molecule, kernel, energies, partition):
    weighted = molecule is not HYDROGEN
    field = toy_force_field(
        molecule, kernel=kernel, energies=energies, weighted=weighted, n_train=3
    )
    positions = molecule.frames(1, seed=5)[0]
    geometry = tensor(positions).requires_grad_()
    wanted = brute_force(field.parameters, geometry, partition)
    slopes = [torch.autograd.grad(one, geometry, retain_graph=True)[0] for one in wanted]
    forces, energies = -torch.stack(slopes).numpy(), wanted.detach().numpy()
    got = atom_contributions(field, positions, partition=partition)
    np.testing.assert_allclose(got.energies, energies, rtol=0, atol=1e-10 * np.abs(energies).max())
    np.testing.assert_allclose(got.forces, forces, rtol=0, atol=1e-9 * np.abs(forces).max())


@pytest.mark.parametrize("partition", PARTITIONS)
@pytest.mark.parametrize(
    ("molecule", "options"),
    [
        (WATER, {"cell": CELL}),
        (CHIRAL, {}),
        (CHIRAL, {"features": np.array([0, 1, 2, 4, 9]), "feature_function": "log"}),
        (TWO_ROTORS, {}),
    ],
    ids=["periodic", "chiral", "reduced", "rotors"],
)
def test_definition_with_features_that_mix(molecule, options, partition):
    field = toy_force_field(
        molecule, energies=True, weighted=True, mixes=True, n_train=2, **options
    )
    positions = molecule.frames(1, seed=5)[0]
    geometry = tensor(positions).requires_grad_()
    wanted = brute_force(field.parameters, geometry, partition)
    slopes = [torch.autograd.grad(one, geometry, retain_graph=True)[0] for one in wanted]
    got = atom_contributions(field, positions, partition=partition)
    wanted = wanted.detach().numpy()
    np.testing.assert_allclose(got.energies, wanted, rtol=0, atol=1e-10 * np.abs(wanted).max())
    forces = -torch.stack(slopes).numpy()
    np.testing.assert_allclose(got.forces, forces, rtol=0, atol=1e-9 * np.abs(forces).max())
    np.testing.assert_allclose(got.prediction.forces, field.predict(positions).forces, atol=1e-9)


def test_definition_in_a_periodic_cell():
    field = toy_force_field(WATER, cell=CELL)
    positions = WATER.frames(1, seed=5)[0]
    positions[1] += CELL[0] - CELL[2]
    for partition in PARTITIONS:
        wanted = brute_force(field.parameters, tensor(positions), partition).detach().numpy()
        got = atom_contributions(field, positions, partition=partition)
        np.testing.assert_allclose(got.energies, wanted, atol=1e-10)


@pytest.mark.parametrize("partition", PARTITIONS)
@pytest.mark.parametrize("kernel", sorted(KERNELS))
@pytest.mark.parametrize("molecule", MOLECULES, ids=str)
def test_they_add_up_to_the_prediction(molecule, kernel, partition):
    field = toy_force_field(molecule, kernel=kernel, energies=True, n_train=5)
    positions = molecule.frames(3, seed=6)
    predicted = field.predict(positions)
    got = atom_contributions(field, positions, partition=partition)
    assert got.energies.shape == (3, molecule.n_atoms)
    assert got.forces.shape == (3, molecule.n_atoms, molecule.n_atoms, 3)
    sums = got.prediction
    scale = np.abs(got.energies).max() + abs(got.energy_offset)
    np.testing.assert_allclose(sums.energies, predicted.energies, rtol=0, atol=1e-12 * scale)
    scale = np.abs(got.forces).max()
    np.testing.assert_allclose(sums.forces, predicted.forces, rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("partition", PARTITIONS)
@pytest.mark.parametrize("molecule", [WATER, BENZENE, TWO_ROTORS], ids=str)
def test_they_go_with_the_atoms(molecule, partition):
    field = toy_force_field(molecule, energies=True)
    positions = molecule.frames(1, seed=7)[0]

    def split(geometry):
        return atom_contributions(field, geometry, partition=partition)

    rotation = random_rotation()
    one = split(positions)
    moved = split(positions @ rotation.T + 3.0)
    np.testing.assert_allclose(moved.energies, one.energies, atol=1e-11)
    np.testing.assert_allclose(moved.forces, one.forces @ rotation.T, atol=1e-10)
    for order in molecule.permutations[1:4]:
        exchanged = split(positions[order])
        np.testing.assert_allclose(exchanged.energies, one.energies[order], atol=1e-11)
        wanted = one.forces[np.ix_(order, order)]
        np.testing.assert_allclose(exchanged.forces, wanted, atol=1e-10)
        assert np.abs(one.energies[order] - one.energies).max() > 1e-6  # that they can differ


def test_each_exerts_neither_net_force_nor_torque():
    field, positions = toy_force_field(TWO_ROTORS), TWO_ROTORS.frames(2, seed=8)
    forces = atom_contributions(field, positions).forces
    np.testing.assert_allclose(forces.sum(axis=2), 0.0, atol=1e-11)
    torques = np.cross(positions[:, None], forces).sum(axis=2)
    np.testing.assert_allclose(torques, 0.0, atol=1e-10)


@pytest.mark.parametrize("size", [1, 300])
def test_tiles_change_nothing(monkeypatch, size):
    field, positions = toy_force_field(WATER, n_train=40), WATER.frames(5, seed=9)
    whole = atom_contributions(field, positions)
    monkeypatch.setattr(module, "TILE_ELEMENTS", size)
    seen = []
    tiled = atom_contributions(field, positions, progress=lambda *told: seen.append(told))
    np.testing.assert_allclose(tiled.energies, whole.energies, atol=1e-12)
    np.testing.assert_allclose(tiled.forces, whole.forces, atol=1e-12)
    assert seen[0][1:] == (0, 5) and seen[-1][1:] == (5, 5) and len(seen) > 2


def test_energies_alone_and_one_geometry():
    field, positions = toy_force_field(WATER), WATER.frames(2, seed=3)
    whole = atom_contributions(field, positions)
    alone = atom_contributions(field, positions, forces=False)
    np.testing.assert_array_equal(alone.energies, whole.energies)
    with pytest.raises(OptionError, match="forces=True"):
        _ = alone.strengths
    single = atom_contributions(field, positions[1])
    assert single.energies.shape == (3,) and single.forces.shape == (3, 3, 3)
    np.testing.assert_allclose(single.energies, whole.energies[1], atol=1e-13)
    np.testing.assert_allclose(single.strengths, whole.strengths[1], atol=1e-13)
    assert single.prediction.energies.shape == ()


def test_norms_and_strengths():
    got = atom_contributions(toy_force_field(WATER), WATER.frames(2))
    norm = np.sqrt(sum(x**2 for x in got.forces[1, 2, 0]))
    assert got.force_norms[1, 2, 0] == pytest.approx(norm)
    assert got.strengths[1, 2] == pytest.approx(np.sqrt((got.forces[1, 2] ** 2).sum()))


@pytest.mark.parametrize("molecule", [WATER, CHIRAL, TWO_ROTORS, CARBON_DIOXIDE], ids=str)
def test_models_without_training_geometries(molecule):
    """The smallest coefficients with the same products are those that training finds."""
    full = toy_parameters(molecule)
    bare = replace(full, training_positions=None, coefficients=None)
    positions, found = recover_coefficients(bare, InverseDistances(molecule.n_atoms))
    described, products = descriptors_and_coefficients(positions, found, None)
    np.testing.assert_allclose(described, full.training_descriptors, atol=1e-9)
    np.testing.assert_allclose(products, full.feature_coefficients, atol=1e-9)
    assert (found**2).sum() < (full.coefficients**2).sum()  # the rigid motions are gone
    geometry = molecule.frames(1, seed=4)[0]
    got = atom_contributions(ForceField(bare), geometry, partition="coefficients")
    stored = replace(bare, training_positions=positions, coefficients=found)
    wanted = atom_contributions(ForceField(stored), geometry, partition="coefficients")
    np.testing.assert_allclose(got.energies, wanted.energies, atol=1e-9)
    predicted = ForceField(full).predict(geometry)
    np.testing.assert_allclose(got.prediction.forces, predicted.forces, atol=1e-8)


def test_trained_models_keep_their_contributions_without_training_geometries(ethanol_force_field):
    """What is recovered from the features is what training stored."""
    bare = replace(ethanol_force_field.parameters, training_positions=None, coefficients=None)
    geometry = ethanol_force_field.parameters.training_positions[7] + 0.01
    wanted = atom_contributions(ethanol_force_field, geometry, partition="coefficients")
    got = atom_contributions(ForceField(bare), geometry, partition="coefficients")
    np.testing.assert_allclose(got.energies, wanted.energies, atol=1e-5)
    np.testing.assert_allclose(got.forces, wanted.forces, atol=1e-4)


def test_features_that_no_geometry_has():
    full = toy_parameters(CHIRAL)
    bare = replace(full, training_positions=None, coefficients=None)
    with pytest.raises(OptionError, match=r"features are off .* Train the model with kraft"):
        atom_contributions(
            ForceField(replace(bare, training_descriptors=full.training_descriptors[::-1] ** 2)),
            CHIRAL.positions,
            partition="coefficients",
        )
    with pytest.raises(OptionError, match="does not hold"):
        water = toy_parameters(WATER, cell=CELL)
        bare = replace(water, training_positions=None, coefficients=None)
        atom_contributions(ForceField(bare), WATER.positions, partition="coefficients")


def test_atomized_models_have_none():
    with pytest.raises(OptionError, match="AFF"):
        atom_contributions(ForceField(toy_atomized_parameters()), WATER.positions)


def test_pairs_need_no_training_geometries():
    full = toy_parameters(WATER, cell=CELL)
    bare = replace(full, training_positions=None, coefficients=None)
    wanted = atom_contributions(ForceField(full), WATER.positions)
    got = atom_contributions(ForceField(bare), WATER.positions)
    np.testing.assert_array_equal(got.forces, wanted.forces)


def test_unknown_partition():
    with pytest.raises(OptionError, match="pairs, coefficients"):
        atom_contributions(toy_force_field(WATER), WATER.positions, partition="atoms")


def test_wrong_geometries():
    field = toy_force_field(WATER)
    with pytest.raises(GeometryError, match="molecule of 3 atoms"):
        atom_contributions(field, BENZENE.positions)
    with pytest.raises(GeometryError, match="geometry 1 are in the same place"):
        atom_contributions(field, np.stack([WATER.positions, np.zeros((3, 3))]))


def test_shares_of_changes():
    rng = np.random.default_rng(0)
    energies = rng.normal(size=(50, 4)) * [3.0, 1.0, 0.1, 0.0] + 7.0
    shares = energy_shares(energies)
    assert shares.sum() == pytest.approx(1.0)
    total = energies.sum(axis=1)
    wanted = [np.cov(part, total)[0, 1] / np.var(total, ddof=1) for part in energies.T]
    np.testing.assert_allclose(shares, wanted, atol=1e-12)
    with pytest.raises(DataError, match="at least two"):
        energy_shares(energies[:1])
    with pytest.raises(DataError, match="no change"):
        energy_shares(np.ones((3, 2)))


def test_participation():
    assert participation(np.ones(5)) == pytest.approx(5.0)
    assert participation([0.0, 3.0]) == pytest.approx(1.0)
    assert participation(np.zeros(3)) == 0.0
