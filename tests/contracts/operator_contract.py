"""What every symmetric operator must keep; subclass ``OperatorContract`` and make operators."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from contracts.solver_contract import narrow_panels

from kraft.core.progress import silent
from kraft.linalg import LowerPanels, SymmetricOperator
from kraft.linalg.arrays import native


def assembled(operator: SymmetricOperator) -> torch.Tensor:
    """Return the whole matrix from the operator's lower panels."""
    panels = LowerPanels(
        operator.size,
        block_size=operator.block_size,
        dtype=operator.dtype,
        device=operator.device,
    )
    operator.assemble(panels, silent)
    return panels.to_dense()


def assert_native(array, expected: torch.Tensor) -> None:
    """Check a native array against a tensor, to the precision of both."""
    assert isinstance(array, np.ndarray if expected.device.type == "cpu" else torch.Tensor)
    tolerance = 1e3 * torch.finfo(expected.dtype).eps * float(expected.abs().max())
    torch.testing.assert_close(torch.as_tensor(array), expected, rtol=0, atol=tolerance)


class OperatorContract:
    """Shared suite: override the fixture ``operator`` to yield every case."""

    @pytest.fixture
    def operator(self) -> SymmetricOperator:
        raise NotImplementedError

    def test_sizes(self, operator):
        assert operator.size > 0
        assert operator.size % operator.block_size == 0
        assert assembled(operator).shape == (operator.size, operator.size)
        assert assembled(operator).dtype == operator.dtype

    def test_product_is_that_of_the_matrix(self, operator):
        matrix = assembled(operator)
        generator = torch.Generator().manual_seed(1)
        vectors = torch.randn(3, operator.size, generator=generator, dtype=torch.float64)
        for vector in vectors.to(operator.device, operator.dtype):
            expected = matrix @ vector
            tolerance = 1e3 * torch.finfo(operator.dtype).eps * float(expected.abs().max())
            torch.testing.assert_close(operator.matmul(vector), expected, rtol=0, atol=tolerance)

    def test_product_is_symmetric(self, operator):
        """Of the matrix-free product, since the assembled one is symmetric by its storage."""
        generator = torch.Generator().manual_seed(0)
        left, right = torch.randn(2, operator.size, generator=generator, dtype=torch.float64).to(
            operator.device, operator.dtype
        )
        forth, back = float(left @ operator.matmul(right)), float(right @ operator.matmul(left))
        size = float(operator.matmul(right).norm() * left.norm())
        assert abs(forth - back) < 1e3 * torch.finfo(operator.dtype).eps * size

    def test_diagonal_is_that_of_the_matrix(self, operator):
        assert_native(operator.diagonal(), assembled(operator).diagonal())

    def test_columns_are_those_of_the_matrix(self, operator):
        """In any order, also repeatedly; all of them; none."""
        matrix = assembled(operator)
        generator = np.random.default_rng(0)
        some = generator.integers(operator.size, size=min(operator.size, 7))
        for indices in (some, np.arange(operator.size), np.array([operator.size - 1])):
            columns = operator.columns(indices)
            assert_native(columns, matrix[torch.as_tensor(indices)])
            assert torch.as_tensor(columns).is_contiguous()
        assert operator.columns(np.array([], dtype=np.int64)).shape == (0, operator.size)

    def test_principal_submatrix_is_that_of_the_matrix(self, operator):
        block = operator.block_size
        n_blocks = operator.size // block
        matrix = operator.to_dense().reshape(n_blocks, block, n_blocks, block)
        order = np.random.default_rng(1).permutation(n_blocks)
        for blocks in (order, order[:1], order[: (n_blocks + 1) // 2]):
            size = len(blocks) * block
            expected = matrix[torch.as_tensor(blocks)][:, :, torch.as_tensor(blocks)]
            assert_native(operator.principal(blocks), expected.reshape(size, size))

    @pytest.mark.parametrize("max_memory", [None, 0], ids=["cached", "uncached"])
    def test_prepared_product_is_that_of_the_matrix(self, operator, max_memory):
        product = operator.product(max_memory=max_memory)
        matrix = assembled(operator)
        generator = torch.Generator().manual_seed(2)
        for shape in ((operator.size,), (operator.size, 1), (operator.size, 3)):
            vectors = torch.randn(shape, generator=generator, dtype=torch.float64).to(matrix)
            before = vectors.clone()
            expected = matrix @ vectors
            first, again = product(native(vectors)), product(native(vectors))
            assert_native(first, expected)
            assert (
                torch.equal(torch.as_tensor(first), torch.as_tensor(again)) and first is not again
            )
            assert torch.equal(vectors, before)

    def test_prepared_product_tells_its_memory(self, operator):
        memory = operator.product().memory
        assert isinstance(memory, int) and memory >= operator.product(max_memory=0).memory >= 0

    def test_positive_semidefinite(self, operator):
        eigenvalues = torch.linalg.eigvalsh(assembled(operator))
        tolerance = 1e3 * torch.finfo(operator.dtype).eps * float(eigenvalues[-1])
        assert float(eigenvalues[-1]) > 0.0
        assert float(eigenvalues[0]) > -tolerance

    def test_panels_do_not_show(self, operator, monkeypatch):
        whole = assembled(operator)
        narrow_panels(monkeypatch, operator.block_size)
        assert torch.equal(assembled(operator), whole)

    def test_product_leaves_the_vector_alone(self, operator):
        vector = torch.ones(operator.size, dtype=operator.dtype, device=operator.device)
        operator.matmul(vector)
        assert torch.equal(vector, torch.ones_like(vector))

    def test_progress_reaches_the_end(self, operator):
        calls = []
        panels = LowerPanels(
            operator.size,
            block_size=operator.block_size,
            dtype=operator.dtype,
            device=operator.device,
        )
        operator.assemble(panels, lambda *call: calls.append(call))
        stages = {stage for stage, _, _ in calls}
        assert len(stages) == 1 and calls[-1][1] == calls[-1][2] > 0
        assert [done for _, done, _ in calls] == sorted(done for _, done, _ in calls)
