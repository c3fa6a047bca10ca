"""The kernel matrix against automatic differentiation of the kernel of positions."""

import numpy as np
import pytest
import torch
from contracts.operator_contract import OperatorContract, assembled
from molecules import BENZENE, SMALL_MOLECULES, TWO_ROTORS, WATER, pair_potential, tensor

import kraft.kernels.feature_classes as classes_module
import kraft.kernels.operator as module
from kraft.descriptors import InverseDistances
from kraft.kernels import KERNELS, KernelOperator
from kraft.kernels.geometries import ReducedGeometries
from kraft.symmetry.orbits import feature_orbits, feature_permutations

LENGTH_SCALE = 1.5


class Case:
    """An operator, and its covariances the slow way, in the full space of ``3N + 1`` labels."""

    def __init__(
        self,
        kernel,
        molecule,
        positions,
        *,
        energies=False,
        cell=None,
        dtype=torch.float64,
        device="cpu",
        weighted=True,
    ):
        self.kernel, self.positions = kernel, tensor(positions)
        self.table = feature_permutations(molecule.permutations)
        cell = None if cell is None else tensor(cell)
        self.descriptor = InverseDistances(molecule.n_atoms, cell=cell)
        self.scale = torch.full((self.descriptor.n_features,), kernel.scale(LENGTH_SCALE))
        if weighted:  # unequal weights, equal on orbits
            for index, orbit in enumerate(feature_orbits(molecule.permutations)):
                self.scale[orbit] *= 1.0 + 0.5 * (index % 3)
        self.scale = self.scale.double()
        center = self.descriptor.values(self.positions).mean(dim=0)
        center = center[torch.as_tensor(self.table)].mean(dim=0)
        geometries = ReducedGeometries.from_positions(
            self.descriptor, self.positions, self.scale, center
        )
        self.basis = geometries.basis
        self.energies = energies
        if dtype != torch.float64 or device != "cpu":
            options = {"dtype": dtype, "device": device}
            geometries = ReducedGeometries(
                InverseDistances(molecule.n_atoms, cell=cell, **options),
                type(geometries.features)(*(part.to(**options) for part in geometries.features)),
                self.basis.to(**options),
            )
        self.operator = KernelOperator(kernel, geometries, self.table, energy_labels=energies)

    def covariance(self, i, j):
        """Return the block ``(3N + 1, 3N + 1)`` of forces and energy of geometries i and j."""
        n = self.positions[0].numel()
        total = torch.zeros(n + 1, n + 1, dtype=torch.float64)

        def scaled(geometry):
            return self.scale * self.descriptor.values(geometry.view(1, -1, 3))[0]

        left, right = self.positions[i].reshape(-1), self.positions[j].reshape(-1)
        for row in torch.as_tensor(self.table):

            def k(r, other, row=row):
                squared = (scaled(r) - scaled(other)[row]).square().sum()
                return self.kernel.derivative(0, squared)

            if float((scaled(left) - scaled(right)[row]).norm()) < 1e-9:
                total += self._coincident(scaled, left, right, row)
                continue
            total[:n, :n] += torch.func.jacrev(torch.func.jacrev(k, 0), 1)(left, right)
            total[:n, n] -= torch.func.grad(k, 0)(left, right)
            total[n, :n] -= torch.func.grad(k, 1)(left, right)
            total[n, n] += k(left, right)
        return total

    def _coincident(self, scaled, left, right, row):
        """Return the limit at equal features, where ``√u²`` cannot be differentiated."""
        n = len(left)
        block = torch.zeros(n + 1, n + 1, dtype=torch.float64)
        first = self.kernel.derivative(1, torch.zeros((), dtype=torch.float64))
        jacobians = [torch.func.jacrev(scaled)(geometry) for geometry in (left, right)]
        block[:n, :n] = -first * jacobians[0].T @ jacobians[1][row]
        block[n, n] = 1.0
        return block

    def expected(self):
        """Return the matrix in the operator's labels: forces in the reduced basis, energies."""
        count, n_motions = len(self.positions), self.basis.shape[3]
        rows = n_motions + int(self.energies)
        matrix = torch.zeros(count, rows, count, rows, dtype=torch.float64)
        for i in range(count):
            for j in range(count):
                block = self.covariance(i, j)
                left, right = (self._labels(self.basis[index]) for index in (i, j))
                matrix[i, :, j, :] = left.T @ block @ right
        return matrix.reshape(count * rows, count * rows)

    def _labels(self, basis):
        n = basis.shape[0] * 3
        labels = torch.zeros(n + 1, basis.shape[2] + int(self.energies), dtype=torch.float64)
        labels[:n, : basis.shape[2]] = basis.reshape(n, -1)
        if self.energies:
            labels[n, -1] = 1.0
        return labels


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


@pytest.mark.parametrize("pass_cost", [-1.0, 15.0, 1e9])
@pytest.mark.parametrize("molecule", [BENZENE, TWO_ROTORS], ids=str)
def test_many_permutations_against_automatic_differentiation(molecule, pass_cost, monkeypatch):
    monkeypatch.setattr(classes_module, "PASS_COST", pass_cost)
    case = Case(KERNELS["matern52"], molecule, molecule.frames(2), energies=True)
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
                ("matern72", SMALL_MOLECULES[3], 1, False),
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
