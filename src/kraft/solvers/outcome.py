"""What a solver reports: the outcome is data, not a message."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class SolveOutcome:
    """Solution of ``(A + Λ) c = y`` and how it was reached.

    Attributes
    ----------
    coefficients
        ``(n,)`` the solution ``c``.
    solver
        Name of the solver.
    relative_residual
        ``|y - (A + Λ) c| / |y|``, recomputed with the operator itself.
    jitter
        What had to be added to the diagonal beyond ``Λ``; zero as a rule.
    seconds_assembly, seconds_factorization, seconds_solve
        Wall time of the stages.
    """

    coefficients: Tensor
    solver: str
    relative_residual: float
    jitter: float
    seconds_assembly: float
    seconds_factorization: float
    seconds_solve: float
