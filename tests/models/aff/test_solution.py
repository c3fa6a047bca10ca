"""The systems of the sets: against the full Gaussian process, dense against iterative."""

import numpy as np
import pytest
import torch
from atomized_cases import LENGTH_SCALE, atomized_arrays
from molecules import BENZENE, CHIRAL, TWO_ROTORS, WATER

import kraft.models.aff.solution as module
import kraft.models.aff.systems as systems
from kraft.core.errors import SolverError
from kraft.descriptors import FeatureMap, Features
from kraft.kernels import KERNELS, KernelOperator
from kraft.kernels.geometries import ReducedGeometries
from kraft.models.aff.solution import expansion_forces, solve_sets, training_forces
from kraft.models.aff.systems import side_by_side
from kraft.symmetry.orbits import feature_permutations

KERNEL, NUGGET = KERNELS["matern52"], 1e-4


@pytest.mark.parametrize("molecule", [WATER, CHIRAL], ids=str)
def test_one_set_of_all_atoms_is_the_full_process(molecule):
    """The same forces at new geometries as from the kernel operator of sGDML."""
    positions = molecule.frames(9)
    whole = atomized_arrays(molecule, positions, sets=[np.arange(molecule.n_atoms)])
    arrays, queries = whole.subset(np.arange(6)), whole.geometries.part(slice(6, 9))
    solution = solve_sets(arrays, KERNEL, LENGTH_SCALE, NUGGET)
    found = expansion_forces(arrays, queries, KERNEL, LENGTH_SCALE, solution.coefficients)

    descriptor, table = whole.descriptor, feature_permutations(molecule.permutations)
    scale = whole.weights * KERNEL.scale(LENGTH_SCALE)
    tensors = torch.as_tensor(positions)
    feature_map = FeatureMap(scale, whole.center)
    training = ReducedGeometries.from_positions(descriptor, tensors[:6], feature_map)
    operator = KernelOperator(KERNEL, training, table)
    matrix = operator.to_dense() + NUGGET * torch.eye(operator.size, dtype=torch.float64)
    labels = operator.join(whole.forces[:6], None)
    expansion = operator.expansion(torch.linalg.solve(matrix, labels))
    raw = descriptor.evaluate(tensors[6:])
    features = Features((raw.values - whole.center) * scale, raw.gradients * scale[:, None])
    expected = descriptor.jacobian_transpose_product(features, expansion(features.values).gradients)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-8)


def test_coefficients_solve_the_dense_systems():
    arrays = atomized_arrays(BENZENE, BENZENE.frames(4))
    solution = solve_sets(arrays, KERNEL, LENGTH_SCALE, NUGGET)
    for atom_set, outcome in zip(arrays.sets, solution.outcomes, strict=True):
        labels = arrays.labels(atom_set)
        own = solution.coefficients[:, atom_set.atoms].reshape(-1)
        assert outcome.solver == "dense" and outcome.relative_residual < 1e-9
        assert outcome.variance == pytest.approx(float(labels @ own) / len(labels), rel=1e-12)
        assert outcome.n_labels == 4 * 18
    assert solution.variances == [outcome.variance for outcome in solution.outcomes]


def test_iterative_sets_agree_with_dense_ones(monkeypatch):
    arrays = atomized_arrays(WATER, WATER.frames(40))
    dense = solve_sets(arrays, KERNEL, LENGTH_SCALE, 1e-2)
    monkeypatch.setattr(module.DenseCholesky, "required_memory", staticmethod(lambda *_: 10**18))
    iterative = solve_sets(arrays, KERNEL, LENGTH_SCALE, 1e-2)
    assert {outcome.solver for outcome in iterative.outcomes} == {"iterative"}
    assert all(outcome.relative_residual < 2e-4 for outcome in iterative.outcomes)
    forces = [
        training_forces(arrays, KERNEL, LENGTH_SCALE, solution.coefficients)
        for solution in (dense, iterative)
    ]
    size = float(forces[0].norm())
    assert float((forces[1] - forces[0]).norm()) < 1e-3 * size
    for one, other in zip(dense.variances, iterative.variances, strict=True):
        assert other == pytest.approx(one, rel=1e-2)


@pytest.mark.parametrize("limit", [0, 10**6], ids=["one by one", "side by side"])
def test_threads_do_not_show(limit, monkeypatch):
    """Sets solved in threads, and large ones after them, give what one thread gives."""
    arrays = atomized_arrays(TWO_ROTORS, TWO_ROTORS.frames(5))
    expected = solve_sets(arrays, KERNEL, LENGTH_SCALE, NUGGET).coefficients
    monkeypatch.setattr(systems, "SIDE_BY_SIDE_LABELS", limit)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = solve_sets(arrays, KERNEL, LENGTH_SCALE, NUGGET).coefficients
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max()))


def test_side_by_side_keeps_the_order():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        found = side_by_side(lambda x, side: (x, side), [1, 2, 3, 4], [10, 10**9, 30, 20], 3)
    finally:
        torch.set_num_threads(before)
    assert found == [(1, True), (2, False), (3, True), (4, True)]


def test_a_worthless_solution_is_refused(monkeypatch):
    monkeypatch.setattr(module, "TOLERATED_RESIDUAL", 1e-30)
    arrays = atomized_arrays(WATER, WATER.frames(4))
    with pytest.raises(SolverError, match="larger nugget"):
        solve_sets(arrays, KERNEL, LENGTH_SCALE, NUGGET)
