"""What every preconditioner must keep; subclass ``PreconditionerContract`` and give the name.

Matrices are small and stored; the reference is the dense definition ``P = L Lᵀ + D`` with ``L Lᵀ``
from the landmarks that the preconditioner reports.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kraft.core.errors import OptionError
from kraft.linalg import DenseOperator
from kraft.linalg.arrays import host, native, native_like
from kraft.solvers.preconditioners import Preconditioner, preconditioner_method
from kraft.solvers.preconditioners.low_rank import RESIDUAL_FLOOR

BLOCK = 6


def kernel_matrix(n: int = 132, *, width: float = 2.0, duplicates: int = 0, seed: int = 0):
    """Return a smooth kernel matrix, the last rows being copies of the first where asked for."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, 4))
    if duplicates:
        points[-duplicates:] = points[:duplicates]
    squared = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    return np.exp(-0.5 * squared / width**2)


def stored(matrix, *, block=BLOCK, dtype=torch.float64, device="cpu") -> DenseOperator:
    return DenseOperator(torch.tensor(matrix, dtype=dtype, device=device), block)


def nystrom(matrix, landmarks):
    """Return ``K_S K_SS⁺ K_Sᵀ``, stably."""
    if not len(landmarks):
        return np.zeros_like(matrix)
    values, vectors = np.linalg.eigh(matrix[np.ix_(landmarks, landmarks)])
    kept = values > 1e-14 * values[-1]
    root = matrix[:, landmarks] @ (vectors[:, kept] / np.sqrt(values[kept]))
    return root @ root.T


def block_part(matrix, size):
    kept = np.zeros_like(matrix)
    for start in range(0, len(matrix), size):
        part = slice(start, start + size)
        kept[part, part] = matrix[part, part]
    return kept


