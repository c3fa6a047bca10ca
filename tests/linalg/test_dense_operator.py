"""A stored matrix as an operator."""

import pytest
import torch
from contracts.operator_contract import OperatorContract
from contracts.solver_contract import positive_matrix

from kraft.linalg import DenseOperator


class TestDenseOperator(OperatorContract):
    @pytest.fixture(params=[(1, 1), (12, 3), (40, 1), (3, 3)], ids=str)
    def operator(self, request, dtype, device):
        size, block = request.param
        matrix = positive_matrix(size, condition=1e3, dtype=dtype, device=device)
        return DenseOperator(matrix, block)


def test_what_is_no_block_matrix_is_refused():
    with pytest.raises(ValueError, match="square"):
        DenseOperator(torch.zeros(3, 4))
    with pytest.raises(ValueError, match="divide"):
        DenseOperator(torch.zeros(4, 4), 3)


def test_results_do_not_share_memory_with_the_matrix():
    operator = DenseOperator(positive_matrix(6))
    before = operator.matrix.clone()
    operator.diagonal()[:] = 7.0
    operator.columns([0, 1])[:] = 7.0
    operator.principal([2])[:] = 7.0
    operator.to_dense()[:] = 7.0
    assert torch.equal(operator.matrix, before)
