"""Covariances of queries with labels against automatic differentiation of the kernel."""

import numpy as np
import pytest
import torch
from kernel_cases import Case
from molecules import CARBON_DIOXIDE, CHIRAL, TWO_ROTORS, WATER

import kraft.kernels.cross_covariance as module
from kraft.kernels import KERNELS, KernelOperator
from kraft.kernels.cross_covariance import CrossCovariance

TOLERANCE = {"rtol": 1e-8, "atol": 1e-10}


def blocks(case, left, right):
    """Return the covariances of forces, in the bases, and energies of geometries."""
    rows = []
    for i in left:
        row = []
        for j in right:
            bases = [torch.block_diag(_flat(case.basis[k]), torch.ones(1, 1)) for k in (i, j)]
            row.append(bases[0].double().T @ case.covariance(i, j) @ bases[1].double())
        rows.append(torch.stack(row))
    return torch.stack(rows)  # (L, R, b, b)


def _flat(basis):
    return basis.flatten(0, 1)


@pytest.fixture(params=[False, True], ids=["forces", "energies"])
def energies(request):
    return request.param


@pytest.mark.parametrize("kernel", sorted(KERNELS))
@pytest.mark.parametrize("molecule", [WATER, CHIRAL, CARBON_DIOXIDE], ids=str)
def test_against_automatic_differentiation(molecule, kernel, energies, monkeypatch):
    monkeypatch.setattr(module, "TILE_COLUMNS", 1)  # every geometry by itself
    check(Case(KERNELS[kernel], molecule, molecule.frames(5), energies=energies), energies)


def test_many_permutations_against_automatic_differentiation(energies):
    check(Case(KERNELS["matern52"], TWO_ROTORS, TWO_ROTORS.frames(3), energies=energies), energies)


@pytest.mark.parametrize("kernel", sorted(KERNELS))
def test_features_that_mix_against_automatic_differentiation(kernel, energies):
    for molecule in (WATER, CHIRAL):
        case = Case(KERNELS[kernel], molecule, molecule.frames(4), energies=energies, mixes=True)
        check(case, energies)


def check(case, energies):
    count = len(case.positions)
    train, new = list(range(count - 2)), [count - 2, count - 1]
    geometries = case.operator.geometries
    operator = KernelOperator(
        case.kernel, geometries.subset(np.array(train)), case.table, energy_labels=energies
    )
    queries = geometries.subset(np.array(new))
    cross = CrossCovariance(operator)
    with_labels, own = cross.forces_and_energies(queries)

    mixed, among = blocks(case, new, train), blocks(case, new, new)
    of_train = blocks(case, train, train)
    keep = mixed.shape[3] - (not energies)
    expected = mixed.permute(0, 2, 1, 3).clone()  # (Q, b, M, b)
    expected[:, -1] -= of_train[:, :, -1].mean(dim=0)
    expected = expected[..., :keep].flatten(2)
    torch.testing.assert_close(with_labels, expected, **TOLERANCE)
    torch.testing.assert_close(cross.forces(queries), expected[:, :-1], **TOLERANCE)

    for index in range(2):
        block = among[index, index].clone()
        with_mean = mixed[index, :, :, -1].mean(dim=0)
        block[:, -1] -= with_mean
        block[-1, :] -= with_mean
        block[-1, -1] += of_train[:, :, -1, -1].mean()
        torch.testing.assert_close(own[index], block, **TOLERANCE)

    forces = among[:, :, :-1, :-1].permute(0, 2, 1, 3)
    size = forces.shape[0] * forces.shape[1]
    torch.testing.assert_close(cross.among(queries), forces.reshape(size, size), **TOLERANCE)


def test_energies_relative_to_other_geometries():
    case = Case(KERNELS["matern72"], WATER, WATER.frames(5), energies=True)
    geometries = case.operator.geometries
    some = geometries.subset(np.arange(2))
    operator = KernelOperator(case.kernel, some, case.table)
    queries = geometries.subset(np.array([4]))
    cross = CrossCovariance(operator, geometries.subset(np.arange(4)))
    _, own = cross.forces_and_energies(queries)
    energy = blocks(case, [4, 0, 1, 2, 3], [4, 0, 1, 2, 3])[:, :, -1, -1]
    weights = torch.tensor([1.0, -0.25, -0.25, -0.25, -0.25], dtype=torch.float64)
    torch.testing.assert_close(own[0, -1, -1], weights @ energy @ weights, **TOLERANCE)
