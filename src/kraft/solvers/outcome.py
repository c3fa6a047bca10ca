"""What a solver reports: the outcome is data, not a message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import Tensor

from kraft.core.errors import IllConditionedError, SolverError
from kraft.solvers.state import HistoryPoint

Status: TypeAlias = Literal[
    "exact",
    "converged",
    "validation",
    "stalled",
    "max_iterations",
    "max_time",
    "interrupted",
    "breakdown",
]
"""How a solution ended.

``exact``: by a direct solver; ``converged``: to the tolerance; ``validation``: the error on
validation data stopped improving; ``breakdown``: rounding or an indefinite matrix ended it.
"""

CONVERGED: tuple[Status, ...] = ("exact", "converged", "validation")
"""The statuses of solutions that a model may be built from without asking."""


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
        ``|y - (A + Λ) c| / |y|``, recomputed with the operator itself; the largest of several
        right-hand sides.
    jitter
        What had to be added to the diagonal beyond ``Λ``; zero as a rule.
    seconds_assembly, seconds_factorization, seconds_solve
        Wall time of the stages; for an iterative solver those of preparing the product, of
        building the preconditioner and of the iteration.
    status
        How the solution ended, a :data:`Status`.
    iterations, restarts
        Steps and restarts taken; none by a direct solver.
    preconditioner, rank
        Name and number of columns of the last preconditioner.
    history
        The course of the iteration.
    advice
        What was reached and what to do, for a solution that did not converge.
    memory
        Bytes kept by the preconditioner and the cache of the product.
    """

    coefficients: Tensor
    solver: str
    relative_residual: float
    jitter: float
    seconds_assembly: float
    seconds_factorization: float
    seconds_solve: float
    status: Status = "exact"
    iterations: int = 0
    restarts: int = 0
    preconditioner: str = ""
    rank: int = 0
    history: tuple[HistoryPoint, ...] = ()
    advice: str = ""
    memory: int = 0

    @property
    def converged(self) -> bool:
        """Whether the solution is what was asked for."""
        return self.status in CONVERGED

    def require_converged(self) -> None:
        """Do nothing for a converged solution.

        Raises
        ------
        IllConditionedError
            When rounding or an indefinite matrix ended it.
        SolverError
            With what was reached and what to do, when it did not converge for another reason.
        """
        raise_unless_converged(self.status, self.advice)


def raise_unless_converged(status: Status, advice: str) -> None:
    """Raise the error that belongs to a status, with this advice; none for a converged solution."""
    if status == "breakdown":
        raise IllConditionedError(advice)
    if status not in CONVERGED:
        raise SolverError(advice)
