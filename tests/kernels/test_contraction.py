"""The tiled contraction against a double loop with automatic differentiation."""

import numpy as np
import pytest
import torch
from molecules import BENZENE, MOLECULES, TWO_ROTORS
from threadpoolctl import threadpool_limits

import kraft.kernels.contraction as module
import kraft.kernels.feature_classes as classes_module
from kraft.kernels import KERNELS, SymmetricContraction
from kraft.symmetry.orbits import feature_permutations


class Problem:
    """Random features and coefficients, and the expansion evaluated the slow way."""

    def __init__(self, kernel, molecule, n_train, n_queries, *, energies, seed=0):
        rng = np.random.default_rng(seed)
        self.kernel, self.table = kernel, feature_permutations(molecule.permutations)
        d = self.table.shape[1]
        scale = 1.0 / np.sqrt(d)
        self.features = torch.tensor(rng.normal(size=(n_train, d)) * scale)
        self.coefficients = torch.tensor(rng.normal(size=(n_train, d)))
        self.energy_coefficients = torch.tensor(rng.normal(size=n_train)) if energies else None
        self.queries = torch.tensor(rng.normal(size=(n_queries, d)) * scale)

    def fast(self, dtype=torch.float64, device="cpu", queries=None):
        options = {"dtype": dtype, "device": device}
        epsilon = self.energy_coefficients
        contraction = SymmetricContraction(
            self.kernel,
            self.features.to(**options),
            self.coefficients.to(**options),
            self.table,
            None if epsilon is None else epsilon.to(**options),
        )
        return contraction((self.queries if queries is None else queries).to(**options))

    def energy(self, query):
        """``Σ_{j,q} first(u) δᵀv_j + k(u) ε_j`` with the derivative of ``k`` by autograd."""
        total = query.new_zeros(())
        for row in self.table:
            for j in range(len(self.features)):
                # covariance of E(z) with the force label F_j = -dE/dx_j, at the permuted query
                moved = query[torch.as_tensor(row)]

                def covariance(x, moved=moved):
                    return self.kernel.derivative(0, (moved - x).square().sum())

                slope = torch.func.grad(covariance)(self.features[j])
                total = total - slope @ self.coefficients[j]
                if self.energy_coefficients is not None:
                    total = total + covariance(self.features[j]) * self.energy_coefficients[j]
        return total

    def slow(self):
        energies, gradients = [], []
        for query in self.queries:
            gradient, energy = torch.func.grad_and_value(self.energy)(query)
            energies.append(energy)
            gradients.append(-gradient)
        return torch.stack(energies), torch.stack(gradients)


@pytest.fixture(params=sorted(KERNELS))
def kernel(request):
    return KERNELS[request.param]


