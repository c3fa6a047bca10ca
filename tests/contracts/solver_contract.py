"""What every solver must keep; subclass ``SolverContract`` and say how to make one.

Systems are small matrices given to the solver through the operator protocol, so a solver that
assembles and one that only multiplies run the same suite.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

import kraft.linalg.panels as panels_module
from kraft.core.errors import MemoryLimitError, SolverError
from kraft.linalg import LowerPanels


@dataclass
class MatrixOperator:
    """A stored symmetric matrix as an operator; counts how often it was assembled."""

    matrix: Tensor
    block_size: int = 1
    assemblies: int = 0
    products: int = 0

    @property
    def size(self) -> int:
        return len(self.matrix)

    @property
    def dtype(self) -> torch.dtype:
        return self.matrix.dtype

    @property
    def device(self) -> torch.device:
        return self.matrix.device

    def matmul(self, vectors: Tensor) -> Tensor:
        self.products += 1
        return self.matrix @ vectors

    def assemble(self, panels: LowerPanels, progress) -> None:
        self.assemblies += 1
        block = self.block_size
        for row in range(0, self.size, block):
            for column in range(0, row + block, block):
                panels.set_block(
                    row, column, self.matrix[row : row + block, column : column + block]
                )
        progress("assembling", self.size, self.size)


def positive_matrix(
    size: int, *, condition: float = 1e6, dtype: torch.dtype = torch.float64, device: str = "cpu"
) -> Tensor:
    """Return a positive definite matrix whose eigenvalues fall from 1 to ``1 / condition``."""
    rng = np.random.default_rng(size)
    vectors = np.linalg.qr(rng.normal(size=(size, size)))[0]
    values = np.geomspace(1.0, 1.0 / condition, size)
    matrix = (vectors * values) @ vectors.T
    return torch.tensor(0.5 * (matrix + matrix.T), dtype=dtype, device=device)


def narrow_panels(patch: pytest.MonkeyPatch, width: int) -> None:
    """Make panels of about this width, also of small matrices."""
    patch.setattr(panels_module, "PANEL_WIDTH", width)
    patch.setattr(panels_module, "SINGLE_PANEL", 0)


class SolverContract:
    """Shared suite: set ``make`` to a callable ``(max_memory)`` that returns a solver."""

    make: type

    def right_hand_side(self, operator: MatrixOperator) -> Tensor:
        generator = torch.Generator().manual_seed(3)
        vector = torch.randn(operator.size, generator=generator, dtype=torch.float64)
        return vector.to(operator.device, operator.dtype)

    @pytest.mark.parametrize("size, block", [(1, 1), (2, 2), (60, 5), (200, 4)])
    @pytest.mark.parametrize("kind", ["number", "one a row"])
    def test_solves(self, size, block, kind, dtype, device):
        condition = 1e6 if dtype == torch.float64 else 1e2
        matrix = positive_matrix(size, condition=condition, dtype=dtype, device=device)
        operator = MatrixOperator(matrix, block)
        weights = torch.linspace(1e-6, 1e-3, size, dtype=dtype, device=device)
        regularization = weights if kind == "one a row" else 1e-4
        added = weights if kind == "one a row" else torch.full_like(weights, 1e-4)
        y = self.right_hand_side(operator)
        outcome = self.make().prepare(operator, regularization).solve(y)
        expected = torch.linalg.solve((matrix + torch.diag(added)).double(), y.double())
        tolerance = 1e-8 if dtype == torch.float64 else 1e-3
        error = (outcome.coefficients.double() - expected).norm() / expected.norm()
        assert float(error) < tolerance
        assert outcome.jitter == 0.0
        assert outcome.coefficients.dtype == dtype

    @pytest.mark.parametrize("width", [1, 7, 20, 64])
    def test_panels_do_not_show(self, width, monkeypatch):
        narrow_panels(monkeypatch, width)
        operator = MatrixOperator(positive_matrix(63), 3)
        y = self.right_hand_side(operator)
        outcome = self.make().prepare(operator, 1e-6).solve(y)
        expected = torch.linalg.solve(
            operator.matrix + 1e-6 * torch.eye(63, dtype=torch.float64), y
        )
        torch.testing.assert_close(outcome.coefficients, expected, rtol=1e-8, atol=1e-8)

    def test_residual_is_the_true_one(self):
        operator = MatrixOperator(positive_matrix(80, condition=1e12), 2)
        y = self.right_hand_side(operator)
        outcome = self.make().prepare(operator, 1e-12).solve(y)
        applied = operator.matrix @ outcome.coefficients + 1e-12 * outcome.coefficients
        true = float((y - applied).norm() / y.norm())
        assert outcome.relative_residual == pytest.approx(true, rel=1e-6, abs=1e-18)

    def test_residual_is_checked_with_the_operator_not_the_factor(self):
        """A product that contradicts the assembled matrix must not pass as a solution."""

        class Contradictory(MatrixOperator):
            def matmul(self, vectors: Tensor) -> Tensor:
                return 2.0 * super().matmul(vectors)

        operator = Contradictory(positive_matrix(20))
        prepared = self.make().prepare(operator, 1e-6)
        with pytest.raises(SolverError, match="residual"):
            prepared.solve(self.right_hand_side(operator))

    def test_prepared_once_solves_often(self):
        operator = MatrixOperator(positive_matrix(30))
        prepared = self.make().prepare(operator, 1e-6)
        assemblies = operator.assemblies
        y = self.right_hand_side(operator)
        first, second = prepared.solve(y), prepared.solve(2.0 * y)
        torch.testing.assert_close(second.coefficients, 2.0 * first.coefficients)
        assert operator.assemblies == assemblies

    def test_zero_has_the_solution_zero(self):
        operator = MatrixOperator(positive_matrix(10))
        outcome = self.make().prepare(operator, 1e-6).solve(torch.zeros(10, dtype=torch.float64))
        assert float(outcome.coefficients.abs().max()) == 0.0
        assert outcome.relative_residual == 0.0

    def test_arguments_are_not_changed(self):
        matrix = positive_matrix(10)
        operator, weights = MatrixOperator(matrix.clone()), torch.full((10,), 1e-6).double()
        y = self.right_hand_side(operator)
        before = y.clone()
        self.make().prepare(operator, weights).solve(y)
        assert torch.equal(y, before) and torch.equal(operator.matrix, matrix)
        assert torch.equal(weights, torch.full((10,), 1e-6).double())

    def test_jitter_is_reported(self):
        """Rounding made the matrix slightly indefinite."""
        matrix = positive_matrix(40, condition=1e3)
        values, vectors = torch.linalg.eigh(matrix)
        values[0] = -1e-14
        operator = MatrixOperator((vectors * values) @ vectors.T)
        y = vectors[:, -1] + vectors[:, -2]
        outcome = self.make().prepare(operator, 0.0).solve(y)
        largest = float(operator.matrix.diagonal().max())
        assert 1e-14 < outcome.jitter <= 1e-10 * largest
        assert outcome.relative_residual < 1e-4

    def test_an_indefinite_matrix_is_an_error_with_advice(self):
        matrix = positive_matrix(20)
        matrix[7, 7] = -1.0
        with pytest.raises(SolverError, match="larger regularization"):
            self.make().prepare(MatrixOperator(matrix), 1e-10)

    def test_not_a_number_is_an_error(self):
        matrix = positive_matrix(20)
        matrix[5, 5] = float("nan")
        operator = MatrixOperator(matrix)
        with pytest.raises(SolverError):
            self.make().prepare(operator, 1e-10).solve(self.right_hand_side(operator))

    def test_too_little_memory_is_refused_before_anything_is_allocated(self, monkeypatch):
        operator = MatrixOperator(positive_matrix(50))
        started = []
        monkeypatch.setattr(
            panels_module.LowerPanels, "__init__", lambda *_, **__: started.append(1)
        )
        with pytest.raises(MemoryLimitError, match=r"KiB.*50 labels.*--max-memory"):
            self.make(1000).prepare(operator, 1e-6)
        assert not started and operator.assemblies == operator.products == 0

    def test_enough_memory_is_accepted(self):
        operator = MatrixOperator(positive_matrix(50))
        needed = self.make.required_memory(operator.size, operator.block_size)
        self.make(needed).prepare(operator, 1e-6)
        with pytest.raises(MemoryLimitError):
            self.make(needed - 1).prepare(operator, 1e-6)

    def test_interruption_stops_the_work(self):
        def interrupt(stage: str, done: int, total: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            self.make().prepare(MatrixOperator(positive_matrix(10)), 1e-6, interrupt)
