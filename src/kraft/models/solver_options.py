"""How the linear system shall be solved: what a user may fix, the rest is chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

from kraft.core.errors import OptionError
from kraft.data.dataset import Dataset
from kraft.solvers.preconditioners import METHODS

SolverName = Literal["auto", "dense", "iterative"]
StopRule = Literal["residual", "validation"]
RankRequest = int | float | Literal["fastest", "rule", "auto"]

DEFAULT_TOLERANCE = 1e-4

RESIDUAL_OF_VALIDATION = 2e-3
"""Relative residual at which the validation error has stopped improving, as a rule: 1.3e-3 to
2.5e-3 were found with 200 and 500 geometries of aspirin."""


@dataclass(frozen=True)
class SolverOptions:
    """Solver, preconditioner, when to stop, and limits.

    Parameters
    ----------
    solver
        ``"dense"`` (Cholesky factorization), ``"iterative"`` (preconditioned conjugate gradients),
        or ``"auto"``.
    preconditioner
        Name of a method in :data:`kraft.solvers.preconditioners.METHODS`, or ``"auto"``.
    rank
        Columns of the kernel matrix that the preconditioner keeps: an integer, a fraction of all
        columns between 0 and 1 (0.05), ``"fastest"``: that of the least predicted time, with
        iterations measured on a small subset where it is worth the time, ``"auto"``: the same,
        measured in any case, or ``"rule"`` (rule of thumb of paper 004, eqs. 7 and 8).
    block_geometries
        Geometries in one block of the preconditioner's remainder; 0 takes the plain shift of the
        papers; None chooses.
    tolerance
        Relative residual ``|y - (A + Λ) c| / |y|`` at which the solution is good enough.
    stop
        ``"residual"`` stops at ``tolerance``; ``"validation"`` also when the force error on the
        validation geometries has stopped improving.
    max_iterations, max_memory, max_time
        Limits: iterations; bytes that the solver may allocate; seconds of wall time that the whole
        training may take.
    accept_unconverged
        Whether a solution that is not as good as asked for becomes a model, marked for ever,
        instead of an error.

    Raises
    ------
    OptionError
        When a value is out of range.
    """

    solver: SolverName = "auto"
    preconditioner: str = "auto"
    rank: RankRequest = "fastest"
    block_geometries: int | None = None
    tolerance: float = DEFAULT_TOLERANCE
    stop: StopRule = "residual"
    max_iterations: int | None = None
    max_memory: int | None = None
    max_time: float | None = None
    accept_unconverged: bool = False

    def __post_init__(self) -> None:
        _check_name("solver", self.solver, get_args(SolverName))
        _check_name("stopping rule", self.stop, get_args(StopRule))
        _check_name("preconditioner", self.preconditioner, ("auto", *METHODS))
        _check_rank(self.rank)
        if not 0.0 < self.tolerance < 1.0:
            raise OptionError(
                f"The tolerance is a relative residual between 0 and 1, got {self.tolerance}. "
                f"The default of {DEFAULT_TOLERANCE:g} is enough for force fields."
            )
        if self.block_geometries is not None and self.block_geometries < 0:
            raise OptionError(
                f"Expected 0 (none) or more geometries in a block, got {self.block_geometries}."
            )
        for name, value, unit in (
            ("number of iterations", self.max_iterations, ""),
            ("memory limit", self.max_memory, " bytes"),
            ("time limit", self.max_time, " s"),
        ):
            if value is not None and not value > 0:
                raise OptionError(
                    f"The {name} must be positive, got {value}{unit}. Leave it out for no limit."
                )

    def overridden(self, solver: SolverName, max_memory: int | None) -> SolverOptions:
        """Return these options with another solver and memory limit, where those are given."""
        options = self
        if solver != "auto":
            options = replace(options, solver=solver)
        if max_memory is not None:
            options = replace(options, max_memory=max_memory)
        return options

    @property
    def expected_residual(self) -> float:
        """Relative residual at which iterations are expected to end, for planning."""
        if self.stop == "validation":
            return max(self.tolerance, RESIDUAL_OF_VALIDATION)
        return self.tolerance

    def identity(self) -> dict[str, str | int | float | None]:
        """Return what must stay the same when a training is resumed.

        Tolerance, limits and the stopping rule may change.
        """
        return {
            "solver": self.solver,
            "preconditioner": self.preconditioner,
            "rank": self.rank,
            "block geometries": self.block_geometries,
        }


def check_stop_rule(options: SolverOptions, validation: Dataset | None) -> None:
    """Raise OptionError when the stopping rule needs validation geometries that are not there."""
    if options.stop == "validation" and validation is None:
        raise OptionError(
            "To stop by the validation error, validation frames are needed, but there are none. "
            "Give some (--n-valid), or stop by the residual."
        )


def _check_name(what: str, name: str, choices: tuple[str, ...]) -> None:
    if name not in choices:
        raise OptionError(f"Unknown {what} {name!r}; choose one of {', '.join(choices)}.")


def _check_rank(rank: object) -> None:
    """Raise OptionError unless the rank is a count, a fraction, or the name of a rule."""
    if rank in ("fastest", "rule", "auto"):
        return
    if isinstance(rank, bool) or not isinstance(rank, (int, float)) or not math.isfinite(rank):
        raise OptionError(
            f"Unknown rank {rank!r}: give a number of columns (500), a fraction (0.05), 'fastest', "
            "'auto' or 'rule'."
        )
    fits = rank >= 1 if isinstance(rank, int) else 0.0 < rank < 1.0
    if not fits:
        raise OptionError(
            f"The rank must be at least 1 column, or a fraction between 0 and 1, got {rank}. A "
            "larger rank takes more memory and fewer iterations; 'fastest' is a good choice."
        )
