"""The kernel matrix against automatic differentiation of the kernel of positions."""

import numpy as np
import pytest
import torch
from contracts.operator_contract import OperatorContract, assembled
from kernel_cases import Case
from molecules import (
    BENZENE,
    CHIRAL,
    SMALL_MOLECULES,
    TWO_ROTORS,
    WATER,
    every_other_orbit,
    pair_potential,
    tensor,
)

import kraft.kernels.atom_pairs as pairs_module
import kraft.kernels.feature_classes as classes_module
import kraft.kernels.operator as module
from kraft.descriptors import FEATURE_FUNCTIONS
from kraft.kernels import KERNELS

LOOSE_PAIRS = np.array([5, 16, 26, 35, 43, 50])
"""The bonds of benzene between carbon and hydrogen, by their numbers."""

CASES = {
    "water": (WATER, WATER.frames(3)),
    "one geometry": (WATER, WATER.frames(1)),
    "duplicates": (WATER, WATER.frames(3)[[0, 1, 0]]),
    "permuted copy": (WATER, np.stack([WATER.frames(1)[0], WATER.frames(1)[0][[0, 2, 1]]])),
    **{f"small {molecule}": (molecule, molecule.frames(2)) for molecule in SMALL_MOLECULES},
}


@pytest.fixture(params=sorted(KERNELS))
def kernel(request):
    return KERNELS[request.param]


@pytest.mark.parametrize("energies", [False, True], ids=["forces", "energies"])
@pytest.mark.parametrize("case", CASES)
def test_matrix_against_automatic_differentiation(kernel, case, energies):
    case = Case(kernel, *CASES[case], energies=energies)
    torch.testing.assert_close(assembled(case.operator), case.expected(), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    "pass_cost, mixes", [(-1.0, False), (15.0, False), (1e9, False), (15.0, True)]
)
@pytest.mark.parametrize("molecule", [BENZENE, TWO_ROTORS], ids=str)
def test_many_permutations_against_automatic_differentiation(
    molecule, pass_cost, mixes, monkeypatch
):
    monkeypatch.setattr(classes_module, "PASS_COST", pass_cost)
    case = Case(KERNELS["matern52"], molecule, molecule.frames(2), energies=True, mixes=mixes)
    n = case.basis.shape[3] + 1
    matrix = assembled(case.operator).reshape(2, n, 2, n)
    left, right = case._labels(case.basis[1]), case._labels(case.basis[0])
    expected = left.T @ case.covariance(1, 0) @ right
    torch.testing.assert_close(matrix[1, :, 0, :], expected, rtol=1e-8, atol=1e-10)


def test_periodic_cell_against_automatic_differentiation(kernel):
    cell = np.array([[4.0, 0.2, 0.0], [0.0, 4.5, 0.1], [0.0, 0.0, 5.0]])
    positions = WATER.frames(2) + np.array([0.0, 1.9, 0.0])
    case = Case(kernel, WATER, positions, energies=True, cell=cell)
    assert case.operator.block_size == 9 - 3 + 1
    torch.testing.assert_close(assembled(case.operator), case.expected(), rtol=1e-8, atol=1e-10)


REDUCED = {
    "both bonds of water": (WATER, [0, 1]),
    "the far pair of water": (WATER, [2]),
    "a flexible molecule": (SMALL_MOLECULES[3], [0, 1, 2, 3]),
    "a rigid molecule": (SMALL_MOLECULES[3], [0, 1, 2, 3, 4, 5, 6, 7, 8]),
    "a linear molecule": (SMALL_MOLECULES[1], [0, 2]),
}


