"""The shared suite for every method."""

import numpy as np
import pytest
import torch
from contracts.preconditioner_contract import (
    BLOCK,
    PreconditionerContract,
    block_part,
    kernel_matrix,
    stored,
)

from kraft.core.errors import OptionError
from kraft.solvers.preconditioners import METHODS


class TestUniform(PreconditionerContract):
    name = "uniform"


class TestLeverage(PreconditionerContract):
    name = "leverage"


class TestRankLeverage(PreconditionerContract):
    name = "rank-leverage"


class TestIncompleteCholesky(PreconditionerContract):
    name = "incomplete-cholesky"


class TestRandomPivoting(PreconditionerContract):
    name = "random-pivoting"


class TestPlainRandomPivoting(PreconditionerContract):
    name = "random-pivoting-plain"


class TestGeometries(PreconditionerContract):
    name = "geometries"

    def test_takes_whole_geometries(self):
        made = self.make(self.operator(kernel_matrix()), 1e-3, 32)
        counts = np.bincount(made.landmarks // BLOCK)
        assert made.rank == 30 and set(counts) == {0, BLOCK}


class TestSvd(PreconditionerContract):
    name = "svd"
    has_landmarks = False
    test_is_rebuilt_from_its_landmarks = None
    test_progress_is_told_and_can_interrupt = None

    def low_rank(self, matrix, preconditioner):
        values, vectors = np.linalg.eigh(matrix)
        top = vectors[:, len(values) - preconditioner.rank :]
        return (top * values[len(values) - preconditioner.rank :]) @ top.T


class TestJacobi(PreconditionerContract):
    residual_floor = 0.0
    name = "jacobi"
    remainders = ("blocks",)
    has_landmarks = False


class TestNone(PreconditionerContract):
    name = "none"
    remainders = ("identity",)
    has_landmarks = False
    test_progress_is_told_and_can_interrupt = None
    test_a_matrix_of_zeros_leaves_the_regularization = None

    def dense(self, matrix, *_):
        return np.eye(len(matrix))


class CartesianOperator(type(stored(np.eye(BLOCK)))):
    """A stored matrix whose labels are motions of two atoms."""

    def __init__(self, matrix, block_size=1):
        super().__init__(matrix, block_size)
        rng = np.random.default_rng(5)
        basis = [
            np.linalg.qr(rng.normal(size=(3 * N_ATOMS, block_size)))[0]
            for _ in range(len(matrix) // block_size)
        ]
        self.cartesian_basis = np.array(basis).reshape(-1, N_ATOMS, 3, block_size)


N_ATOMS = 3


class TestAtomicBlocks(PreconditionerContract):
    name = "atomic-blocks"
    remainders = ("atoms",)
    has_landmarks = False

    def operator(self, matrix, dtype=torch.float64, device="cpu"):
        return CartesianOperator(torch.tensor(matrix, dtype=dtype, device=device), BLOCK)

    def dense(self, matrix, _made, weights, *_):
        """The definition: the Cartesian matrix, all but equal atoms put to zero."""
        basis = self.operator(matrix).cartesian_basis
        n_geometries = len(basis)
        u = np.zeros((n_geometries, 3 * N_ATOMS, n_geometries, BLOCK))
        for index, own in enumerate(basis):
            u[index, :, index] = own.reshape(3 * N_ATOMS, BLOCK)
        u = u.reshape(n_geometries * 3 * N_ATOMS, -1)
        atom = np.arange(len(u)) // 3 % N_ATOMS
        cartesian = np.where(atom[:, None] == atom[None], u @ matrix @ u.T, 0.0)
        return u.T @ cartesian @ u + np.diag(np.broadcast_to(weights, len(matrix)))

    def test_needs_atoms(self):
        with pytest.raises(OptionError, match="does not have"):
            self.make(stored(kernel_matrix()), 1e-3)

    def test_energies_keep_their_own_correlations(self):
        matrix = kernel_matrix(4 * (BLOCK + 1))
        whole = CartesianOperator(torch.tensor(matrix[: 4 * BLOCK, : 4 * BLOCK]), BLOCK)
        operator = stored(matrix, block=BLOCK + 1)
        operator.cartesian_basis = whole.cartesian_basis
        inverse = self.make(operator, 1e-3).solve(np.eye(len(matrix)))
        energies = np.arange(BLOCK, len(matrix), BLOCK + 1)
        forces = np.setdiff1d(np.arange(len(matrix)), energies)
        expected = matrix[np.ix_(energies, energies)] + 1e-3 * np.eye(4)
        np.testing.assert_allclose(
            inverse[np.ix_(energies, energies)] @ expected, np.eye(4), atol=1e-9
        )
        assert np.abs(inverse[np.ix_(energies, forces)]).max() == 0.0


def test_every_method_is_in_the_suite():
    tested = {c.name for c in PreconditionerContract.__subclasses__()}
    assert tested == set(METHODS)


def test_jacobi_is_the_block_remainder_alone():
    matrix = kernel_matrix()
    made = TestJacobi().make(stored(matrix), 1e-3, geometries=2)
    expected = np.linalg.inv(block_part(matrix, 2 * BLOCK) + 1e-3 * np.eye(len(matrix)))
    np.testing.assert_allclose(made.solve(np.eye(len(matrix))), expected, rtol=1e-6, atol=1e-6)
