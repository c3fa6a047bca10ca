"""Parts of atoms in changes of the energy along a path."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from molecules import CHIRAL, HYDROGEN, MOLECULES, TWO_ROTORS, WATER, random_rotation, tensor
from toy_models import feature_energy, toy_atomized_parameters, toy_force_field

import kraft.analysis.path_contributions as module
from kraft.analysis.path_contributions import path_contributions
from kraft.core.errors import GeometryError, OptionError
from kraft.models import ForceField


def path_of(molecule, n=6, seed=3):
    ends = molecule.frames(2, seed=seed)
    return ends[0] + np.linspace(0.0, 1.0, n)[:, None, None] * (ends[1] - ends[0])


@pytest.mark.parametrize(
    "energies, mixes",
    [(False, False), (True, False), (True, True)],
    ids=["forces", "energies", "mixed"],
)
@pytest.mark.parametrize("molecule", [WATER, CHIRAL], ids=str)
def test_against_a_fine_sum_over_pairs(molecule, energies, mixes):
    field = toy_force_field(molecule, energies=energies, weighted=True, mixes=mixes)
    parameters = field.parameters
    fine = path_of(molecule, 401)
    descriptor = parameters.descriptor("cpu")
    values = descriptor.values(tensor(fine))
    slopes = []
    for one in values:
        at = one.clone().requires_grad_()
        slopes.append(torch.autograd.grad(feature_energy(parameters, at), at)[0])
    slopes = torch.stack(slopes)
    work = (0.5 * (slopes[1:] + slopes[:-1]) * values.diff(dim=0)).sum(dim=0)
    wanted = torch.zeros(molecule.n_atoms, dtype=torch.float64)
    for atoms in (descriptor.first_atoms, descriptor.second_atoms):
        wanted = wanted.index_add(0, atoms, 0.5 * work)
    got = path_contributions(field, fine[::40])
    np.testing.assert_allclose(got[-1], wanted, rtol=0, atol=1e-4 * float(wanted.abs().max()))


@pytest.mark.parametrize("molecule", MOLECULES, ids=str)
def test_they_add_up_to_the_changes_of_the_energy(molecule):
    field, path = toy_force_field(molecule, energies=True), path_of(molecule)
    got = path_contributions(field, path)
    energies = field.predict(path).energies
    assert got.shape == (6, molecule.n_atoms) and not got[0].any()
    scale = np.abs(energies).max()
    np.testing.assert_allclose(got.sum(axis=1), energies - energies[0], atol=1e-7 * scale)


def test_they_go_with_the_atoms_and_back():
    field, path = toy_force_field(TWO_ROTORS), path_of(TWO_ROTORS)
    one = path_contributions(field, path)
    moved = path_contributions(field, path @ random_rotation().T + 1.0)
    np.testing.assert_allclose(moved, one, atol=1e-10)
    order = TWO_ROTORS.permutations[5]
    np.testing.assert_allclose(path_contributions(field, path[:, order]), one[:, order], atol=1e-10)
    np.testing.assert_allclose(path_contributions(field, path[::-1])[-1], -one[-1], atol=1e-10)


def test_atoms_whose_distances_stay_have_no_part():
    field, path = toy_force_field(CHIRAL), np.repeat(CHIRAL.positions[None], 3, axis=0)
    path[:, 4] += np.array([0.0, 0.1, 0.2])[:, None] * [1.0, 0.0, 0.0]
    got = path_contributions(field, path)[-1]
    assert got[4] == pytest.approx(got[:4].sum(), rel=1e-9)  # each pair half and half


def test_chunks_change_nothing(monkeypatch):
    field, path = toy_force_field(HYDROGEN), path_of(HYDROGEN, 9)
    whole = path_contributions(field, path)
    monkeypatch.setattr(module, "SEGMENTS", 3)
    seen = []
    got = path_contributions(field, path, progress=lambda *told: seen.append(told))
    np.testing.assert_allclose(got, whole, atol=1e-14)
    assert [told[1:] for told in seen] == [(0, 8), (3, 8), (6, 8), (8, 8)]
    np.testing.assert_allclose(whole[:, 0], whole[:, 1])


def test_what_is_refused():
    field, path = toy_force_field(WATER), path_of(WATER)
    with pytest.raises(GeometryError, match="at least two"):
        path_contributions(field, path[0])
    with pytest.raises(OptionError, match="at least one point"):
        path_contributions(field, path, order=0)
    with pytest.raises(OptionError, match="AFF"):
        path_contributions(ForceField(toy_atomized_parameters()), path)
    path[2, 1] = np.nan
    with pytest.raises(GeometryError, match="finite positions"):
        path_contributions(field, path)
