"""The direct solver: assemble the lower triangle, factorize it in place, solve."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from kraft.core.errors import IllConditionedError, MemoryLimitError
from kraft.core.memory import available_memory, format_bytes
from kraft.core.progress import Progress, silent
from kraft.linalg.operators import SymmetricOperator, assembled_panels
from kraft.linalg.panels import (
    NotPositiveDefiniteError,
    PanelCholesky,
    panel_entries,
)
from kraft.solvers.outcome import SolveOutcome

JITTER_STEPS = (0.0, 1e-15, 1e-13, 1e-11)
"""Tried in turn, relative to the largest diagonal entry, when rounding breaks a factorisation."""

TOLERATED_RESIDUAL = 1e-4
"""A relative residual above this means that the factorisation was no solution."""


@dataclass(frozen=True)
class DenseCholesky:
    """Cholesky factorisation of the assembled matrix.

    Parameters
    ----------
    max_memory
        Bytes it may allocate; what the machine has available when not given.
    concurrent
        Whether other threads are to run meanwhile, for systems that are solved side by side.
    jitter
        Whether a little may be added to the diagonal when rounding breaks the factorisation.
    """

    max_memory: int | None = None
    concurrent: bool = False
    jitter: bool = True

    @staticmethod
    def required_memory(size: int, block_size: int, itemsize: int = 8) -> int:
        """Return the bytes that a system of this size takes at its peak."""
        working = 2 * size * min(size, 1024) + 8 * size
        return itemsize * (panel_entries(size, block_size) + working)

    @staticmethod
    def required_flops(size: int) -> float:
        """Return the floating-point operations of the factorisation."""
        return size**3 / 3.0

    def prepare(
        self,
        operator: SymmetricOperator,
        regularization: Tensor | float,
        progress: Progress = silent,
    ) -> PreparedCholesky:
        """Assemble and factorize ``A + Λ``, ``Λ`` a number or one number a row.

        Raises
        ------
        MemoryLimitError
            Before anything is allocated, when the matrix does not fit.
        IllConditionedError
            When the matrix is indefinite, with the largest jitter if there may be any.
        """
        self._check_memory(operator)
        jitter = 0.0
        for relative in JITTER_STEPS if self.jitter else JITTER_STEPS[:1]:
            started = time.perf_counter()
            panels = assembled_panels(operator, progress)
            jitter = relative * float(panels.diagonal().max())
            panels.add_to_diagonal(regularization)
            panels.add_to_diagonal(jitter)
            assembled = time.perf_counter()
            try:
                factor = panels.factorize_(progress, concurrent=self.concurrent)
            except NotPositiveDefiniteError:
                del panels
                continue
            return PreparedCholesky(
                operator=operator,
                regularization=regularization,
                factor=factor,
                jitter=jitter,
                seconds_assembly=assembled - started,
                seconds_factorization=time.perf_counter() - assembled,
            )
        even = f", even with {jitter:.1e} added to its diagonal" if self.jitter else ""
        raise IllConditionedError(
            f"The kernel matrix of {operator.size} labels is not positive definite{even}. "
            "Expected distinct geometries: look for duplicate frames (`kraft info`), choose a "
            "shorter length scale or a larger regularization."
        )

    def _check_memory(self, operator: SymmetricOperator) -> None:
        itemsize = torch.finfo(operator.dtype).bits // 8
        needed = self.required_memory(operator.size, operator.block_size, itemsize)
        allowed = self.max_memory
        if allowed is None:
            allowed = available_memory(operator.device)
        if needed > allowed:
            fraction = (allowed / needed) ** 0.5
            raise MemoryLimitError(
                f"The dense solver needs {format_bytes(needed)} for {operator.size} labels, but "
                f"may use {format_bytes(allowed)}. Train on at most about {fraction:.0%} as many "
                "geometries, or allow more memory (--max-memory)."
            )


@dataclass(frozen=True)
class PreparedCholesky:
    """A factorized system, ready for any number of right-hand sides."""

    operator: SymmetricOperator
    regularization: Tensor | float
    factor: PanelCholesky
    jitter: float
    seconds_assembly: float
    seconds_factorization: float

    def solve(self, right_hand_side: Tensor) -> SolveOutcome:
        """Solve for ``(n,)`` labels and check the solution with the operator itself.

        Raises
        ------
        IllConditionedError
            When the residual shows that the solution is worthless.
        """
        started = time.perf_counter()
        coefficients = self.factor.solve(right_hand_side)
        applied = self.operator.matmul(coefficients) + self.regularization * coefficients
        size = float(torch.linalg.vector_norm(right_hand_side))
        residual = float(torch.linalg.vector_norm(right_hand_side - applied)) / (size or 1.0)
        if not residual < TOLERATED_RESIDUAL:
            raise IllConditionedError(
                f"The solution leaves a relative residual of {residual:.1e}; expected less than "
                f"{TOLERATED_RESIDUAL:.0e}. The system is too ill-conditioned: choose a shorter "
                "length scale or a larger regularization.",
                shortfall=min(residual, 1.0) / TOLERATED_RESIDUAL,
            )
        return SolveOutcome(
            coefficients=coefficients,
            solver="dense",
            relative_residual=residual,
            jitter=self.jitter,
            seconds_assembly=self.seconds_assembly,
            seconds_factorization=self.seconds_factorization,
            seconds_solve=time.perf_counter() - started,
        )
