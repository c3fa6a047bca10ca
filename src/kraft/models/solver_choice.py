"""Which solver, preconditioner and rank a system is solved with, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from kraft.core.memory import available_memory, format_bytes
from kraft.core.progress import Progress, silent
from kraft.kernels import KernelOperator
from kraft.linalg.operators import SymmetricOperator
from kraft.models.iteration_rule import IterationRule, Samples, measure_rule
from kraft.models.solver_costs import (
    Cost,
    SystemSize,
    blocks_for,
    dense_cost,
    dense_memory,
    iterative_cost,
    iterative_memory,
)
from kraft.models.solver_options import SolverOptions
from kraft.models.solver_speeds import MachineSpeeds, SystemSpeeds
from kraft.solvers.iterative import AVAILABLE_SHARE
from kraft.solvers.preconditioners import DEFAULT_METHOD
from kraft.solvers.rank_rule import rank_rule

DENSE_LABELS = 2500
"""Labels up to which the dense solver is taken when it fits: it takes a second or two."""

RANK_RATIO = 1.12
"""Between the ranks that are compared."""

SMALLEST_RANK = 32
"""The least rank that is considered."""

LARGEST_SHARE = 0.5
"""The largest rank that is considered, relative to the number of labels."""

MEASURED_SHARE = 0.05
"""Of the predicted time, to be spent on measuring iterations."""

LEAST_MEASURING = 2.0
"""Seconds at least, where iterations are measured at all: less time tells nothing."""

WORTH_MEASURING = 20.0
"""Predicted seconds from which iterations are measured without being asked."""

ASKED_SECONDS = 20.0
"""Time for measuring iterations when asked to."""


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
    dense_seconds, iterative_seconds
        Predicted time of either solver; 0 where it was not predicted.
    iterations
        Predicted number of iterations; 0 where it was not predicted.
    k_min, m
        Constants of the rule for the number of iterations, ``#/n = (k_min / k)^m``; 0 where it was
        not used.
    """

    solver: Literal["dense", "iterative"]
    reason: str
    preconditioner: str = ""
    rank: int = 0
    block_geometries: int = 0
    dense_memory: int = 0
    iterative_memory: int = 0
    dense_seconds: float = 0.0
    iterative_seconds: float = 0.0
    iterations: int = 0
    k_min: float = 0.0
    m: float = 0.0


@dataclass(frozen=True)
class Route:
    """The iterative route: its settings and what it takes."""

    rank: int
    block_geometries: int
    cost: Cost


@dataclass(frozen=True)
class Speeds:
    """Measured speeds of this machine and of one system on it."""

    machine: MachineSpeeds
    system: SystemSpeeds

    @classmethod
    def measure(cls, operator: SymmetricOperator, progress: Progress = silent) -> Speeds:
        """Measure for a fraction of a second."""
        progress("measuring speeds", 0, 2)
        machine = MachineSpeeds.measure(operator.device)
        progress("measuring speeds", 1, 2)
        if isinstance(operator, KernelOperator):
            return cls(machine, SystemSpeeds.measure(operator))
        return cls(machine, SystemSpeeds.of_stored_matrix(operator.block_size, machine))