@pytest.mark.parametrize("energies", [False, True], ids=["forces", "energies"])
@pytest.mark.parametrize("case", REDUCED)
def test_reduced_matrix_against_automatic_differentiation(kernel, case, energies):
    molecule, features = REDUCED[case]
    case = Case(kernel, molecule, molecule.frames(3), energies=energies, features=features)
    torch.testing.assert_close(assembled(case.operator), case.expected(), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("function", sorted(FEATURE_FUNCTIONS))
def test_feature_functions_against_automatic_differentiation(function):
    case = Case(
        KERNELS["matern72"], WATER, WATER.frames(2), energies=True, feature_function=function
    )
    torch.testing.assert_close(assembled(case.operator), case.expected(), rtol=1e-8, atol=1e-10)


MIXED = {
    "water": (WATER, {}),
    "a periodic cell": (WATER, {"cell": np.diag([4.0, 4.5, 5.0])}),
    "a reduced descriptor": (SMALL_MOLECULES[3], {"features": [0, 1, 2, 3]}),
    "another function": (CHIRAL, {"feature_function": "log", "weights": (1.0, 0.0)}),
}


@pytest.mark.parametrize("energies", [False, True], ids=["forces", "energies"])
@pytest.mark.parametrize("case", MIXED)
def test_mixed_matrix_against_automatic_differentiation(kernel, case, energies):
    molecule, options = MIXED[case]
    case = Case(kernel, molecule, molecule.frames(3), energies=energies, mixes=True, **options)
    torch.testing.assert_close(assembled(case.operator), case.expected(), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("mixes", [False, True], ids=["plain", "mixed"])
def test_what_moves_features_against_automatic_differentiation(mixes):
    case = Case(KERNELS["matern52"], CHIRAL, CHIRAL.frames(2), mixes=mixes)
    geometries, rng = case.operator.geometries, torch.Generator().manual_seed(3)
    displacements = torch.randn(2, 5, 3, dtype=torch.float64, generator=rng)
    gradients = torch.randn(2, 10, dtype=torch.float64, generator=rng)
    for index, at in enumerate(case.positions):

        def features(x):
            scaled = case.scale * case.descriptor.values(x[None])[0]
            return case.mixing @ scaled if mixes else scaled

        _, moved = torch.func.jvp(features, (at,), (displacements[index],))
        (pulled,) = torch.func.vjp(features, at)[1](gradients[index])
        torch.testing.assert_close(geometries.moved(displacements)[index], moved)
        torch.testing.assert_close(geometries.pulled(gradients)[index], pulled)


@pytest.mark.parametrize("tile", [1, 100, 1000])
def test_tiles_of_the_assembly_do_not_show(tile, monkeypatch):
    case = Case(KERNELS["matern52"], WATER, WATER.frames(9), energies=True)
    whole = assembled(case.operator)
    monkeypatch.setattr(module, "TILE_ELEMENTS", tile)
    torch.testing.assert_close(assembled(case.operator), whole, rtol=1e-12, atol=1e-14)


def test_split_undoes_join():
    case = Case(KERNELS["matern52"], WATER, WATER.frames(4), energies=True)
    vector = torch.randn(
        case.operator.size, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    forces, energies = case.operator.split(vector)
    assert forces.shape == (4, 3, 3) and energies is not None and energies.shape == (4,)
    torch.testing.assert_close(case.operator.join(forces, energies), vector)


def test_join_undoes_split_for_forces_without_net_force_and_torque():
    positions = WATER.frames(4)
    case = Case(KERNELS["matern52"], WATER, positions)
    _, forces = pair_potential(WATER.atomic_numbers, positions)
    vector = case.operator.join(tensor(forces), None)
    back, energies = case.operator.split(vector)
    assert energies is None
    torch.testing.assert_close(back, tensor(forces), rtol=0, atol=1e-12)


def test_energy_labels_need_energies():
    case = Case(KERNELS["matern52"], WATER, WATER.frames(2), energies=True)
    with pytest.raises(ValueError, match="energies"):
        case.operator.join(torch.zeros(2, 3, 3, dtype=torch.float64), None)


def test_permuting_a_training_geometry_only_permutes_its_forces():
    positions = TWO_ROTORS.frames(3)
    kernel = KERNELS["gaussian"]
    operator = Case(kernel, TWO_ROTORS, positions).operator
    forces = torch.randn(3, 11, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    weights, _ = operator.split(operator.join(forces, None))
    reference, _ = operator.split(operator.matmul(operator.join(weights, None)))
    for row in TWO_ROTORS.permutations[[1, 7, 17]]:
        moved_positions, moved_weights = positions.copy(), weights.clone()
        moved_positions[1] = positions[1][row]
        moved_weights[1] = weights[1][torch.as_tensor(row)]
        moved = Case(kernel, TWO_ROTORS, moved_positions).operator
        got, _ = moved.split(moved.matmul(moved.join(moved_weights, None)))
        expected = reference.clone()
        expected[1] = reference[1][torch.as_tensor(row)]
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-10)


class TestKernelOperator(OperatorContract):
    @pytest.fixture(
        params=[
            (name, molecule, count, energies)
            for name, molecule, count, energies in (
                ("matern52", WATER, 5, False),
                ("matern52", WATER, 5, True),
                ("matern72", TWO_ROTORS, 2, True),
                ("gaussian", BENZENE, 2, False),
                ("gaussian", SMALL_MOLECULES[0], 4, True),
                ("matern52", SMALL_MOLECULES[1], 3, False),
                ("gaussian", SMALL_MOLECULES[0], 3, False),
                ("matern72", SMALL_MOLECULES[3], 1, False),
                ("matern52", SMALL_MOLECULES[3], 3, True),
            )
        ],
        ids=lambda value: (
            f"{value[0]}-{value[1]}-{value[2]}-{'energies' if value[3] else 'forces'}"
        ),
    )
    def operator(self, request, dtype, device):
        name, molecule, count, energies = request.param
        return Case(
            KERNELS[name],
            molecule,
            molecule.frames(count),
            energies=energies,
            dtype=dtype,
            device=device,
        ).operator


class TestReducedKernelOperator(OperatorContract):
    """With flexible molecules, atoms without features and a loose pair among them."""

    @pytest.fixture(
        params=[
            ("matern52", WATER, 4, [0, 1], False, "inverse"),
            ("matern52", TWO_ROTORS, 2, every_other_orbit(TWO_ROTORS), True, "inverse-sqrt"),
            ("gaussian", BENZENE, 2, every_other_orbit(BENZENE), False, "log"),
            ("matern72", BENZENE, 2, LOOSE_PAIRS, True, "inverse"),
            ("matern72", SMALL_MOLECULES[3], 3, [0, 9], True, "exponential"),
        ],
        ids=lambda value: f"{value[1]}-{len(value[3])}",
    )
    def operator(self, request, dtype, device):
        name, molecule, count, features, energies, function = request.param
        return Case(
            KERNELS[name],
            molecule,
            molecule.frames(count),
            energies=energies,
            features=features,
            feature_function=function,
            dtype=dtype,
            device=device,
        ).operator


class TestMixedKernelOperator(OperatorContract):
    """With features that mix, which no molecule is too large for."""

    @pytest.fixture(
        params=[
            ("matern52", WATER, 4, None, True),
            ("gaussian", TWO_ROTORS, 2, every_other_orbit(TWO_ROTORS), False),
            ("matern72", CHIRAL, 3, [0, 1, 2, 3], True),
        ],
        ids=lambda value: f"{value[1]}",
    )
    def operator(self, request, dtype, device, monkeypatch):
        monkeypatch.setattr(pairs_module, "LARGE_MOLECULE", 0)
        name, molecule, count, features, energies = request.param
        return Case(
            KERNELS[name],
            molecule,
            molecule.frames(count),
            energies=energies,
            features=features,
            mixes=True,
            dtype=dtype,
            device=device,
        ).operator


class TestReducedKernelOperatorOfALargeMolecule(TestReducedKernelOperator):
    """The same with the Jacobians that large molecules have."""

    @pytest.fixture(autouse=True)
    def large(self, monkeypatch):
        monkeypatch.setattr(pairs_module, "LARGE_MOLECULE", 0)


class TestKernelOperatorOfALargeMolecule(TestKernelOperator):
    """The same with the Jacobians that large molecules have."""

    @pytest.fixture(autouse=True)
    def large(self, monkeypatch):
        monkeypatch.setattr(pairs_module, "LARGE_MOLECULE", 0)
