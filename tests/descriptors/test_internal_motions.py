import sys

import numpy as np
import pytest
import torch
from molecules import CARBON_DIOXIDE, CHIRAL, HYDROGEN, MOLECULES, WATER, random_rotation, tensor

from kraft.descriptors import InverseDistances, PairFeatures, internal_motions, visible_motions


def _matrix(basis):
    return basis.reshape(basis.shape[0], -1, basis.shape[3])


@pytest.mark.parametrize("molecule", MOLECULES, ids=str)
def test_basis_is_orthonormal_and_of_the_right_size(molecule, dtype, device):
    basis = internal_motions(tensor(molecule.frames(4), dtype, device))
    rigid = 5 if molecule.linear else 6
    assert basis.shape == (4, molecule.n_atoms, 3, 3 * molecule.n_atoms - rigid)
    matrix = _matrix(basis)
    gram = matrix.transpose(1, 2) @ matrix
    expected = torch.eye(gram.shape[1], dtype=dtype, device=device).expand_as(gram)
    torch.testing.assert_close(gram, expected, rtol=0, atol=100 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("molecule", MOLECULES, ids=str)
@pytest.mark.parametrize("periodic", [False, True])
def test_basis_spans_what_the_descriptor_sees(molecule, periodic):
    positions = tensor(molecule.frames(3))
    cell = tensor(np.eye(3) * 40.0) if periodic else None
    descriptor = InverseDistances(molecule.n_atoms, cell=cell)
    basis = internal_motions(positions, turns_freely=descriptor.turns_freely)
    n = 3 * molecule.n_atoms
    if periodic:
        assert basis.shape[3] == n - 3
    every = torch.eye(n, dtype=torch.float64).reshape(1, -1, 3, n).expand(3, -1, -1, -1)
    features = descriptor.evaluate(positions)
    jacobian = descriptor.jacobian_product(features, every)
    matrix = _matrix(basis)
    projected = jacobian @ matrix @ matrix.transpose(1, 2)
    torch.testing.assert_close(projected, jacobian, rtol=0, atol=1e-10)


CELL = tensor(np.array([[7.0, 0.3, 0.0], [0.0, 6.5, 0.2], [0.1, 0.0, 8.0]]))
REDUCED = {
    "one bond of water": (WATER, [0], 1),
    "both bonds of water": (WATER, [0, 1], 2),
    "a star of five": (CHIRAL, [0, 1, 2, 3], 4),
    "an atom left out": (CHIRAL, [4, 5, 7], 3),
    "rigid with one pair less": (CHIRAL, [0, 1, 2, 3, 4, 5, 6, 7, 8], 9),
    "a body and a loose atom": (CHIRAL, [0, 1, 2, 3, 4, 5, 7], 7),
    "linear": (CARBON_DIOXIDE, [0, 2], 2),
}


@pytest.mark.parametrize("cell", [None, CELL], ids=["free", "periodic"])
@pytest.mark.parametrize("case", REDUCED)
def test_basis_spans_what_a_reduced_descriptor_sees(case, cell, monkeypatch):
    molecule, features, rank = REDUCED[case]
    module = sys.modules["kraft.descriptors.internal_motions"]  # the function has its name
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", 1)
    descriptor = PairFeatures(molecule.n_atoms, features=features, cell=cell)
    positions = tensor(molecule.frames(3))
    evaluated = descriptor.evaluate(positions)
    basis = _matrix(visible_motions(descriptor, positions, evaluated))
    assert descriptor.jacobian_rank == rank
    assert basis.shape[2] == rank
    gram = basis.transpose(1, 2) @ basis
    torch.testing.assert_close(gram, torch.eye(gram.shape[1]).double().expand_as(gram))
    n = 3 * molecule.n_atoms
    every = torch.eye(n, dtype=torch.float64).reshape(1, -1, 3, n).expand(3, -1, -1, -1)
    jacobian = descriptor.jacobian_product(evaluated, every)
    seen = jacobian @ basis
    torch.testing.assert_close(seen @ basis.transpose(1, 2), jacobian, rtol=0, atol=1e-12)
    if not molecule.linear:  # and nothing else
        assert float(torch.linalg.svdvals(seen).min()) > 1e-4


def test_a_bent_molecule_loses_no_internal_motion():
    """J U has full column rank, so nothing rigid is left in the basis either."""
    positions = tensor(WATER.frames(5))
    features = InverseDistances(3).evaluate(positions)
    reduced = InverseDistances(3).jacobian_product(features, internal_motions(positions))
    assert float(torch.linalg.svdvals(reduced).min()) > 1e-3


def test_one_linear_geometry_among_bent_ones_keeps_everything():
    bent = WATER.frames(2)
    linear = CARBON_DIOXIDE.frames(1)
    positions = tensor(np.concatenate([bent, linear]))
    basis = internal_motions(positions)
    assert basis.shape[3] == 9 - 5
    matrix = _matrix(basis)
    every = torch.eye(9, dtype=torch.float64).reshape(1, 3, 3, 9).expand(3, -1, -1, -1)
    jacobian = InverseDistances(3).jacobian_product(InverseDistances(3).evaluate(positions), every)
    torch.testing.assert_close(
        jacobian @ matrix @ matrix.transpose(1, 2), jacobian, rtol=0, atol=1e-10
    )


def test_linear_in_any_direction():
    for seed in range(5):
        positions = CARBON_DIOXIDE.positions @ random_rotation(seed).T + seed
        assert internal_motions(tensor(positions[None])).shape[3] == 4


def test_two_atoms_stretch():
    basis = internal_motions(tensor(HYDROGEN.positions[None]))[0, :, :, 0]
    assert basis.abs()[:, 2].tolist() == pytest.approx([0.5**0.5] * 2)
    assert float(basis.sum()) == pytest.approx(0.0, abs=1e-12)
