"""Which solver, preconditioner and rank a system is solved with, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from kraft.core.memory import available_memory, format_bytes
from kraft.core.progress import Progress, silent
from kraft.linalg.operators import SymmetricOperator
from kraft.models.solver_options import SolverOptions
from kraft.solvers import DenseCholesky, IterativeSolver
from kraft.solvers.iterative import AVAILABLE_SHARE
from kraft.solvers.preconditioners import DEFAULT_METHOD
from kraft.solvers.rank_rule import rank_rule

DENSE_LABELS = 6000
"""Labels up to which the dense solver is taken when it fits."""

DEFAULT_BLOCK_GEOMETRIES = 5
"""Geometries in a block of the preconditioner's remainder."""


@dataclass(frozen=True)
class SolverPlan:
    """How a system will be solved.

    Attributes
    ----------
    solver
        ``"dense"`` or ``"iterative"``.
    preconditioner, rank, block_geometries
        Of the iterative solver; empty and zero for the dense one.
    dense_memory, iterative_memory
        Bytes that either solver takes.
    reason
        Why, in one sentence.
    """

    solver: Literal["dense", "iterative"]
    reason: str
    preconditioner: str = ""
    rank: int = 0
    block_geometries: int = 0
    dense_memory: int = 0
    iterative_memory: int = 0


def plan_solution(
    operator: SymmetricOperator, options: SolverOptions, *, progress: Progress = silent
) -> SolverPlan:
    """Decide what the options leave open.

    Parameters
    ----------
    operator
        The system, without its regularization.
    options
        What the user fixed.
    progress
        Told about measurements.
    """
    del progress  # nothing is measured yet
    allowed = options.max_memory or int(AVAILABLE_SHARE * available_memory(operator.device))
    itemsize = torch.finfo(operator.dtype).bits // 8
    dense = DenseCholesky.required_memory(operator.size, operator.block_size, itemsize)
    name, blocks = _preconditioner(options)
    rank = _rank(operator, options, blocks, allowed)
    iterative = iterative_memory(operator, rank, blocks)
    solver, reason = _solver(operator.size, options, dense, allowed)
    if solver == "dense":
        return SolverPlan("dense", reason, dense_memory=dense, iterative_memory=iterative)
    return SolverPlan("iterative", reason, name, rank, blocks, dense, iterative)


def _solver(
    size: int, options: SolverOptions, dense_memory: int, allowed: int
) -> tuple[Literal["dense", "iterative"], str]:
    if options.solver != "auto":
        return options.solver, "asked for"
    if dense_memory > allowed:
        return "iterative", (
            f"the dense solver would need {format_bytes(dense_memory)} of {format_bytes(allowed)}"
        )
    if size <= DENSE_LABELS:
        return "dense", f"a system of {size} labels is factorized quickly"
    return "iterative", f"a system of {size} labels takes longer to factorize"


def _preconditioner(options: SolverOptions) -> tuple[str, int]:
    name = DEFAULT_METHOD if options.preconditioner == "auto" else options.preconditioner
    if options.block_geometries is not None:
        return name, options.block_geometries
    return name, DEFAULT_BLOCK_GEOMETRIES


def _rank(operator: SymmetricOperator, options: SolverOptions, blocks: int, allowed: int) -> int:
    """Return the columns asked for, or those of the rule, as far as they fit into the memory."""
    size = operator.size
    if isinstance(options.rank, int):
        return min(options.rank, size)
    if isinstance(options.rank, float):
        return max(1, round(options.rank * size))
    rank = rank_rule(size)
    while rank > 1 and iterative_memory(operator, rank, blocks) > allowed:
        rank = int(0.95 * rank)
    return rank


def iterative_memory(operator: SymmetricOperator, rank: int, block_geometries: int) -> int:
    """Return about how many bytes the iterative solver takes, without what its product keeps."""
    return IterativeSolver.required_memory(
        operator.size,
        operator.block_size,
        rank,
        block_geometries=block_geometries,
        itemsize=torch.finfo(operator.dtype).bits // 8,
    )
