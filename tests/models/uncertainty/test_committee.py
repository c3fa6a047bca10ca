"""The committee: its members against dense solutions, its estimate against the exact deviations."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from molecules import CHIRAL, WATER, random_rotation, tensor
from scipy.stats import spearmanr
from toy_models import toy_parameters

import kraft.models.uncertainty.committee as module
from kraft.core.errors import OptionError
from kraft.kernels.cross_covariance import CrossCovariance
from kraft.models.uncertainty.base import UncertaintyOptions
from kraft.models.uncertainty.committee import CommitteeUncertainty, deal, n_parts
from kraft.models.uncertainty.exact import ExactUncertainty
from kraft.models.uncertainty.system import TrainedSystem


def learned(molecule, *, n_train=8, energies=False, mixes=False):
    parameters = toy_parameters(molecule, n_train=n_train, energies=energies, mixes=mixes)
    return replace(parameters, regularization=1e-3, energy_weight=0.5 if energies else None)


def committee(parameters, **options):
    return CommitteeUncertainty(parameters, UncertaintyOptions(**options), "cpu")


def dense_mean(system, queries):
    """Return the posterior mean of forces ``(B, N, 3)`` and energies from the full matrix."""
    matrix = system.operator.to_dense() + torch.diag(system.regularization)
    solution = torch.linalg.solve(matrix, system.labels)
    columns, _ = CrossCovariance(system.operator).forces_and_energies(queries)
    mean = columns @ solution
    return queries.expand(mean[:, :-1]), mean[:, -1]


@pytest.mark.parametrize(
    "energies, mixes",
    [(False, False), (True, False), (True, True)],
    ids=["forces", "energies", "mixed"],
)
@pytest.mark.parametrize("molecule", [WATER, CHIRAL], ids=str)
def test_deviations_from_dense_solutions_of_the_parts(molecule, energies, mixes):
    parameters = learned(molecule, energies=energies, mixes=mixes)
    system = TrainedSystem.from_parameters(parameters, "cpu")
    positions = tensor(molecule.frames(3, seed=9))
    queries, train = system.queries(positions), system.operator.geometries

    def centered(some):
        forces, values = dense_mean(some, queries)
        return forces, values - dense_mean(some, train)[1].mean()

    forces, values = centered(system)
    squared, energy = torch.zeros_like(forces), torch.zeros_like(values)
    subsets = deal(8, 2, 6, seed=3)
    for chosen in subsets:
        of_part, energies_of_part = centered(system.subset(chosen))
        squared += (of_part - forces).square() / 6
        energy += (energies_of_part - values).square() / 6
    expected = (0.5 * (squared + squared.mean(dim=2, keepdim=True))).sqrt() * 2**-0.75
    got = committee(parameters, n_members=6, seed=3).deviations(positions)
    torch.testing.assert_close(got.forces, expected, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(got.energies, energy.sqrt() * 2**-0.75, rtol=1e-6, atol=1e-9)


def test_parts_cover_the_training_set_and_follow_the_seed():
    first = deal(10, 3, 6, seed=0)
    for members in (first[:3], first[3:]):
        assert sorted(np.concatenate(members)) == list(range(10))
    assert all(np.array_equal(a, b) for a, b in zip(first, deal(10, 3, 6, seed=0), strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(first, deal(10, 3, 6, 1), strict=True))


def test_number_of_parts():
    assert n_parts(4, 21) == 2
    assert n_parts(1000, 21) == 3
    assert n_parts(100_000, 100) == module.MOST_PARTS
    assert n_parts(5, 10_000) == 2  # members of one geometry learn nothing


def test_iterative_members_agree_with_factorized_ones(monkeypatch):
    parameters = learned(WATER, n_train=20)
    positions = tensor(WATER.frames(3, seed=9))
    factorized = committee(parameters, n_members=2).deviations(positions)
    monkeypatch.setattr(module, "LARGEST_FACTOR", 0)
    iterated = committee(parameters, n_members=2).deviations(positions)
    largest = float(factorized.forces.max())
    torch.testing.assert_close(iterated.forces, factorized.forces, rtol=0.0, atol=0.02 * largest)
    assert not torch.equal(iterated.forces, factorized.forces)


def test_deviations_turn_and_permute_with_the_molecule():
    uncertainty = committee(learned(WATER), n_members=3)
    positions = tensor(WATER.frames(4, seed=9))
    here = uncertainty.deviations(positions)
    turned = uncertainty.deviations(positions @ tensor(random_rotation(1)).T + 1.0)
    permuted = uncertainty.deviations(positions[:, [0, 2, 1]])
    tolerance = {"rtol": 1e-6, "atol": 1e-12}
    torch.testing.assert_close(turned.energies, here.energies, **tolerance)
    torch.testing.assert_close(permuted.energies, here.energies, **tolerance)
    torch.testing.assert_close(permuted.forces[:, [0, 2, 1]], here.forces, **tolerance)
    torch.testing.assert_close(  # what an atom has in all directions
        turned.forces.square().sum(dim=2), here.forces.square().sum(dim=2), **tolerance
    )


def test_estimate_follows_the_exact_deviations_and_the_errors(ethanol_force_field, ethanol_parts):
    parameters = ethanol_force_field.parameters
    test = ethanol_parts.test
    positions = tensor(test.positions)
    errors = ethanol_force_field.predict(test.positions).forces - test.forces
    estimate = committee(parameters)
    exact = ExactUncertainty(TrainedSystem.from_parameters(parameters, "cpu"))
    size = {}
    for name, model in (("estimate", estimate), ("exact", exact)):
        deviations = model.deviations(positions)
        size[name] = deviations.forces.square().mean(dim=(1, 2)).sqrt().numpy()
    assert spearmanr(*size.values())[0] > 0.7
    size["error"] = np.sqrt((errors**2).mean(axis=(1, 2)))
    assert spearmanr(size["estimate"], size["error"])[0] > 0.5
    assert 0.5 < np.sqrt((size["estimate"] ** 2).mean() / (size["error"] ** 2).mean()) < 2.0
    assert estimate.relative_cost == pytest.approx(5.0)


def test_a_committee_needs_some_geometries():
    with pytest.raises(OptionError, match="at least 4"):
        committee(learned(WATER, n_train=3))
