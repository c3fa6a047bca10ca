"""Predictive covariances against the dense joint Gaussian, their limits and symmetries."""

import atomized_cases
import numpy as np
import pytest
import torch
from atomized_cases import dataset, full_covariance
from molecules import WATER, random_rotation, tensor

import kraft.models.aff.uncertainty as module
from kraft.core.errors import MemoryLimitError, OptionError
from kraft.models.aff.training import train_aff
from kraft.models.aff.uncertainty import AtomizedUncertainty
from kraft.models.uncertainty.base import UncertaintyOptions

N_TRAIN = 6


def trained(n=N_TRAIN, regularization=1e-3, energies=True):
    data = dataset(WATER, n, energies=energies)
    options = {"length_scale": 1.5, "regularization": regularization, "kernel": "matern52"}
    return data, train_aff(data, permutations=WATER.permutations, **options)[0]


def queries(count=3):
    return WATER.frames(count, seed=7)


@pytest.fixture
def plain_weights(monkeypatch):
    """Give the dense oracle the trained model's equal weights and its range."""
    monkeypatch.setattr(atomized_cases, "orbit_weights", lambda _: np.ones(3))


def test_covariances_against_the_dense_joint_gaussian(plain_weights):
    data, parameters = trained()
    positions = queries()
    everything = np.concatenate([data.positions, positions])
    covariance = full_covariance(WATER, everything)
    found = AtomizedUncertainty(parameters).covariances(tensor(positions))
    for number, atoms in enumerate(parameters.atom_sets):
        rows = torch.as_tensor(3 * atoms[:, None] + np.arange(3)).reshape(-1)
        part = covariance[:, rows][:, :, :, rows]
        size = len(rows)
        flat = part.reshape(len(everything) * size, -1)
        n = N_TRAIN * size
        noisy = flat[:n, :n] + parameters.regularization * torch.eye(n, dtype=torch.float64)
        for query in range(3):
            where = slice(n + query * size, n + (query + 1) * size)
            cross = flat[:n, where]
            expected = flat[where, where] - cross.T @ torch.linalg.solve(noisy, cross)
            expected = parameters.set_variances[number] * expected
            torch.testing.assert_close(found[number][query], expected, rtol=1e-6, atol=1e-9)


def test_deviations_belong_to_the_covariances():
    _, parameters = trained()
    uncertainty = AtomizedUncertainty(parameters)
    positions = tensor(queries())
    deviations = uncertainty.deviations(positions)
    covariances = uncertainty.covariances(positions)
    for atoms, covariance in zip(parameters.atom_sets, covariances, strict=True):
        variances = torch.diagonal(covariance, dim1=1, dim2=2).reshape(3, -1, 3)
        torch.testing.assert_close(deviations.forces[:, atoms].square(), variances)
    query = uncertainty.evaluator.query(positions)
    conditional = uncertainty.evaluator.conditional_energies(query)
    total = conditional.variances.clone()
    for atoms, covariance in zip(parameters.atom_sets, covariances, strict=True):
        gains = conditional.gains.view(3, 3, 3)[:, atoms].flatten(1)
        total += torch.stack([g @ c @ g for g, c in zip(gains, covariance, strict=True)])
    torch.testing.assert_close(deviations.energies.square(), total)
    assert bool((deviations.energies.square() > conditional.variances).all())


def test_variances_are_positive_and_grow_away_from_the_data():
    data, parameters = trained(12, 1e-6)
    uncertainty = AtomizedUncertainty(parameters)
    near = uncertainty.deviations(tensor(data.positions + 1e-3))
    far = uncertainty.deviations(tensor(1.6 * data.positions))
    for deviations in (near, far):
        assert bool((deviations.forces >= 0.0).all() and (deviations.energies > 0.0).all())
    assert float(far.energies.mean()) > 2.0 * float(near.energies.mean())


def test_nothing_is_uncertain_at_training_points_without_nugget():
    data, parameters = trained(regularization=1e-10)
    uncertainty = AtomizedUncertainty(parameters)
    there = uncertainty.deviations(tensor(data.positions)).forces
    elsewhere = uncertainty.deviations(tensor(queries())).forces
    assert float(there.max()) < 1e-3 * float(elsewhere.mean())


def test_turned_and_permuted_molecule():
    _, parameters = trained()
    uncertainty = AtomizedUncertainty(parameters)
    positions, rotation = tensor(queries()), tensor(random_rotation())
    plain = uncertainty.covariances(positions)
    turned = uncertainty.covariances(positions @ rotation.T)
    for atoms, one, other in zip(parameters.atom_sets, plain, turned, strict=True):
        turn = torch.block_diag(*[rotation] * len(atoms))
        torch.testing.assert_close(other, turn @ one @ turn.T, rtol=0, atol=1e-9)
    before, after = (
        uncertainty.deviations(x) for x in (positions, positions[:, WATER.permutations[1]])
    )
    torch.testing.assert_close(after.forces, before.forces[:, WATER.permutations[1]])
    torch.testing.assert_close(after.energies, before.energies)
    torch.testing.assert_close(
        uncertainty.deviations(positions @ rotation.T).energies, before.energies
    )


def test_memory_and_chunks_do_not_show(monkeypatch):
    _, parameters = trained()
    positions = tensor(queries())
    plain = AtomizedUncertainty(parameters)
    frugal = AtomizedUncertainty(parameters, UncertaintyOptions(max_memory=40_000))
    assert plain.keeps_factors and not frugal.keeps_factors
    assert plain.description != frugal.description
    expected = plain.deviations(positions)
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", 1)
    found = frugal.deviations(positions)
    torch.testing.assert_close(found.forces, expected.forces)
    torch.testing.assert_close(found.energies, expected.energies)


def test_without_energies_their_deviation_is_infinite():
    _, parameters = trained(energies=False)
    found = AtomizedUncertainty(parameters).deviations(tensor(queries()))
    assert bool(found.energies.isinf().all() and found.forces.isfinite().all())


def test_options_that_do_not_fit_are_refused():
    _, parameters = trained()
    with pytest.raises(OptionError, match="exact"):
        AtomizedUncertainty(parameters, UncertaintyOptions(method="committee"))
    with pytest.raises(MemoryLimitError, match="largest atom set"):
        AtomizedUncertainty(parameters, UncertaintyOptions(max_memory=100))