@pytest.mark.parametrize("energies", [False, True], ids=["forces", "energies"])
@pytest.mark.parametrize("molecule", MOLECULES, ids=str)
def test_against_a_double_loop(kernel, molecule, energies):
    problem = Problem(kernel, molecule, 3, 2, energies=energies)
    got = problem.fast()
    expected = problem.slow()
    torch.testing.assert_close(got.energies, expected[0], rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(got.gradients, expected[1], rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("energies", [False, True], ids=["forces", "energies"])
@pytest.mark.parametrize("pass_cost", [-1.0, 1.0, 1e9], ids=["all classes", "some", "one"])
@pytest.mark.parametrize("molecule", [BENZENE, TWO_ROTORS], ids=str)
def test_any_split_into_classes(molecule, pass_cost, energies, monkeypatch):
    monkeypatch.setattr(classes_module, "PASS_COST", pass_cost)
    problem = Problem(KERNELS["matern52"], molecule, 3, 2, energies=energies, seed=1)
    expected = problem.slow()
    got = problem.fast()
    torch.testing.assert_close(got.energies, expected[0], rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(got.gradients, expected[1], rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("energies", [False, True], ids=["forces", "energies"])
@pytest.mark.parametrize("n_train", [1, 63, 64, 65, 200])
@pytest.mark.parametrize("n_queries", [1, 2, 7, 19])
def test_tiles_do_not_show(n_train, n_queries, energies, monkeypatch):
    problem = Problem(KERNELS["matern72"], TWO_ROTORS, n_train, n_queries, energies=energies)
    whole = problem.fast()
    monkeypatch.setattr(module, "TILE_ELEMENTS", 18 * 64 * 3)
    monkeypatch.setattr(module, "OPERAND_ELEMENTS", 64 * 55)
    tiled = problem.fast()
    torch.testing.assert_close(tiled.energies, whole.energies, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(tiled.gradients, whole.gradients, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("pass_cost", [-1.0, 1e9], ids=["all classes", "one"])
def test_tiles_in_threads(pass_cost, monkeypatch):
    monkeypatch.setattr(classes_module, "PASS_COST", pass_cost)
    monkeypatch.setattr(module, "THREAD_ELEMENTS", 50)
    problem = Problem(KERNELS["matern52"], TWO_ROTORS, 30, 9, energies=False)
    whole = problem.fast()
    contraction = SymmetricContraction(
        problem.kernel, problem.features, problem.coefficients, problem.table
    )
    with threadpool_limits(2, user_api="blas"):
        energies, gradients = contraction(problem.queries.numpy())
    np.testing.assert_allclose(energies, whole.energies, rtol=1e-12)
    np.testing.assert_allclose(gradients, whole.gradients, rtol=0, atol=1e-11)


def test_narrow_tiles_against_the_double_loop(kernel, monkeypatch):
    monkeypatch.setattr(module, "TILE_ELEMENTS", 9)  # two training geometries, one query
    problem = Problem(kernel, TWO_ROTORS, 5, 2, energies=True)
    got, expected = problem.fast(), problem.slow()
    torch.testing.assert_close(got.energies, expected[0], rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(got.gradients, expected[1], rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("molecule", MOLECULES, ids=str)
def test_batch_equals_single(molecule):
    problem = Problem(KERNELS["matern52"], molecule, 20, 40, energies=True)
    batch = problem.fast()
    for index in (0, 13, 39):
        single = problem.fast(queries=problem.queries[index : index + 1])
        torch.testing.assert_close(single.energies[0], batch.energies[index])
        torch.testing.assert_close(single.gradients[0], batch.gradients[index])


@pytest.mark.parametrize("molecule", MOLECULES, ids=str)
def test_permuted_queries(molecule):
    problem = Problem(KERNELS["gaussian"], molecule, 10, 1, energies=True)
    reference = problem.fast()
    for row in problem.table:
        moved = problem.fast(queries=problem.queries[:, torch.as_tensor(row)])
        torch.testing.assert_close(moved.energies, reference.energies)
        torch.testing.assert_close(moved.gradients, reference.gradients[:, torch.as_tensor(row)])


def test_precision_and_device(kernel, dtype, device):
    problem = Problem(kernel, TWO_ROTORS, 50, 11, energies=True)
    exact = problem.fast()
    got = problem.fast(dtype, device)
    assert got.energies.dtype == got.gradients.dtype == dtype
    assert got.energies.device.type == device
    tolerance = 1000 * torch.finfo(dtype).eps
    for ours, expected in zip(got, exact, strict=True):
        error = (ours.cpu().double() - expected).abs().max() / expected.abs().max()
        assert float(error) < tolerance


def test_queries_at_training_points(kernel, dtype):
    """Squared distances come out slightly negative; nothing may turn into NaN."""
    problem = Problem(kernel, TWO_ROTORS, 5, 5, energies=True)
    problem.queries = problem.features.clone()
    got = problem.fast(dtype)
    assert torch.isfinite(got.energies).all() and torch.isfinite(got.gradients).all()
    nearby = problem.fast(queries=problem.features + 1e-7)
    scale = float(nearby.gradients.abs().max())
    tolerance = 1e-5 if dtype == torch.float64 else 1e-2
    error = (got.gradients.double() - nearby.gradients).abs().max()
    assert float(error) < tolerance * scale


def test_queries_are_not_changed(kernel):
    problem = Problem(kernel, TWO_ROTORS, 5, 5, energies=True)
    before = problem.queries.clone()
    problem.fast()
    assert torch.equal(problem.queries, before)