def plan_solution(
    operator: SymmetricOperator,
    options: SolverOptions,
    *,
    regularization: Tensor | None = None,
    labels: Tensor | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> SolverPlan:
    """Decide what the options leave open.

    Speeds are measured unless the system is small or nothing is left to decide. Iterations are
    measured on a part of the system when the rank ``"auto"`` asks for it, or when the solution will
    take so long that it costs little.

    Parameters
    ----------
    operator
        The system, without its regularization.
    options
        What the user fixed.
    regularization, labels
        ``Λ`` and the right-hand side ``(n,)``; without them iterations are not measured.
    seed
        Of the preconditioners that are tried.
    progress
        Told about measurements.
    """
    allowed = options.max_memory or int(AVAILABLE_SHARE * available_memory(operator.device))
    size = SystemSize(
        operator.size // operator.block_size,
        operator.block_size,
        torch.finfo(operator.dtype).bits // 8,
    )
    plain = _without_measuring(size, options, allowed)
    if plain is not None:
        return plain
    speeds = Speeds.measure(operator, progress)
    rule = IterationRule.typical(size.block_size, options.expected_residual)
    samples = None
    if isinstance(operator, KernelOperator) and regularization is not None and labels is not None:
        samples = Samples(operator, regularization, labels)
    return choose_route(size, options, allowed, speeds, rule, samples, seed, progress)


def choose_route(
    size: SystemSize,
    options: SolverOptions,
    allowed: int,
    speeds: Speeds,
    rule: IterationRule,
    samples: Samples | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> SolverPlan:
    """Compare the predicted times of both solvers in ``allowed`` bytes.

    Parameters
    ----------
    size
        Of the system.
    options
        What the user fixed.
    allowed
        Bytes that the solver may use.
    speeds, rule
        From which times follow.
    samples
        Where iterations may be measured.
    seed, progress
        For measuring them.
    """
    dense = dense_cost(size, speeds.machine, speeds.system)
    route = fastest_route(size, options, allowed, speeds, rule)
    seconds = _measuring_seconds(options, route.cost, dense, allowed)
    if samples is not None and seconds > 0.0:
        rule = measure_rule(
            samples,
            method_name(options),
            options.block_geometries,
            options.expected_residual,
            seconds=seconds,
            seed=seed,
            progress=progress,
        )
        route = fastest_route(size, options, allowed, speeds, rule)
    solver, reason = _compare(options, dense, route, allowed)
    iterative = solver == "iterative"
    return SolverPlan(
        solver=solver,
        reason=reason,
        preconditioner=method_name(options) if iterative else "",
        rank=route.rank if iterative else 0,
        block_geometries=route.block_geometries if iterative else 0,
        dense_memory=dense.memory,
        iterative_memory=iterative_memory(size, route.rank, route.block_geometries),
        dense_seconds=dense.seconds,
        iterative_seconds=route.cost.seconds,
        iterations=route.cost.iterations,
        k_min=rule.k_min,
        m=rule.m,
    )


def fastest_route(
    size: SystemSize,
    options: SolverOptions,
    allowed: int,
    speeds: Speeds,
    rule: IterationRule,
) -> Route:
    """Return the iterative route of the least predicted time, as far as the options leave it open.

    Where nothing fits, that of the smallest rank.
    """
    routes = []
    for rank in _ranks(size, options, allowed):
        blocks = _blocks(rank, size, options)
        cost = iterative_cost(size, rank, blocks, rule, speeds.machine, speeds.system, allowed)
        routes.append(Route(rank, blocks, cost))
    return min(routes, key=lambda route: route.cost.seconds)


def method_name(options: SolverOptions) -> str:
    """Return the name of the preconditioner."""
    return DEFAULT_METHOD if options.preconditioner == "auto" else options.preconditioner


def _without_measuring(size: SystemSize, options: SolverOptions, allowed: int) -> SolverPlan | None:
    """Return the plan where no prediction is needed, otherwise None."""
    dense = dense_memory(size)
    rank = _ranks(size, options, allowed)[0]
    blocks = _blocks(rank, size, options)
    memory = iterative_memory(size, rank, blocks)
    if options.solver == "dense":
        return SolverPlan("dense", "asked for", dense_memory=dense, iterative_memory=memory)
    if options.solver == "auto":
        if dense > allowed or size.n > DENSE_LABELS:
            return None
        reason = f"a system of {size.n} labels is factorized quickly"
        return SolverPlan("dense", reason, dense_memory=dense, iterative_memory=memory)
    if options.rank in ("fastest", "auto"):
        return None
    name = method_name(options)
    return SolverPlan("iterative", "asked for", name, rank, blocks, dense, memory)


def _ranks(size: SystemSize, options: SolverOptions, allowed: int) -> list[int]:
    """Return the ranks to compare: the one asked for, or all that fit into the memory."""
    asked = options.rank
    if isinstance(asked, int):
        return [min(asked, size.n)]
    if isinstance(asked, float):
        return [max(1, round(asked * size.n))]

    def fits(rank: int) -> bool:
        return iterative_memory(size, rank, _blocks(rank, size, options)) <= allowed

    if asked == "rule":
        rank = rank_rule(size.n)
        while rank > 1 and not fits(rank):
            rank = int(0.95 * rank)
        return [rank]
    largest = max(1, int(LARGEST_SHARE * size.n))
    count = max(1, round(np.log(max(largest / SMALLEST_RANK, 1.0)) / np.log(RANK_RATIO)))
    wanted = np.geomspace(min(SMALLEST_RANK, largest), largest, count + 1).round().astype(int)
    ranks = [int(rank) for rank in np.unique(wanted)]
    fitting = [rank for rank in ranks if fits(rank)]
    return fitting or ranks[:1]


def _blocks(rank: int, size: SystemSize, options: SolverOptions) -> int:
    if options.block_geometries is not None:
        return options.block_geometries
    return min(blocks_for(rank, size.block_size), size.n_geometries)


def _measuring_seconds(options: SolverOptions, iterative: Cost, dense: Cost, allowed: int) -> float:
    """Return how long measuring iterations may take; 0 where it would change nothing."""
    if options.rank == "auto":
        return ASKED_SECONDS
    if options.rank != "fastest":
        return 0.0
    expected = iterative.seconds
    if options.solver == "auto" and dense.memory <= allowed:
        expected = min(expected, dense.seconds)
    return 0.0 if expected < WORTH_MEASURING else max(LEAST_MEASURING, MEASURED_SHARE * expected)


def _compare(
    options: SolverOptions, dense: Cost, route: Route, allowed: int
) -> tuple[Literal["dense", "iterative"], str]:
    """Return the better solver and why."""
    cost = route.cost
    expected = (
        f"about {_time(cost.seconds)} and {format_bytes(cost.memory)} by iteration "
        f"({cost.iterations} steps), {_time(dense.seconds)} and {format_bytes(dense.memory)} by "
        "factorization"
    )
    if options.solver != "auto":
        return options.solver, f"asked for; {expected}"
    if dense.memory > allowed:
        return "iterative", f"{expected}, which does not fit into {format_bytes(allowed)}"
    return "dense" if dense.seconds <= cost.seconds else "iterative", expected


def _time(seconds: float) -> str:
    """Return a time for a sentence."""
    if seconds < 100.0:
        return f"{seconds:.2g} s"
    return f"{seconds / 60.0:.0f} min" if seconds < 6000.0 else f"{seconds / 3600.0:.1f} h"
