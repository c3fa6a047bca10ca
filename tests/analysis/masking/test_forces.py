"""Masked forces of all orbits at once, against models with the orbit's weights set to zero."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from molecules import BENZENE, CHIRAL, TWO_ROTORS, WATER
from toy_models import feature_energy, toy_parameters

from kraft.analysis.masking import MaskedForces, interpolation
from kraft.core.typing import FloatArray, IntArray
from kraft.models import ForceField
from kraft.models.parameters import Parameters
from kraft.symmetry.orbits import feature_orbit_labels


def brute_force(parameters: Parameters, positions: FloatArray) -> FloatArray:
    """Return the changes ``(B, O, 3N)`` by predicting with each mask; coefficients stay."""
    labels = feature_orbit_labels(parameters.permutations)
    if parameters.feature_mixing is not None:
        return masked_forces(parameters, labels, positions)
    before = ForceField(parameters).predict(positions).forces
    changes = []
    for orbit in range(labels.max() + 1):
        weights = np.where(labels == orbit, 0.0, parameters.feature_weights)
        masked = ForceField(replace(parameters, feature_weights=weights))
        changes.append(masked.predict(positions).forces - before)
    return np.stack(changes, axis=1).reshape(len(positions), labels.max() + 1, -1)


def masked_forces(parameters: Parameters, labels: IntArray, positions: FloatArray) -> FloatArray:
    """Return the same by automatic differentiation, the kernel's features being masked."""
    descriptor = parameters.descriptor()

    def forces(kept: FloatArray) -> FloatArray:
        at = torch.tensor(positions, requires_grad=True)
        energy = sum(feature_energy(parameters, x, kept) for x in descriptor.values(at))
        return -torch.autograd.grad(energy, at)[0].reshape(len(positions), -1).numpy()

    masks = [np.where(labels == orbit, 0.0, 1.0) for orbit in range(labels.max() + 1)]
    return (
        np.stack([forces(kept) for kept in masks], axis=1) - forces(np.ones(len(labels)))[:, None]
    )


def changes(parameters: Parameters, positions: FloatArray) -> FloatArray:
    labels = feature_orbit_labels(parameters.permutations)
    masked = MaskedForces(ForceField(parameters).evaluator, labels)
    return torch.stack(list(masked.changes(torch.from_numpy(positions)))).numpy()


@pytest.mark.parametrize("molecule", [CHIRAL, WATER, BENZENE, TWO_ROTORS], ids=repr)
@pytest.mark.parametrize("kernel", ["matern52", "matern72", "gaussian"])
@pytest.mark.parametrize("energies", [False, True])
def test_all_masks_are_those_of_masked_models(molecule, kernel, energies):
    parameters = toy_parameters(molecule, kernel=kernel, energies=energies)
    positions = molecule.frames(2, seed=5)
    expected = brute_force(parameters, positions)
    found = changes(parameters, positions)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("molecule", [CHIRAL, WATER, TWO_ROTORS], ids=repr)
@pytest.mark.parametrize("weighted", [False, True])
def test_where_features_mix_those_of_the_kernel_are_masked(molecule, weighted):
    parameters = toy_parameters(molecule, energies=True, weighted=weighted, mixes=True)
    positions = molecule.frames(2, seed=5)
    expected = brute_force(parameters, positions)
    found = changes(parameters, positions)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11 * np.abs(expected).max())


@pytest.mark.parametrize("kernel", ["matern52", "gaussian"])
@pytest.mark.parametrize("energies, mixes", [(False, False), (True, False), (True, True)])
def test_interpolation_changes_nothing(kernel, energies, mixes, monkeypatch):
    parameters = toy_parameters(
        TWO_ROTORS, kernel=kernel, energies=energies, n_train=7, mixes=mixes
    )
    positions = TWO_ROTORS.frames(2, seed=5)
    counts = []

    def always(tile, c, part):
        counts.append(c.permutations.shape[1])
        return 30 if c.permutations.shape[1] > 1 else None

    monkeypatch.setattr("kraft.analysis.masking.forces.n_nodes", always)
    expected = brute_force(parameters, positions)
    found = changes(parameters, positions)
    assert max(counts) == 18  # the features that no permutation moves
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


def test_the_number_of_nodes_is_enough(monkeypatch):
    """Where interpolation is taken by its own estimate, it meets the tolerance of that estimate."""
    parameters = toy_parameters(TWO_ROTORS, n_train=7)
    positions = TWO_ROTORS.frames(2, seed=5)
    expected = brute_force(parameters, positions)
    taken = []
    original = interpolation.n_nodes

    def regardless_of_cost(tile, c, part):
        many = replace(c, masks=c.masks.repeat(100))
        count = original(tile, many, part)
        taken.append(count)
        return count

    monkeypatch.setattr("kraft.analysis.masking.forces.n_nodes", regardless_of_cost)
    found = changes(parameters, positions)
    assert any(count is not None for count in taken)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * np.abs(expected).max())


def test_tiles_do_not_change_the_result(monkeypatch):
    parameters = toy_parameters(TWO_ROTORS, n_train=40)
    positions = TWO_ROTORS.frames(1, seed=3)
    whole = changes(parameters, positions)
    monkeypatch.setattr("kraft.analysis.masking.forces.TILE_ELEMENTS", 1)
    monkeypatch.setattr("kraft.analysis.masking.forces.CHUNK_ELEMENTS", 1)
    parts = changes(parameters, positions)
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-12 * np.abs(whole).max())


def test_a_periodic_cell():
    parameters = toy_parameters(WATER, cell=9.0 * np.eye(3))
    positions = WATER.frames(2, seed=5)
    expected = brute_force(parameters, positions)
    found = changes(parameters, positions)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