class PreconditionerContract:
    """Shared suite: set ``name``, and what is special about the method."""

    name: str
    remainders: tuple[str, ...] = ("shift", "blocks")
    has_landmarks = True
    rank_multiple = 1
    residual_floor = RESIDUAL_FLOOR

    def method(self, remainder="blocks", geometries=1):
        return preconditioner_method(self.name, remainder=remainder, block_geometries=geometries)

    def make(self, operator, regularization, rank=30, *, seed=1, previous=None, **options):
        rng = np.random.default_rng(seed)
        return self.method(**options).build(
            operator, regularization, rank, rng=rng, previous=previous
        )

    def operator(self, matrix, **options) -> DenseOperator:
        return stored(matrix, **options)

    def low_rank(self, matrix, preconditioner: Preconditioner):
        return nystrom(matrix, preconditioner.landmarks)

    def dense(self, matrix, preconditioner, weights, remainder, geometries):
        low = self.low_rank(matrix, preconditioner)
        rest = np.diag(np.broadcast_to(weights, len(matrix)).astype(float))
        if remainder == "blocks":
            rest += block_part(matrix - low, geometries * BLOCK)
            rest += self.residual_floor * np.trace(matrix - low) / len(matrix) * np.eye(len(matrix))
        return low + rest

    @pytest.fixture(params=["number", "one a row"])
    def weights(self, request):
        return 1e-4 if request.param == "number" else np.geomspace(1e-5, 1e-3, 132)

    @pytest.mark.parametrize("geometries", [1, 5, 100])
    def test_is_the_inverse_of_the_dense_definition(self, weights, geometries):
        matrix = kernel_matrix()
        for remainder in self.remainders:
            made = self.make(
                self.operator(matrix), weights, remainder=remainder, geometries=geometries
            )
            expected = self.dense(matrix, made, weights, remainder, geometries)
            product = made.solve(np.eye(len(matrix))) @ expected
            np.testing.assert_allclose(product, np.eye(len(matrix)), atol=1e-7)
            assert len(made.landmarks) == (made.rank if self.has_landmarks else 0)

    def test_is_symmetric_and_positive_definite_when_badly_conditioned(self):
        matrix = kernel_matrix(width=4.0)
        for remainder in self.remainders:
            made = self.make(self.operator(matrix), 1e-10, remainder=remainder)
            inverse = made.solve(np.eye(len(matrix)))
            scale = np.abs(inverse).max()
            assert np.abs(inverse - inverse.T).max() < 1e-8 * scale
            assert np.linalg.eigvalsh(0.5 * (inverse + inverse.T)).min() > 0.0

    def test_several_vectors_are_solved_as_one_by_one(self):
        matrix = kernel_matrix()
        vectors = np.random.default_rng(3).normal(size=(len(matrix), 4))
        for remainder in self.remainders:
            made = self.make(self.operator(matrix), 1e-3, remainder=remainder, geometries=5)
            before = vectors.copy()
            together = made.solve(vectors)
            single = np.stack([made.solve(column) for column in vectors.T.copy()], axis=1)
            np.testing.assert_allclose(together, single, rtol=1e-9, atol=1e-9)
            assert together.shape == vectors.shape and np.array_equal(vectors, before)
            assert not np.shares_memory(together, vectors)

    def test_the_same_seed_gives_the_same(self):
        operator = self.operator(kernel_matrix())
        vector = np.ones(operator.size)
        first, second = self.make(operator, 1e-4), self.make(operator, 1e-4)
        assert np.array_equal(first.landmarks, second.landmarks)
        assert np.array_equal(first.solve(vector), second.solve(vector))

    def test_a_stronger_one_keeps_the_columns(self):
        matrix = kernel_matrix()
        for remainder in self.remainders:
            operator = self.operator(matrix)
            weak = self.make(operator, 1e-3, 24, remainder=remainder)
            kept = weak.landmarks.copy()
            strong = self.make(operator, 1e-3, 48, remainder=remainder, seed=2, previous=weak)
            assert np.array_equal(strong.landmarks[: len(kept)], kept)
            if self.has_landmarks:
                assert len(np.unique(strong.landmarks)) == strong.rank > weak.rank
                with pytest.raises(RuntimeError, match="given its memory away"):
                    weak.solve(np.ones(len(matrix)))
            expected = self.dense(matrix, strong, 1e-3, remainder, 1)
            product = strong.solve(np.eye(len(matrix))) @ expected
            np.testing.assert_allclose(product, np.eye(len(matrix)), atol=1e-7)

    def test_is_rebuilt_from_its_landmarks(self):
        class Saved:
            """All that is left of a preconditioner after an interruption."""

            def __init__(self, landmarks):
                self.landmarks = landmarks

        operator = self.operator(kernel_matrix())
        made = self.make(operator, 1e-3)
        again = self.make(operator, 1e-3, made.rank, seed=9, previous=Saved(made.landmarks))
        assert set(again.landmarks) == set(made.landmarks)
        vector = np.random.default_rng(0).normal(size=operator.size)
        np.testing.assert_allclose(again.solve(vector), made.solve(vector), rtol=1e-8, atol=1e-8)

    def test_duplicates_and_a_rank_beyond_that_of_the_matrix_do_no_harm(self):
        matrix = kernel_matrix(width=8.0, duplicates=66)
        vector = np.random.default_rng(0).normal(size=len(matrix))
        for remainder in self.remainders:
            for rank in (60, len(matrix), 10 * len(matrix)):
                made = self.make(self.operator(matrix), 1e-10, rank, remainder=remainder)
                solution = made.solve(vector)
                assert np.isfinite(solution).all() and vector @ solution > 0.0
                if self.has_landmarks:
                    assert made.rank <= 66

    def test_a_matrix_of_zeros_leaves_the_regularization(self):
        operator = self.operator(np.zeros((12, 12)))
        for remainder in self.remainders:
            made = self.make(operator, 0.5, 6, remainder=remainder)
            np.testing.assert_allclose(made.solve(np.ones(12)), 2.0 * np.ones(12))

    def test_rank_zero_leaves_the_remainder(self):
        matrix = kernel_matrix()
        for remainder in self.remainders:
            made = self.make(self.operator(matrix), 1e-2, 0, remainder=remainder)
            assert made.rank == 0
            expected = self.dense(matrix, made, 1e-2, remainder, 1)
            np.testing.assert_allclose(
                made.solve(np.eye(len(matrix))) @ expected, np.eye(len(matrix)), atol=1e-9
            )

    def test_other_precisions_and_devices(self, dtype, device):
        matrix = kernel_matrix()
        operator = self.operator(matrix, dtype=dtype, device=device)
        for remainder in self.remainders:
            made = self.make(operator, 1e-2, remainder=remainder, geometries=5)
            vector = native(torch.ones(operator.size, dtype=dtype, device=device))
            solution = made.solve(vector)
            assert solution.dtype == vector.dtype and type(solution) is type(vector)
            expected = self.dense(matrix, made, 1e-2, remainder, 5)
            residual = expected @ host(solution).astype(float) - 1.0
            assert np.abs(residual).max() < 2e5 * torch.finfo(dtype).eps
            weights = native_like(np.full(operator.size, 1e-2), vector)
            again = self.make(operator, weights, remainder=remainder, geometries=5)
            np.testing.assert_allclose(
                host(again.solve(vector)), host(solution), rtol=2e5 * torch.finfo(dtype).eps
            )

    def test_progress_is_told_and_can_interrupt(self):
        calls = []
        operator = self.operator(kernel_matrix())
        build = self.method().build
        build(operator, 1e-3, 30, rng=np.random.default_rng(0), progress=lambda *c: calls.append(c))
        assert calls and all(done <= total for _, done, total in calls)

        def interrupt(*call):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            build(operator, 1e-3, 30, rng=np.random.default_rng(0), progress=interrupt)

    def test_says_what_it_is(self):
        made = self.make(self.operator(kernel_matrix()), 1e-3)
        assert made.name == self.name and made.description
        assert made.memory >= 8 * made.rank * 132

    def test_unknown_options_are_errors_that_name_the_choices(self):
        if "shift" not in self.remainders:
            return
        with pytest.raises(OptionError, match="shift, blocks"):
            self.method(remainder="rest")
        with pytest.raises(OptionError, match="at least 1 geometry"):
            self.method(geometries=0)
